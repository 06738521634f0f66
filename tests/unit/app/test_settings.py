"""Settings as an operator gives them: odd names of directories, empty values, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from controller.app import settings
from controller.store.engine import Database
from controller.store.jobs import Jobs


@pytest.fixture(autouse=True)
def _only_what_a_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADEND_DATA_DIR", "HEADEND_DATABASE_URL", "HEADEND_ENV_FILE"):
        monkeypatch.delenv(name, raising=False)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("HEADEND_PLAN_MARGIN", "2.5", "plan_margin", 2.5),
        ("HEADEND_HOLD_ABOVE_PLAN", "true", "hold_above_plan", True),
        ("HEADEND_KEEP_HISTORY_DAYS", "180", "keep_history_days", 180),
        ("HEADEND_KEEP_HISTORY_DAYS", "", "keep_history_days", None),
        ("HEADEND_EAP_TLS_MINIMUM", "1.3", "eap_tls_minimum", "1.3"),
        ("HEADEND_PEAP_NEEDS_BINDING", "true", "peap_needs_binding", True),
        ("HEADEND_RADSEC_VERSIONS", "1.1", "radsec_versions", "1.1"),
    ],
)
def test_what_radius_may_be_told(
    name: str, value: str, field: str, read: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(settings.load(), field) == read


@pytest.mark.parametrize(
    ("name", "value"),
    [("HEADEND_PLAN_MARGIN", "0.5"), ("HEADEND_KEEP_HISTORY_DAYS", "30"), ("HEADEND_EAP_TLS_MINIMUM", "1.1")],
)
def test_what_radius_is_not_told(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=name):
        settings.load()


@pytest.mark.parametrize("name", ["what?", "a#b", "50%25", "with space", "q?mode=memory&x=1"])
async def test_a_directory_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / name
    directory.mkdir()
    monkeypatch.setenv("HEADEND_DATA_DIR", str(directory))
    database = Database(settings.load().url)
    jobs = Jobs(database.url, directory)
    try:
        await database.check()
        await jobs.launch()
    finally:
        await jobs.close()
        await database.close()
    assert {"headend.db", "jobs.db"} <= set(names_in(directory))
    assert names_in(tmp_path) == [name]


def test_an_empty_data_directory_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_DATA_DIR", "")
    assert settings.load().data_dir == settings.default_data_dir()


@pytest.mark.parametrize("url", ["mysql://headend:s3cret@db/headend", "db.example", "postgresql://db:port/headend"])
def test_a_database_nobody_knows_is_a_problem_of_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_DATABASE_URL", url)
    with pytest.raises(SystemExit) as refused:
        settings.load()
    heading, problem = str(refused.value).splitlines()
    assert "HEADEND_DATABASE_URL" in problem
    assert "s3cret" not in heading + problem


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_may_be_named_as_elsewhere(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADEND_DATABASE_URL", f"{scheme}://headend:word@db:5432/isp")
    url = make_url(settings.load().url)
    assert (url.drivername, url.host, url.port, url.database) == ("postgresql+psycopg", "db", 5432, "isp")

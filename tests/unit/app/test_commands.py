"""`headend …` where nothing is yet, or something else: one line that says what to do, and nothing made by asking."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.app import process
from controller.app.cli import app
from controller.app.settings import Settings

ASKING = (
    ("explain", "01a1949ed6807369829e5ea44651a223"),
    ("suspense",),
    ("whois", "203.0.113.7", "2026-05-03T10:15:07Z"),
    ("token", "create", "x", "--scope", "crm:read"),
    ("user", "add", "anna"),
    ("import", "freeradius", "sqlite:///radius.db"),
)


def run(monkeypatch: pytest.MonkeyPatch, data_dir: Path, *arguments: str) -> Result:
    monkeypatch.setenv("HEADEND_DATA_DIR", str(data_dir))
    monkeypatch.setenv("HEADEND_PASSWORD", "correct horse battery")
    monkeypatch.delenv("HEADEND_DATABASE_URL", raising=False)
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("arguments", ASKING, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize("exists", [False, True])
def test_a_question_to_a_place_without_data_names_it_and_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], exists: bool
) -> None:
    place = tmp_path / "place"
    if exists:
        place.mkdir()
    told = run(monkeypatch, place, *arguments)
    assert told.exit_code == 2
    assert told.stderr.strip().splitlines() == [
        f"headend: there are no data in {place}: HEADEND_DATA_DIR says where they are; "
        "headend serve and headend migrate make them"
    ]
    assert list(tmp_path.rglob("*")) == ([place] if exists else [])


@pytest.mark.parametrize("arguments", ASKING[:-1], ids=lambda arguments: arguments[0])
def test_a_question_to_a_database_without_our_tables_says_what_makes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    sqlite3.connect(tmp_path / "headend.db").close()
    told = run(monkeypatch, tmp_path, *arguments)
    assert told.exit_code == 2
    [line] = told.stderr.strip().splitlines()
    assert "headend migrate" in line
    assert "no such table" in line


def test_serve_takes_its_roles_from_the_command_line_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(process, "serve", lambda settings: started.append(settings) or 0)
    monkeypatch.setenv("HEADEND_ROLES", "bill")
    assert run(monkeypatch, tmp_path, "serve", "--roles", "radius,api").exit_code == 0
    assert run(monkeypatch, tmp_path, "serve").exit_code == 0
    assert [settings.roles for settings in started] == ["radius,api", "bill"]
    refused = run(monkeypatch, tmp_path, "serve", "--roles", "radius,cook")
    assert refused.exit_code != 0
    assert "unknown roles cook" in str(refused.exception)

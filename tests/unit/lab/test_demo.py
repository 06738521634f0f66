"""What the demo refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.demo import Demo
from lab.settings import LabSettings, Unusable, load
from lab.world import World

ON_POSTGRESQL = {"HEADEND_DATABASE_URL": "postgresql://demo@127.0.0.1/isp"}


def settings(data_dir: Path, more: dict[str, str]) -> LabSettings:
    ports = {f"HEADEND_{name}_PORT": "0" for name in ("HTTP", "AUTH", "ACCT")}
    return load({"HEADEND_DATA_DIR": str(data_dir), "HEADEND_LAB_SUBSCRIBERS": "4", **ports, **more})


def made_once(data_dir: Path, more: dict[str, str]) -> None:
    """As after a first start that came to its end."""
    demo = Demo(settings(data_dir, more))
    demo.world.history_until = "2026-11-20T00:00:00+00:00"
    demo._save_world()
    assert demo._lock is not None
    demo._lock.close()


@pytest.mark.parametrize(
    ("first", "then", "names"),
    [(ON_POSTGRESQL, {}, "HEADEND_DATABASE_URL named"), ({}, ON_POSTGRESQL, "SQLite files here")],
)
def test_a_demo_is_not_started_again_on_another_database(
    tmp_path: Path, first: dict[str, str], then: dict[str, str], names: str
) -> None:
    made_once(tmp_path / "data", first)
    with pytest.raises(Unusable, match=names):
        Demo(settings(tmp_path / "data", then))


def test_a_demo_goes_on_with_the_database_it_was_made_with(tmp_path: Path) -> None:
    made_once(tmp_path / "data", ON_POSTGRESQL)
    again = Demo(settings(tmp_path / "data", ON_POSTGRESQL))
    assert again._lock is not None
    again._lock.close()
    assert again.world == World.load(tmp_path / "data" / "lab" / "world.json")


def test_a_log_of_the_user_in_the_directory_does_not_keep_the_demo_out_and_outlives_a_new_beginning(
    tmp_path: Path,
) -> None:
    (tmp_path / "run.log").write_text("make run > here")
    interrupted = Demo(settings(tmp_path, {}))
    interrupted._save_world()
    assert interrupted._lock is not None
    interrupted._lock.close()
    for name in ("headend.key", "headend.db", "headend.db-wal", "jobs.db", "timeseries.db", "demo.json"):
        (tmp_path / name).touch()
    again = Demo(settings(tmp_path, {}))
    assert again._lock is not None
    again._lock.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["lab", "run.log"]


def test_the_data_of_a_headend_that_is_no_demo_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "headend.db").touch()
    with pytest.raises(Unusable, match=r"no demo \(headend\.db\): choose another HEADEND_DATA_DIR"):
        Demo(settings(tmp_path, {}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["headend.db"]


def test_a_data_directory_that_cannot_be_made_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match=f"HEADEND_DATA_DIR={tmp_path}/file cannot be used: File exists"):
        Demo(settings(tmp_path / "file", {}))

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

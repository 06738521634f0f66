"""`headend suspense` tells what waits, reading the data on this machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from billing_bridge.suspense.model import REASONS
from billing_bridge.tables import suspense
from controller.app import questions
from controller.app.settings import Settings
from controller.store.engine import Database

AT = datetime(2026, 9, 10, 12, tzinfo=UTC)


async def test_what_waits_is_told_by_reason_with_octets_and_age(sqlite_database: Database, tmp_path: Path) -> None:
    held = {"since": AT, "until": AT, "upstream_octets": 10**9, "downstream_octets": 10**9, "entered_at": AT}
    async with sqlite_database.begin() as conn:
        for state in ("waiting", "waiting", "written-off"):
            await conn.execute(insert(suspense).values(reason="unknown-service", state=state, **held))
    told = await questions.suspense(Settings(data_dir=tmp_path))
    unknown, *others = told.splitlines()
    assert unknown.split() == ["unknown-service", "2", "items", "4", "GB", "since", AT.isoformat()]
    assert [line.split()[1:3] for line in others] == [["0", "items"]] * (len(REASONS) - 1)

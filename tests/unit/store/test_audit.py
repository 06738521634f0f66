"""The audit log as pages read it."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.store import audit
from controller.store.engine import Database

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


async def test_of_many_changes_of_an_object_the_newest_are_told(database: Database) -> None:
    for limit in range(1, 5):
        async with database.begin() as conn:
            await audit.record(
                conn, now=NOW, actor="user:ada", action="limit.change", subject="limit:EUR", after={"limit": limit}
            )
    async with database.read() as conn:
        told = await audit.about(conn, "limit:EUR", "limit.change", limit=2)
    assert [entry["after"] for entry in told] == ['{"limit": 4}', '{"limit": 3}']

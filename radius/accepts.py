"""Logins of limited services that were accepted and have no session yet, seen by every process on one PostgreSQL.

    login ─→ turn of its service ─→ who else was accepted? ─→ ours is kept ─→ (the limit refuses: taken back)

Two workers that decide about one service at once take turns, so one of them sees the other's login. What is kept lives
for seconds and is not worth a disk write being waited for. On SQLite there is one process, and nothing of this.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.engine import Database
from radius.tables import accepted

_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:service_id, 5090))")
_QUICK = text("SET LOCAL synchronous_commit TO off")


class SharedAccepts:
    """radius.ports.Accepts over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, service_id: str, line: str, now: datetime, until: datetime) -> list[str]:
        """See the port."""
        c = accepted.c
        async with self._database.begin() as conn:
            await self._take_turn(conn, service_id)
            await conn.execute(delete(accepted).where(c.service_id == service_id, c.until <= now))
            others = select(c.line).where(c.service_id == service_id, c.line != line)
            found = list((await conn.execute(others)).scalars())
            row = insert(accepted).values(service_id=service_id, line=line, until=until)
            await conn.execute(row.on_conflict_do_update(index_elements=["service_id", "line"], set_={"until": until}))
        return found

    async def withdraw(self, service_id: str, line: str) -> None:
        """See the port."""
        c = accepted.c
        async with self._database.begin() as conn:
            await conn.execute(_QUICK)
            await conn.execute(delete(accepted).where(c.service_id == service_id, c.line == line))

    @staticmethod
    async def _take_turn(conn: AsyncConnection, service_id: str) -> None:
        await conn.execute(_QUICK)
        await conn.execute(_TURN, {"service_id": service_id})

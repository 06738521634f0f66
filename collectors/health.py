"""The last word about each device, with the instant until which it holds: presence has an expiry, it is never a flag.

One row per device and way of asking ("snmp", "netconf"). What was not renewed in time is unknown, not up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from collectors.tables import health
from controller.domain.identity import DeviceId
from controller.domain.ports import DeviceHealth
from controller.store.engine import Database


class State(StrEnum):
    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """What one way of asking said about a device."""

    source: str
    health: DeviceHealth

    def state(self, now: datetime) -> State:
        if now >= self.health.valid_until:
            return State.UNKNOWN
        return State.UP if self.health.reachable else State.DOWN


class HealthStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, found: Sequence[SourceHealth]) -> None:
        """Store the newest word of each; one transaction."""
        if not found:
            return
        async with self._database.begin() as conn:
            upsert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
            statement = upsert(health)
            changed = {name: statement.excluded[name] for name in _CHANGING}
            statement = statement.on_conflict_do_update(
                index_elements=[health.c.device_id, health.c.source], set_=changed
            )
            newest = {(one.health.device_id, one.source): one for one in found}
            await conn.execute(statement, [_row(one) for one in newest.values()])

    async def forget_except(self, device_ids: Sequence[str]) -> None:
        """Drop devices that are no longer in the registry."""
        async with self._database.read() as conn:
            known = set((await conn.execute(select(health.c.device_id).distinct())).scalars())
        gone = known - set(device_ids)
        if gone:
            async with self._database.begin() as conn:
                await conn.execute(delete(health).where(health.c.device_id.in_(gone)))

    async def all(self) -> list[SourceHealth]:
        async with self._database.read() as conn:
            rows = (await conn.execute(select(health).order_by(health.c.device_id, health.c.source))).all()
        return [_health(row) for row in rows]


_CHANGING = ("reachable", "checked_at", "valid_until", "detail", "uptime_s")


def _row(one: SourceHealth) -> dict[str, Any]:
    said = one.health
    return {"device_id": said.device_id, "source": one.source, **{name: getattr(said, name) for name in _CHANGING}}


def _health(row: Row[Any]) -> SourceHealth:
    values = {name: getattr(row, name) for name in _CHANGING}
    return SourceHealth(row.source, DeviceHealth(device_id=DeviceId(row.device_id), **values))

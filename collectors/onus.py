"""Which ONUs the OLTs show, whether or not anybody has sold something on them. Kept with when they were seen.

A row is written when an ONU is new, has moved, or was last noted an hour ago: an OLT is polled every minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from collectors.netconf.model import OnuState
from collectors.tables import onu
from controller.store.engine import Database
from controller.store.many import insert_rows

_AGAIN = timedelta(hours=1)
_COLUMNS = ("device_id", "serial", "pon_port", "first_seen_at", "last_seen_at")
_SEEN_AGAIN = (
    "ON CONFLICT (device_id, serial) DO UPDATE SET pon_port = excluded.pon_port, last_seen_at = excluded.last_seen_at"
)


@dataclass(frozen=True, slots=True)
class SeenOnu:
    """An ONU that an OLT showed as present. `last_seen_at` is up to an hour behind."""

    device_id: str
    serial: str
    pon_port: str
    first_seen_at: datetime
    last_seen_at: datetime


class OnuSightings:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[tuple[str, str], tuple[str, datetime]] = {}

    async def note(self, device_id: str, onus: Iterable[OnuState], at: datetime) -> None:
        """Of a poll, those that are present."""
        due = []
        for state in onus:
            known = self._noted.get((device_id, state.serial))
            port_now = state.pon_port or ""
            if state.present and (known is None or known[0] != port_now or at - known[1] >= _AGAIN):
                due.append((device_id, state.serial, port_now, at, at))
        if due:
            async with self._database.begin() as conn:
                await insert_rows(conn, onu, _COLUMNS, due, _SEEN_AGAIN)
            self._noted.update({(row[0], row[1]): (row[2], at) for row in due})

    async def since(self, at: datetime) -> list[SeenOnu]:
        """ONUs that were seen at `at` or later."""
        query = select(onu).where(onu.c.last_seen_at >= at).order_by(onu.c.serial)
        async with self._database.read() as conn:
            return [
                SeenOnu(r.device_id, r.serial, r.pon_port, r.first_seen_at, r.last_seen_at)
                for r in await conn.execute(query)
            ]

"""Counts the usage log once more, apart from mediation: octets by service and day as RADIUS told them.

The reconciliation compares what was billed with this count. It shares with mediation the log, and how an interval is
cut at midnight; it keeps its own totals of sessions, at its own position, by its own arithmetic. It runs by night, up
to where mediation stands, so whatever the two differ by is not for want of time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.checks.tables import recount_day, recount_position, recount_session
from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.repository import read_position
from billing_bridge.settings import BillingSettings
from billing_bridge.zones import Zones, zones_of
from controller.domain.clock import local_date
from controller.domain.identity import first_id
from controller.domain.ports import UsageReader
from controller.domain.usage import LoggedRecord
from controller.store.engine import Database
from controller.store.many import insert_rows, one_of, replacing

_NAME = "usage-log"
_SESSION = ("session_key", "service_id", "upstream_octets", "downstream_octets", "seen_until", "heard_at", "is_open")
_DAY = ("service_id", "day", "octets", "late_octets")
_ADD = (
    "ON CONFLICT (service_id, day) DO UPDATE SET"
    f" octets = {recount_day.name}.octets + excluded.octets,"
    f" late_octets = {recount_day.name}.late_octets + excluded.late_octets"
)
_POSITION = ("name", "record_id")
UNKNOWN = ""
_SOON = timedelta(hours=3)
"""What comes within it after midnight is no late usage: the interim under way then had to end first."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What is known of a session."""

    session_key: str
    service_id: str | None
    upstream: int
    downstream: int
    seen_until: datetime
    heard_at: datetime
    is_open: bool


Sums = dict[tuple[str, date], tuple[int, int]]
"""(service, day) → octets, and those of them that came late."""


def count(records: Sequence[LoggedRecord], known: dict[str, Totals], zones: Zones, memory: timedelta) -> Sums:
    """Add `records` to `known`; returns what they add. Altered records, and sessions forgotten, count for nothing."""
    sums: Sums = {}
    for record in records:
        if record.session_key == "" or record.kind in ("on", "off", "event") or not record.intact:
            continue
        before = known.get(record.session_key)
        if _forgotten(before, record, memory):
            continue
        began = record.event_at - timedelta(seconds=record.session_time_s or 0)
        if before is None:
            before = Totals(record.session_key, record.service_id, 0, 0, began, record.received_at, True)
        up, down = (
            max(before.upstream, record.upstream_octets or 0),
            max(before.downstream, record.downstream_octets or 0),
        )
        grown = (up - before.upstream, down - before.downstream)
        service_id = record.service_id or before.service_id
        if any(grown):
            since, zone = min(before.seen_until, record.event_at), zones.of(service_id)
            for part in split_by_day(since, record.event_at, *grown, zone):
                key = (service_id or UNKNOWN, part.day)
                octets = part.upstream_octets + part.downstream_octets
                late = octets if local_date(record.received_at - _SOON, zone) > part.day else 0
                had = sums.get(key, (0, 0))
                sums[key] = (had[0] + octets, had[1] + late)
        known[record.session_key] = replace(
            before,
            service_id=service_id,
            upstream=up,
            downstream=down,
            seen_until=max(before.seen_until, record.event_at),
            heard_at=max(before.heard_at, record.received_at),
            is_open=before.is_open and record.kind != "stop",
        )
    return sums


def _forgotten(before: Totals | None, record: LoggedRecord, memory: timedelta) -> bool:
    if before is not None and record.received_at - before.heard_at <= memory:
        return False
    return record.session_key < first_id(record.received_at - memory)


class Recount:
    def __init__(self, database: Database, usage: UsageReader, settings: BillingSettings) -> None:
        self._database = database
        self._usage = usage
        self._zone = settings.zone
        self._memory = timedelta(days=settings.session_memory_days)
        self._batch = 1_000  # some milliseconds of arithmetic between two waits

    async def catch_up(self) -> int:
        """Count up to where mediation stands; returns how many records that were."""
        done = 0
        while True:
            async with self._database.read() as conn:
                until = (await read_position(conn)).record_id
                start = await _position(conn)
            records = [r async for r in self._usage.records_after(start, until, self._batch)]
            if not records:
                return done
            async with self._database.begin() as conn:
                if await _position(conn, lock=True) != start:
                    continue  # another process counts too
                known = await _recall(conn, {r.session_key for r in records})
                services = {r.service_id for r in records} | {t.service_id for t in known.values()}
                zones = await zones_of(conn, services, self._zone)
                sums = count(records, known, zones, self._memory)
                rows = [(service_id, day, octets, late) for (service_id, day), (octets, late) in sorted(sums.items())]
                await insert_rows(conn, recount_day, _DAY, rows, _ADD)
                await _remember(conn, list(known.values()))
                last = [(_NAME, records[-1].record_id)]
                await insert_rows(conn, recount_position, _POSITION, last, replacing(recount_position, _POSITION))
            done += len(records)

    async def prune(self, now: datetime) -> None:
        """Forget sessions that nothing was heard of for longer than mediation remembers them."""
        before = now - self._memory - timedelta(days=1)
        async with self._database.begin() as conn:
            await conn.execute(delete(recount_session).where(recount_session.c.heard_at < before))


async def shift(conn: AsyncConnection, service_id: str, by: Mapping[date, int]) -> None:
    """Octets that were counted are of other days: the zone of their service has become known."""
    rows = [(service_id, day, octets, 0) for day, octets in sorted(by.items()) if octets]
    await insert_rows(conn, recount_day, _DAY, rows, _ADD)


async def counted_until(conn: AsyncConnection) -> int:
    """The last record that is counted; nobody counts on before the caller's transaction ends."""
    return await _position(conn, lock=True)


async def _position(conn: AsyncConnection, *, lock: bool = False) -> int:
    query = select(recount_position.c.record_id).where(recount_position.c.name == _NAME)
    return await conn.scalar(query.with_for_update() if lock else query) or 0


async def _recall(conn: AsyncConnection, keys: set[str]) -> dict[str, Totals]:
    query = select(*(recount_session.c[name] for name in _SESSION))
    rows = await conn.execute(query.where(one_of(conn, recount_session.c.session_key, sorted(keys))))
    return {row[0]: Totals(*row) for row in rows}


async def _remember(conn: AsyncConnection, totals: Sequence[Totals]) -> None:
    rows = [
        (t.session_key, t.service_id, t.upstream, t.downstream, t.seen_until, t.heard_at, t.is_open) for t in totals
    ]
    await insert_rows(conn, recount_session, _SESSION, rows, replacing(recount_session, _SESSION))

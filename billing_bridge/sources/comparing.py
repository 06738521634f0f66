"""What sources say that do not bill: kept by service and day beside what is billed, never added to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.growth import Growth
from billing_bridge.sources.tables import call, compared
from billing_bridge.tables import usage_day
from billing_bridge.zones import zones_of
from controller.domain.clock import local_date
from controller.store.many import insert_rows

_COLUMNS = ("service_id", "day", "source", "upstream_octets", "downstream_octets", "calls", "duration_s", "records")
_SUMS = _COLUMNS[3:]
_STANDING = func.sum(case((call.c.duration_s < 0, -1), else_=1))
"""Calls, without those that were taken back."""
_ADD = "ON CONFLICT (service_id, day, source) DO UPDATE SET " + ", ".join(
    f"{name} = {compared.name}.{name} + excluded.{name}" for name in _SUMS
)


@dataclass(frozen=True, slots=True)
class Said:
    """What one source says of a service and day. `bills`: it is what the service is charged by."""

    service_id: str
    day: date
    source: str
    upstream_octets: int
    downstream_octets: int
    calls: int
    duration_s: int
    bills: bool


async def compare(conn: AsyncConnection, source: str, grown: Sequence[Growth], zone: ZoneInfo) -> None:
    """Add octets that `source` only compares with, by day: in `zone`, where the service has none of its own."""
    sums: dict[tuple[str, date], list[int]] = {}
    zones = await zones_of(conn, (g.service_id for g in grown), zone)
    for growth in grown:
        own_zone = zones.of(growth.service_id)
        parts = split_by_day(growth.since, growth.until, growth.upstream_octets, growth.downstream_octets, own_zone)
        for part in parts:
            own = sums.setdefault((str(growth.service_id), part.day), [0, 0, 0, 0, 0])
            own[0] += part.upstream_octets
            own[1] += part.downstream_octets
            own[4] += 1
    await _add(conn, source, sums)


async def compare_calls(
    conn: AsyncConnection, source: str, calls: Sequence[tuple[str, datetime, int]], zone: ZoneInfo
) -> None:
    """Add calls (service, begin, seconds) that `source` only compares with."""
    sums: dict[tuple[str, date], list[int]] = {}
    zones = await zones_of(conn, (service_id for service_id, _, _ in calls), zone)
    for service_id, at, duration_s in calls:
        own = sums.setdefault((service_id, local_date(at, zones.of(service_id))), [0, 0, 0, 0, 0])
        own[2] += 1
        own[3] += duration_s
        own[4] += 1
    await _add(conn, source, sums)


async def said(conn: AsyncConnection, service_id: str, since_on: date, until_on: date) -> list[Said]:
    """What every source says of a service, by day: what bills it first."""
    days = (usage_day.c.service_id == service_id, usage_day.c.day >= since_on, usage_day.c.day < until_on)
    found = [
        Said(service_id, row.day, "billed", row.upstream_octets, row.downstream_octets, 0, 0, True)
        for row in await conn.execute(select(usage_day).where(*days))
    ]
    calls = (
        select(call.c.day, call.c.source, _STANDING.label("calls"), func.sum(call.c.duration_s).label("seconds"))
        .where(call.c.service_id == service_id, call.c.day >= since_on, call.c.day < until_on)
        .group_by(call.c.day, call.c.source)
    )
    found += [
        Said(service_id, row.day, row.source, 0, 0, int(row.calls), int(row.seconds), True)
        for row in await conn.execute(calls)
        if row.calls
    ]
    others = select(compared).where(
        compared.c.service_id == service_id, compared.c.day >= since_on, compared.c.day < until_on
    )
    found += [
        Said(service_id, r.day, r.source, r.upstream_octets, r.downstream_octets, r.calls, r.duration_s, False)
        for r in await conn.execute(others)
    ]
    return sorted(found, key=lambda s: (s.day, not s.bills, s.source))


async def _add(conn: AsyncConnection, source: str, sums: dict[tuple[str, date], list[int]]) -> None:
    rows = [(service_id, day, source, *counts) for (service_id, day), counts in sorted(sums.items())]
    await insert_rows(conn, compared, _COLUMNS, rows, _ADD)

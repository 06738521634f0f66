"""Rows of the reconciliation: what the room itself knows of a day, and what was found when counts were compared."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import usage_rows
from billing_bridge.checks import free_hours, moved_usage
from billing_bridge.checks.reconcile import ANEW, DIFFERS, MISSING, Counted, Reason, Reconciled, share_of
from billing_bridge.checks.recount import UNKNOWN
from billing_bridge.checks.tables import reconciliation, recount_day, recount_position, recount_session
from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.sources.tables import compared as usage_compared
from billing_bridge.suspense.model import NO_SERVICE, WAITING, WRITTEN_OFF
from billing_bridge.tables import suspense, usage_day, usage_interval
from controller.domain.clock import start_of_day
from controller.store.many import insert_rows, one_of, replacing
from controller.store.metadata import from_micros, to_micros

_COLUMNS = (
    "service_id",
    "day",
    "radius_octets",
    "counter_octets",
    "billed_octets",
    "charged_octets",
    "reasons",
    "unexplained_octets",
    "verdict",
    "overhead_ppm",
    "looked_at",
)
_HISTORY = timedelta(days=28)
_COUNTERS = ("interfaces", "onus")
"""Sources that count frames at the port of a service: see collectors.usage_feed."""


_LOOKED_AT = "reconciled"
"""The instant, in microseconds, of the last look that came to its end: it stands beside the recount's position."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A service and day as it was found. `looked_at` is when."""

    service_id: str
    day: date
    radius: int
    counter: int | None
    billed: int
    charged: int
    reasons: tuple[Reason, ...]
    unexplained: int
    verdict: str
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class DayTotal:
    """Everything of a day. `counted_radius` is RADIUS of the services that a device counts."""

    day: date
    services: int
    differing: int
    radius: int
    counted_radius: int
    counter: int
    billed: int
    charged: int
    unexplained: int


async def known_of(conn: AsyncConnection, since: date, until: date, zone: ZoneInfo) -> dict[date, dict[str, Counted]]:
    """By day and service what RADIUS, mediation and charges say of [since, until), with what explains a difference.

    `zone` is that of services that have none of their own, and of usage that is nobody's.
    """
    found: dict[date, dict[str, Counted]] = defaultdict(dict)

    def known(service_id: str, day: date) -> Counted:
        return found[day].get(service_id) or Counted(service_id, 0, 0, 0)

    within = (recount_day.c.day >= since, recount_day.c.day < until)
    for row in await conn.execute(select(recount_day).where(*within)):
        found[row.day][row.service_id] = Counted(row.service_id, row.octets, 0, 0, late=row.late_octets)
    octets = usage_day.c.upstream_octets + usage_day.c.downstream_octets
    query = select(usage_day.c.service_id, usage_day.c.day, octets.label("octets"))
    for row in await conn.execute(query.where(usage_day.c.day >= since, usage_day.c.day < until)):
        found[row.day][row.service_id] = replace(known(row.service_id, row.day), billed=row.octets)
    named = await usage_rows.named(conn, since, until)
    for (service_id, day), used in named.items():
        found[day][service_id] = replace(known(service_id, day), charged=used.octets)
    differing = {c.service_id for by in found.values() for c in by.values() if c.charged != c.billed}
    upto = {key: used.last_interval_id for key, used in named.items()}
    moved = await moved_usage.since_billed(conn, differing, upto, since, until)
    for (service_id, day), (away, here) in moved.items():
        found[day][service_id] = replace(known(service_id, day), moved_away=away, moved_here=here)
    for (service_id, day), free in (await free_hours.octets(conn, since, until, zone)).items():
        # A charge names whole days; what nobody is charged for is taken out of them.
        own = known(service_id, day)
        found[day][service_id] = replace(own, free=free, charged=max(0, own.charged - free))
    await _counters(conn, found, since, until)
    await _explain(conn, found, since, until, zone)
    return found


async def _counters(conn: AsyncConnection, found: dict[date, dict[str, Counted]], since: date, until: date) -> None:
    """What counters of ports and ONUs told billing of a service, to be compared."""
    c = usage_compared.c
    query = select(c.service_id, c.day, func.max(c.upstream_octets + c.downstream_octets).label("octets")).where(
        c.source.in_(_COUNTERS), c.day >= since, c.day < until
    )
    for row in await conn.execute(query.group_by(c.service_id, c.day)):
        known = found[row.day].get(row.service_id) or Counted(row.service_id, 0, 0, 0)
        found[row.day][row.service_id] = replace(known, counter=int(row.octets))


async def _explain(
    conn: AsyncConnection, found: dict[date, dict[str, Counted]], since: date, until: date, zone: ZoneInfo
) -> None:
    """Only of services that differ: their intervals are looked at one by one."""
    differing = {c.service_id for by in found.values() for c in by.values() if c.radius != c.billed}
    if not differing:
        return
    i, octets = usage_interval.c, usage_interval.c.upstream_octets + usage_interval.c.downstream_octets
    counted_for = func.coalesce(recount_session.c.service_id, UNKNOWN)
    query = (
        select(
            i.service_id,
            i.day,
            counted_for.label("counted_for"),
            func.sum(case((i.source.is_(None), octets), else_=0)).label("octets"),
            func.sum(case((i.source.is_not(None), octets), else_=0)).label("sources"),
        )
        .outerjoin(recount_session, recount_session.c.session_key == i.session_key)
        .where(one_of(conn, i.service_id, sorted(differing - {UNKNOWN})), i.day >= since, i.day < until)
        .group_by(i.service_id, i.day, counted_for)
    )
    for row in await conn.execute(query):
        by = found[row.day]
        if row.sources and row.service_id in by:
            by[row.service_id] = replace(
                by[row.service_id], from_sources=by[row.service_id].from_sources + int(row.sources)
            )
        if row.octets and row.counted_for != row.service_id:
            taker = by.get(row.service_id) or Counted(row.service_id, 0, 0, 0)
            by[row.service_id] = replace(taker, taken_over=taker.taken_over + int(row.octets))
            giver = by.get(row.counted_for) or Counted(row.counted_for, 0, 0, 0)
            by[row.counted_for] = replace(giver, given_away=giver.given_away + int(row.octets))
    waiting = select(suspense).where(
        suspense.c.reason == NO_SERVICE,
        suspense.c.state.in_((WAITING, WRITTEN_OFF)),
        suspense.c.session_key.is_not(None),
        suspense.c.until >= start_of_day(since, zone),
        suspense.c.since < start_of_day(until, zone),
    )
    for row in await conn.execute(waiting):
        for part in split_by_day(row.since, row.until, row.upstream_octets, row.downstream_octets, zone):
            by = found.get(part.day, {})
            if UNKNOWN in by:
                more = part.upstream_octets + part.downstream_octets
                by[UNKNOWN] = replace(by[UNKNOWN], suspended=by[UNKNOWN].suspended + more)


async def open_sessions(conn: AsyncConnection, at: datetime) -> dict[str, int]:
    """By service, seconds before `at` that its open session has not accounted for."""
    query = select(recount_session.c.service_id, func.max(recount_session.c.seen_until).label("seen")).where(
        recount_session.c.is_open, recount_session.c.service_id.is_not(None)
    )
    found = {}
    for row in await conn.execute(query.group_by(recount_session.c.service_id)):
        if row.seen < at and at - row.seen < timedelta(days=1):
            found[row.service_id] = int((at - row.seen).total_seconds())
    return found


async def shares(conn: AsyncConnection, day: date) -> dict[str, list[float]]:
    """By service, how much its counter was above RADIUS on the days before, where nothing was missing."""
    r = reconciliation.c
    query = select(r.service_id, r.radius_octets, r.counter_octets, r.reasons).where(
        r.day >= day - _HISTORY, r.day < day, r.counter_octets.is_not(None), r.verdict != DIFFERS
    )
    found: dict[str, list[float]] = defaultdict(list)
    for row in await conn.execute(query):
        if MISSING in row.reasons or ANEW in row.reasons:
            continue
        share = share_of(Counted(row.service_id, row.radius_octets, 0, 0, row.counter_octets))
        if share is not None:
            found[row.service_id].append(share)
    return found


async def put(conn: AsyncConnection, day: date, results: Sequence[Reconciled], now: datetime) -> None:
    """In the place of what was found of the same services and day before. The caller cuts many into pieces."""
    rows = [
        (
            r.counted.service_id,
            day,
            r.counted.radius,
            r.counted.counter,
            r.counted.billed,
            r.counted.charged,
            json.dumps([[reason.between, reason.text, reason.octets] for reason in r.reasons]),
            r.unexplained,
            r.verdict,
            r.overhead_ppm,
            now,
        )
        for r in results
    ]
    await insert_rows(conn, reconciliation, _COLUMNS, rows, replacing(reconciliation, _COLUMNS))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows a page holds; None is any."""

    day: date | None = None
    service_id: str | None = None
    verdict: str | None = None


async def page(conn: AsyncConnection, wanted: Wanted, after: tuple[int, str] | None, limit: int) -> list[Compared]:
    """Newest day first, then by service; `after` is (ordinal of the day, service)."""
    r = reconciliation.c
    query = select(reconciliation).order_by(r.day.desc(), r.service_id).limit(limit)
    for column, value in ((r.day, wanted.day), (r.service_id, wanted.service_id), (r.verdict, wanted.verdict)):
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        last = date.fromordinal(max(1, min(after[0], date.max.toordinal())))
        query = query.where((r.day < last) | ((r.day == last) & (r.service_id > after[1])))
    return [_compared(row) for row in await conn.execute(query)]


async def looked_at(conn: AsyncConnection) -> datetime | None:
    """When somebody compared the counts of the day before last, and came to the end."""
    query = select(recount_position.c.record_id).where(recount_position.c.name == _LOOKED_AT)
    found: int | None = await conn.scalar(query)
    return None if found is None else from_micros(found)


async def set_looked_at(conn: AsyncConnection, now: datetime) -> None:
    """All services of the day before `now` were compared."""
    columns = ("name", "record_id")
    row = (_LOOKED_AT, to_micros(now))
    await insert_rows(conn, recount_position, columns, [row], replacing(recount_position, columns))


async def totals(conn: AsyncConnection, since: date) -> list[DayTotal]:
    """One of each day, oldest first."""
    r = reconciliation.c
    query = (
        select(
            r.day,
            func.count().label("services"),
            func.sum(case((r.verdict == DIFFERS, 1), else_=0)).label("differing"),
            func.sum(r.radius_octets).label("radius"),
            func.sum(case((r.counter_octets.is_not(None), r.radius_octets), else_=0)).label("counted_radius"),
            func.coalesce(func.sum(r.counter_octets), 0).label("counter"),
            func.sum(r.billed_octets).label("billed"),
            func.sum(r.charged_octets).label("charged"),
            func.sum(r.unexplained_octets).label("unexplained"),
        )
        .where(r.day >= since)
        .group_by(r.day)
        .order_by(r.day)
    )
    return [
        DayTotal(
            row.day,
            row.services,
            int(row.differing),
            int(row.radius),
            int(row.counted_radius),
            int(row.counter),
            int(row.billed),
            int(row.charged),
            int(row.unexplained),
        )
        for row in await conn.execute(query)
    ]


def other_shares(counted: Mapping[str, Counted]) -> list[float]:
    """How much counters were above RADIUS on one day."""
    return [share for c in counted.values() if (share := share_of(c)) is not None]


def _compared(row: Row[Any]) -> Compared:
    return Compared(
        row.service_id,
        row.day,
        row.radius_octets,
        row.counter_octets,
        row.billed_octets,
        row.charged_octets,
        tuple(Reason(*reason) for reason in json.loads(row.reasons)),
        row.unexplained_octets,
        row.verdict,
        row.looked_at,
    )

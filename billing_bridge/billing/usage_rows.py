"""Rows of usage by day, as a bill run reads them, and of the days that a charge names as its evidence.

A run reads a month of days for each subscription: they are what it has most of, so those of a service travel as one
row, with an array for each column, and so does what a charge names of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import repeat
from typing import NamedTuple

from sqlalchemy import Text, and_, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.model import DayUsage, RatedCharge
from billing_bridge.suspense.model import CHARGED
from billing_bridge.tables import charge_usage, suspense, usage_day
from controller.domain.identity import ServiceId
from controller.store.many import insert_rows, one_of
from controller.store.turns import in_turns

_OF_DAY = (
    usage_day.c.service_id,
    usage_day.c.day,
    usage_day.c.upstream_octets,
    usage_day.c.downstream_octets,
    usage_day.c.intervals,
    usage_day.c.last_interval_id,
)
"""In the order of the fields of DayUsage."""
_EVIDENCE = ("charge_id", "service_id", "first_on", "until_on", "days")
_DAY = timedelta(days=1)
_json = json.JSONEncoder(separators=(",", ":")).encode


class Used(NamedTuple):
    """What a run reads of a service: its days in order, and what they come to, added up by the database."""

    days: list[DayUsage]
    octets: int


_NOTHING = Used([], 0)


async def of_services(conn: AsyncConnection, service_ids: Sequence[str], since: date) -> Mapping[ServiceId, Used]:
    """Days that count on `since` or later: on themselves, or on the day to which they were released."""
    in_json = func.json_agg if conn.dialect.name == "postgresql" else func.json_group_array
    own = select(
        usage_day.c.service_id,
        func.sum(usage_day.c.upstream_octets + usage_day.c.downstream_octets),
        *(cast(in_json(column), Text) for column in _OF_DAY[1:]),
    ).where(one_of(conn, usage_day.c.service_id, service_ids), usage_day.c.day >= since)
    rows = (await conn.execute(own.group_by(usage_day.c.service_id))).all()
    found = {}
    async for service_id, octets, *columns in in_turns(rows):
        days, *figures = map(json.loads, columns)
        used = list(map(DayUsage, repeat(service_id), map(date.fromisoformat, days), *figures))
        used.sort()
        found[service_id] = Used(used, int(octets))
    released = (
        select(*_OF_DAY, suspense.c.counted_on)
        .join(suspense, and_(suspense.c.service_id == usage_day.c.service_id, suspense.c.day == usage_day.c.day))
        .where(
            one_of(conn, suspense.c.service_id, service_ids),
            suspense.c.state == CHARGED,
            suspense.c.counted_on >= since,
        )
    )
    elsewhere: dict[ServiceId, dict[date, DayUsage]] = {}
    for row in await conn.execute(released):
        elsewhere.setdefault(row.service_id, {})[row.day] = DayUsage(*row)
    for service_id, days in elsewhere.items():
        before = found.get(service_id, _NOTHING)
        earlier = sum(used.octets for day, used in days.items() if day < since)
        every = {u.day: u for u in before.days} | days
        found[service_id] = Used(sorted(every.values()), before.octets + earlier)
    return found


async def add_evidence(conn: AsyncConnection, rated: Sequence[RatedCharge]) -> None:
    """What charges for usage name: all days of a charge in one row."""
    rows = [(r.charge.charge_id, *_packed(r.evidence)) async for r in in_turns(rated) if r.evidence]
    await insert_rows(conn, charge_usage, _EVIDENCE, rows)


async def evidence_of(conn: AsyncConnection, charge_id: str) -> tuple[DayUsage, ...]:
    """The days that a charge names, in their order; none of a charge that is not for usage."""
    row = (await conn.execute(select(charge_usage).where(charge_usage.c.charge_id == charge_id))).one_or_none()
    return () if row is None else tuple(_unpacked(row.service_id, row.days))


async def evidence_of_all(conn: AsyncConnection, charge_ids: Iterable[str]) -> dict[str, tuple[DayUsage, ...]]:
    """The same of many charges; one that names no days is not in it."""
    query = select(charge_usage).where(one_of(conn, charge_usage.c.charge_id, sorted(charge_ids)))
    return {row.charge_id: tuple(_unpacked(row.service_id, row.days)) for row in await conn.execute(query)}


async def named(conn: AsyncConnection, since: date, until: date) -> dict[tuple[ServiceId, date], DayUsage]:
    """What charges name, by service and day of [since, until).

    Of several charges for a day (a correction after the first) the last one names all of its octets: perhaps fewer
    than the first, where some of them were given to another service.
    """
    query = select(charge_usage.c.service_id, charge_usage.c.days).where(
        charge_usage.c.first_on < until, charge_usage.c.until_on > since
    )
    found: dict[tuple[ServiceId, date], DayUsage] = {}
    async for row in await conn.stream(query):
        for used in _unpacked(row.service_id, row.days):
            if since <= used.day < until:
                key = (used.service_id, used.day)
                before = found.get(key)
                if before is None or before.last_interval_id < used.last_interval_id:
                    found[key] = used
    return found


def _packed(days: Sequence[DayUsage]) -> tuple[ServiceId, date, date, str]:
    """All are of one service, and in order."""
    told = [
        (u.day.isoformat(), u.upstream_octets, u.downstream_octets, u.intervals, u.last_interval_id)
        if u.released_to is None
        else (
            u.day.isoformat(), u.upstream_octets, u.downstream_octets, u.intervals, u.last_interval_id,
            u.released_to.isoformat(),
        )
        for u in days
    ]  # fmt: skip
    return days[0].service_id, days[0].day, days[-1].day + _DAY, _json(told)


def _unpacked(service_id: str, text: str) -> Iterator[DayUsage]:
    for day, upstream, downstream, intervals, last_interval_id, *released_to in json.loads(text):
        yield DayUsage(
            ServiceId(service_id),
            date.fromisoformat(day),
            upstream,
            downstream,
            intervals,
            last_interval_id,
            date.fromisoformat(released_to[0]) if released_to else None,
        )

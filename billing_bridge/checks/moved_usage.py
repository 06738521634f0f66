"""Octets that went from one service to another on days that a bill had: what is billed says so at once, a charge later.

charge names intervals up to n │ n + 1: a reversal │ n + 2: its part that stays │ elsewhere: its part that went
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.checks.tables import recount_session
from billing_bridge.tables import subscription, usage_interval
from controller.domain.identity import ServiceId
from controller.store.many import one_of

DayOf = tuple[ServiceId, date]
_Key = tuple[str | None, str, str]
"""Source, session and records: what a reversal and the parts booked anew have in common."""


async def since_billed(
    conn: AsyncConnection, services: Iterable[str], charged_upto: Mapping[DayOf, int], since: date, until: date
) -> dict[DayOf, tuple[int, int]]:
    """By service and day, octets (given away, got) after the last interval that a charge names of the day.

    Only of days that were billed when it happened, of `services`.
    """
    rows = [
        row
        for row in await _adjustments(conn, services, since, until)
        if row.interval_id > charged_upto.get((row.service_id, row.day), 0)
    ]
    reversed_of: dict[_Key, set[str]] = defaultdict(set)
    for row in rows:
        if _octets(row) < 0:
            reversed_of[_key(row)].add(row.service_id)
    away: dict[DayOf, int] = defaultdict(int)
    here: dict[DayOf, int] = defaultdict(int)
    for row in rows:
        of_day = ServiceId(row.service_id), row.day
        givers = reversed_of.get(_key(row), ())
        if row.service_id in givers:
            away[of_day] -= _octets(row)
        elif givers or (row.source is None and row.told != row.service_id):
            here[of_day] += _octets(row)
    return {of_day: (away[of_day], here[of_day]) for of_day in {*away, *here}}


async def _adjustments(conn: AsyncConnection, services: Iterable[str], since: date, until: date) -> Sequence[Any]:
    """Intervals that came to days which a bill had."""
    s, i = subscription.c, usage_interval.c
    billed = select(s.service_id).where(one_of(conn, s.service_id, sorted(services)), s.usage_billed_until_on > since)
    query = (
        select(
            i.interval_id, i.service_id, i.day, i.source, i.session_key, i.record_ids, i.upstream_octets,
            i.downstream_octets, recount_session.c.service_id.label("told"),
        )
        .outerjoin(recount_session, recount_session.c.session_key == i.session_key)
        .where(i.service_id.in_(billed), i.day >= since, i.day < until, i.adjustment)
    )  # fmt: skip
    return (await conn.execute(query)).all()


def _octets(row: Row[Any]) -> int:
    return int(row.upstream_octets + row.downstream_octets)


def _key(row: Row[Any]) -> _Key:
    return row.source, row.session_key, row.record_ids

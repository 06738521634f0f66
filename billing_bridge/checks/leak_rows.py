"""Rows of leakage: what the last look found, in its order, and what it came to on each day.

A look of a hundred thousand rows is written piece by piece, so that nobody waits for the database meanwhile. It counts
as the last look once its day stands in the other table; what a crash left of one is never read, and deleted later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.checks.leakage import SIDES, Leak, Sight
from billing_bridge.checks.tables import leak, leak_day
from controller.domain.money import Money
from controller.store.many import insert_rows, replacing

_LEAK = ("looked_at", "side", "rank", "body")
_DAY = ("day", "side", "currency", "items", "per_day_minor", "looked_at")


@dataclass(frozen=True, slots=True)
class LeakDay:
    """What one side came to on a day."""

    day: date
    side: str
    items: int
    per_day: Money


@dataclass(frozen=True, slots=True)
class Ranked:
    """A leak as it was found at `looked_at`; `rank` counts from 1, the dearest of its side."""

    rank: int
    leak: Leak
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class Noted:
    """A look as it is kept: `rows` of (side, rank, body), `sums` by side and currency of (items, minor units a day)."""

    rows: Sequence[tuple[str, int, str]]
    sums: Mapping[tuple[str, str], tuple[int, int]]


def noted(found: Sequence[Leak], currency: str) -> Noted:
    """Pure, and a second of arithmetic where there is much."""
    ranks: Counter[str] = Counter()
    rows = []
    sums = {(side, currency): (0, 0) for side in SIDES}
    for one in found:
        ranks[one.side] += 1
        rows.append((one.side, ranks[one.side], json.dumps(_to_json(one))))
        items, minor = sums.get((one.side, one.per_day.currency), (0, 0))
        sums[one.side, one.per_day.currency] = (items + 1, minor + one.per_day.minor)
    return Noted(rows, sums)


async def add(conn: AsyncConnection, now: datetime, rows: Sequence[tuple[str, int, str]]) -> None:
    """Some of the rows of the look at `now`."""
    await insert_rows(conn, leak, _LEAK, [(now, *row) for row in rows], replacing(leak, _LEAK))


async def end(conn: AsyncConnection, day: date, look: Noted, now: datetime) -> None:
    """All rows are there: this is the last look, and what it came to are the sums of the day."""
    for side in SIDES:
        # Of another look at the very same instant.
        await forget(conn, now, side, sum(items for (of, _), (items, _) in look.sums.items() if of == side))
    days = [(day, side, code, items, minor, now) for (side, code), (items, minor) in look.sums.items()]
    await conn.execute(delete(leak_day).where(leak_day.c.day == day))
    await insert_rows(conn, leak_day, _DAY, days, replacing(leak_day, _DAY))
    await conn.execute(delete(leak_day).where(leak_day.c.day == day, leak_day.c.looked_at != now))


async def given_up(conn: AsyncConnection, before: datetime) -> list[tuple[datetime, str, int]]:
    """(looked at, side, highest rank) of looks before, but for the last one."""
    last = await last_look(conn)
    query = select(leak.c.looked_at, leak.c.side, func.max(leak.c.rank)).where(leak.c.looked_at < before)
    rows = await conn.execute(query.group_by(leak.c.looked_at, leak.c.side))
    return [(looked_at, side, most) for looked_at, side, most in rows if looked_at != last]


async def forget(conn: AsyncConnection, looked_at: datetime, side: str, above: int) -> None:
    """Delete the rows of a look beyond a rank."""
    await conn.execute(delete(leak).where(leak.c.looked_at == looked_at, leak.c.side == side, leak.c.rank > above))


async def page(conn: AsyncConnection, side: str, after: int, limit: int) -> list[Ranked]:
    """What the last look found on a side, the dearest first."""
    of_look = (leak.c.looked_at == await last_look(conn), leak.c.side == side, leak.c.rank > after)
    query = select(leak).where(*of_look).order_by(leak.c.rank).limit(limit)
    return [Ranked(row.rank, _leak(json.loads(row.body)), row.looked_at) for row in await conn.execute(query)]


async def last_look(conn: AsyncConnection) -> datetime | None:
    """When somebody looked last; None when nobody ever did."""
    found: datetime | None = await conn.scalar(select(func.max(leak_day.c.looked_at)))
    return found


async def days(conn: AsyncConnection, since: date) -> list[LeakDay]:
    """What was found each day, oldest first."""
    query = select(leak_day).where(leak_day.c.day >= since).order_by(leak_day.c.day, leak_day.c.side)
    return [LeakDay(r.day, r.side, r.items, Money(r.per_day_minor, r.currency)) for r in await conn.execute(query)]


def _to_json(found: Leak) -> dict[str, Any]:
    return {
        "side": found.side,
        "key": found.key,
        "title": found.title,
        "service_id": found.service_id,
        "account_id": found.account_id,
        "subscription_id": found.subscription_id,
        "currency": found.monthly.currency,
        "monthly": found.monthly.minor,
        "per_day": found.per_day.minor,
        "since_on": found.since_on.isoformat(),
        "days": found.days,
        "lost": found.lost.minor,
        "price_from": found.price_from,
        "evidence": [
            [
                *(s.what, s.ref, s.service_id, s.since.isoformat(), s.last.isoformat()),
                *(s.detail, s.is_live, s.downstream_bps),
            ]
            for s in found.evidence
        ],
    }


def _leak(found: dict[str, Any]) -> Leak:
    def money(name: str) -> Money:
        return Money(found[name], found["currency"])

    return Leak(
        found["side"],
        found["key"],
        found["title"],
        found["service_id"],
        found["account_id"],
        found["subscription_id"],
        money("monthly"),
        money("per_day"),
        date.fromisoformat(found["since_on"]),
        found["days"],
        money("lost"),
        found["price_from"],
        tuple(
            Sight(what, ref, service_id, datetime.fromisoformat(since), datetime.fromisoformat(last), *more)
            for what, ref, service_id, since, last, *more in found["evidence"]
        ),
    )

"""Rows of leakage: what the last look found, in its order, and what it came to on each day."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.checks.leakage import SIDES, Leak, Sight
from billing_bridge.checks.tables import leak, leak_day
from controller.domain.money import Money
from controller.store.many import insert_rows, replacing

_LEAK = ("side", "rank", "looked_at", "body")
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


async def put(conn: AsyncConnection, day: date, found: Sequence[Leak], currency: str, now: datetime) -> None:
    """In the place of the look before, and of the sums of the same day. Two that look at once leave one look whole."""
    ranks: Counter[str] = Counter()
    rows = []
    for one in found:
        ranks[one.side] += 1
        rows.append((one.side, ranks[one.side], now, json.dumps(_to_json(one))))
    await conn.execute(delete(leak))
    await insert_rows(conn, leak, _LEAK, rows, replacing(leak, _LEAK))
    await conn.execute(delete(leak).where(leak.c.looked_at != now))
    sums = {(side, currency): [0, 0] for side in SIDES}
    for one in found:
        of = sums.setdefault((one.side, one.per_day.currency), [0, 0])
        of[0] += 1
        of[1] += one.per_day.minor
    days = [(day, side, code, items, minor, now) for (side, code), (items, minor) in sums.items()]
    await conn.execute(delete(leak_day).where(leak_day.c.day == day))
    await insert_rows(conn, leak_day, _DAY, days, replacing(leak_day, _DAY))
    await conn.execute(delete(leak_day).where(leak_day.c.day == day, leak_day.c.looked_at != now))


async def page(conn: AsyncConnection, side: str, after: int, limit: int) -> list[Ranked]:
    """What the last look found on a side, the dearest first."""
    query = select(leak).where(leak.c.side == side, leak.c.rank > after).order_by(leak.c.rank).limit(limit)
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

"""Rows of mediation: where it stands in the usage log, what it knows of sessions, and what it booked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.growth import Growth, SessionState
from billing_bridge.tables import position, session, subscription, suspense, usage_day, usage_interval
from controller.domain.usage import SessionTotals
from controller.store.many import insert_rows, one_of, replacing

_LOG = "usage-log"
_CHUNK = 500
"""Keys per IN list: both databases plan it as index look-ups."""


_SESSION = (
    "session_key",
    "service_id",
    "upstream_octets",
    "downstream_octets",
    "upstream_record_id",
    "downstream_record_id",
    "seen_until",
)
_INTERVAL = (
    "interval_id",
    "service_id",
    "day",
    "session_key",
    "grown_since",
    "since",
    "until",
    "upstream_octets",
    "downstream_octets",
    "record_ids",
    "adjustment",
)
_DAY = ("service_id", "day", "upstream_octets", "downstream_octets", "intervals", "last_interval_id")
_SUMS = ("upstream_octets", "downstream_octets", "intervals")
_ADD_TO_DAY = (
    "ON CONFLICT (service_id, day) DO UPDATE SET "
    + "".join(f"{name} = {usage_day.name}.{name} + excluded.{name}, " for name in _SUMS)
    + "last_interval_id = excluded.last_interval_id"
)
_SUSPENSE = (
    "reason",
    "session_key",
    "username",
    "nas_id",
    "since",
    "until",
    "upstream_octets",
    "downstream_octets",
    "record_ids",
    "entered_at",
)


@dataclass(frozen=True, slots=True)
class Position:
    record_id: int
    last_interval_id: int


@dataclass(frozen=True, slots=True)
class Booking:
    """One row of usage: what a record added to a service on one local day."""

    interval_id: int
    service_id: str
    day: date
    session_key: str
    grown_since: datetime
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    record_ids: tuple[int, ...]
    adjustment: bool


async def read_position(conn: AsyncConnection) -> Position:
    row = (await conn.execute(select(position).where(position.c.name == _LOG))).one_or_none()
    return Position(row.record_id, row.last_interval_id) if row else Position(0, 0)


async def lock_position(conn: AsyncConnection) -> Position:
    """The position, held against every other mediator until the transaction ends."""
    fresh = _upsert(conn)(position).values(name=_LOG, record_id=0, last_interval_id=0)
    await conn.execute(fresh.on_conflict_do_nothing())
    row = (await conn.execute(select(position).where(position.c.name == _LOG).with_for_update())).one()
    return Position(row.record_id, row.last_interval_id)


async def move_position(conn: AsyncConnection, to: Position) -> None:
    values = {"record_id": to.record_id, "last_interval_id": to.last_interval_id}
    await conn.execute(update(position).where(position.c.name == _LOG).values(values))


async def sessions(conn: AsyncConnection, keys: Iterable[str]) -> dict[str, SessionState]:
    """What is known of these sessions."""
    query = select(*(session.c[name] for name in _SESSION))
    rows = await conn.execute(query.where(one_of(conn, session.c.session_key, sorted(set(keys)))))
    return {
        key: SessionState(
            key, service_id, SessionTotals(upstream, downstream), upstream_record_id, downstream_record_id, seen_until
        )
        for key, service_id, upstream, downstream, upstream_record_id, downstream_record_id, seen_until in rows
    }


async def store_sessions(conn: AsyncConnection, states: Sequence[SessionState]) -> None:
    rows = [
        (
            s.session_key,
            s.service_id,
            s.totals.upstream_octets,
            s.totals.downstream_octets,
            s.upstream_record_id,
            s.downstream_record_id,
            s.seen_until,
        )
        for s in states
    ]
    await insert_rows(conn, session, _SESSION, rows, replacing(session, _SESSION))


async def billed_until(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, date]:
    """Per service: the first local day whose usage is not billed yet. Services never billed are absent.

    Holds the subscriptions against a bill run until the transaction ends: either it sees this usage, or this usage is
    seen to come after it. In between nothing could ever charge it.
    """
    found: dict[str, date] = {}
    for chunk in _chunks(sorted(set(service_ids))):
        query = (
            select(subscription.c.service_id, subscription.c.usage_billed_until_on)
            .where(subscription.c.service_id.in_(chunk))
            .order_by(subscription.c.subscription_id)
            .with_for_update(read=True)
        )
        for row in await conn.execute(query):
            if row.usage_billed_until_on is None:
                continue
            found[row.service_id] = max(found.get(row.service_id, row.usage_billed_until_on), row.usage_billed_until_on)
    return found


async def book(conn: AsyncConnection, bookings: Sequence[Booking]) -> None:
    """Add intervals, and their sums to the days."""
    rows = [
        (
            b.interval_id,
            b.service_id,
            b.day,
            b.session_key,
            b.grown_since,
            b.since,
            b.until,
            b.upstream_octets,
            b.downstream_octets,
            ",".join(map(str, b.record_ids)),
            b.adjustment,
        )
        for b in bookings
    ]
    await insert_rows(conn, usage_interval, _INTERVAL, rows)
    await insert_rows(conn, usage_day, _DAY, _days(bookings), _ADD_TO_DAY)


async def rate_again(conn: AsyncConnection, late: Mapping[str, date]) -> None:
    """Late usage: let the next bill run rate these services again from these days on."""
    for service_id, day in sorted(late.items()):
        await conn.execute(
            update(subscription)
            .where(subscription.c.service_id == service_id, subscription.c.rate_from_on > day)
            .values(rate_from_on=day)
        )


async def suspend(conn: AsyncConnection, held: Sequence[tuple[Growth, str, str, str]], now: datetime) -> None:
    """Keep usage that nobody can be charged for: (growth, reason, username, nas_id)."""
    rows = [
        (
            reason,
            growth.session_key,
            username[:253],
            nas_id,
            growth.since,
            growth.until,
            growth.upstream_octets,
            growth.downstream_octets,
            ",".join(map(str, growth.record_ids)),
            now,
        )
        for growth, reason, username, nas_id in held
    ]
    await insert_rows(conn, suspense, _SUSPENSE, rows)


def _days(bookings: Sequence[Booking]) -> list[tuple[Any, ...]]:
    """Sums per service and day, in one order for every mediator."""
    days: dict[tuple[str, date], list[int]] = {}
    for b in bookings:
        sums = days.setdefault((b.service_id, b.day), [0, 0, 0, 0])
        sums[0] += b.upstream_octets
        sums[1] += b.downstream_octets
        sums[2] += 1
        sums[3] = b.interval_id
    return [(*key, *days[key]) for key in sorted(days)]


def _upsert(conn: AsyncConnection) -> Any:
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[n : n + _CHUNK] for n in range(0, len(keys), _CHUNK))

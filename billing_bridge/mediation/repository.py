"""Rows of mediation: where it stands in the usage log, what it knows of sessions, and what it booked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.growth import Growth, SessionState
from billing_bridge.tables import position, session, subscription, suspense, usage_day, usage_interval
from controller.domain.usage import SessionTotals

_LOG = "usage-log"
_CHUNK = 500
"""Keys per IN list: both databases plan it as index look-ups."""


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
    found = {}
    for chunk in _chunks(sorted(set(keys))):
        for row in await conn.execute(select(session).where(session.c.session_key.in_(chunk))):
            totals = SessionTotals(row.upstream_octets, row.downstream_octets)
            found[row.session_key] = SessionState(
                row.session_key,
                row.service_id,
                totals,
                row.upstream_record_id,
                row.downstream_record_id,
                row.seen_until,
            )
    return found


async def store_sessions(conn: AsyncConnection, states: Sequence[SessionState]) -> None:
    if not states:
        return
    rows = [
        {
            "session_key": s.session_key,
            "service_id": s.service_id,
            "upstream_octets": s.totals.upstream_octets,
            "downstream_octets": s.totals.downstream_octets,
            "upstream_record_id": s.upstream_record_id,
            "downstream_record_id": s.downstream_record_id,
            "seen_until": s.seen_until,
        }
        for s in states
    ]
    statement = _upsert(conn)(session)
    changed = {c.name: statement.excluded[c.name] for c in session.c if not c.primary_key}
    await conn.execute(statement.on_conflict_do_update(index_elements=[session.c.session_key], set_=changed), rows)


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
    if not bookings:
        return
    rows = [
        {
            "interval_id": b.interval_id,
            "service_id": b.service_id,
            "day": b.day,
            "session_key": b.session_key,
            "grown_since": b.grown_since,
            "since": b.since,
            "until": b.until,
            "upstream_octets": b.upstream_octets,
            "downstream_octets": b.downstream_octets,
            "record_ids": ",".join(map(str, b.record_ids)),
            "adjustment": b.adjustment,
        }
        for b in bookings
    ]
    await conn.execute(insert(usage_interval), rows)
    statement = _upsert(conn)(usage_day)
    sums = {
        name: usage_day.c[name] + statement.excluded[name]
        for name in ("upstream_octets", "downstream_octets", "intervals")
    }
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=[usage_day.c.service_id, usage_day.c.day],
            set_={**sums, "last_interval_id": statement.excluded.last_interval_id},
        ),
        _days(bookings),
    )


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
        {
            "reason": reason,
            "session_key": growth.session_key,
            "username": username[:253],
            "nas_id": nas_id,
            "since": growth.since,
            "until": growth.until,
            "upstream_octets": growth.upstream_octets,
            "downstream_octets": growth.downstream_octets,
            "record_ids": ",".join(map(str, growth.record_ids)),
            "entered_at": now,
        }
        for growth, reason, username, nas_id in held
    ]
    if rows:
        await conn.execute(insert(suspense), rows)


def _days(bookings: Sequence[Booking]) -> list[dict[str, Any]]:
    """Sums per service and day, in one order for every mediator."""
    days: dict[tuple[str, date], dict[str, Any]] = {}
    for b in bookings:
        row = days.setdefault(
            (b.service_id, b.day),
            {
                "service_id": b.service_id,
                "day": b.day,
                "upstream_octets": 0,
                "downstream_octets": 0,
                "intervals": 0,
                "last_interval_id": 0,
            },
        )
        row["upstream_octets"] += b.upstream_octets
        row["downstream_octets"] += b.downstream_octets
        row["intervals"] += 1
        row["last_interval_id"] = b.interval_id
    return [days[key] for key in sorted(days)]


def _upsert(conn: AsyncConnection) -> Any:
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[n : n + _CHUNK] for n in range(0, len(keys), _CHUNK))

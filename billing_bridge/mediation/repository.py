"""Rows of mediation: where it stands in the usage log, what it knows of sessions and usernames, and what it booked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.growth import Growth, SessionState
from billing_bridge.suspense.model import WAITING
from billing_bridge.tables import entitlement, position, session, subscription, suspense, usage_day, usage_interval
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
    "heard_at",
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
    "source",
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
    "state",
    "session_key",
    "username",
    "nas_id",
    "since",
    "until",
    "upstream_octets",
    "downstream_octets",
    "record_ids",
    "entered_at",
    "accepted_at",
    "grown_since",
)


@dataclass(frozen=True, slots=True)
class Position:
    record_id: int
    last_interval_id: int


@dataclass(frozen=True, slots=True)
class Booking:
    """What a record added to a service on one local day."""

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
    source: str | None = None

    @property
    def octets(self) -> int:
        return self.upstream_octets + self.downstream_octets


@dataclass(frozen=True, slots=True)
class Standing:
    """How a service stands: the first local day whose usage is not billed yet, and the last days with a plan."""

    billed_until: date | None = None
    plans: tuple[tuple[date, date], ...] = ()

    def entitles(self, day: date) -> bool:
        """Whether a plan holds on `day` for sure. Without, the whole timeline knows."""
        return any(from_on <= day < until_on for from_on, until_on in self.plans)

    def bills_late(self, day: date) -> bool:
        """Whether what is booked on `day` now comes after its bill."""
        return self.billed_until is not None and day < self.billed_until


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
            key, service_id, SessionTotals(upstream, downstream), upstream_record_id, downstream_record_id, seen, heard
        )
        for key, service_id, upstream, downstream, upstream_record_id, downstream_record_id, seen, heard in rows
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
            s.heard_at,
        )
        for s in states
    ]
    await insert_rows(conn, session, _SESSION, rows, replacing(session, _SESSION))


async def forget_sessions(conn: AsyncConnection, after: str, before_key: str, heard_before: datetime) -> str | None:
    """Delete some of the sessions with a key between these two that nothing was heard of; where to go on, or None."""
    query = (
        select(session.c.session_key, session.c.heard_at)
        .where(session.c.session_key > after, session.c.session_key < before_key)
        .order_by(session.c.session_key)
        .limit(_CHUNK)
    )
    rows = (await conn.execute(query)).all()
    gone = [row.session_key for row in rows if row.heard_at < heard_before]
    if gone:
        await conn.execute(delete(session).where(one_of(conn, session.c.session_key, gone)))
    return rows[-1].session_key if len(rows) == _CHUNK else None


async def standings(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, Standing]:
    """How these services stand; those without a subscription are absent.

    Holds the subscriptions against a bill run until the transaction ends: either it sees this usage, or this usage is
    seen to come after it. In between nothing could ever charge it.
    """
    found: dict[str, Standing] = {}
    for chunk in _chunks(sorted(set(service_ids))):
        query = (
            select(
                subscription.c.service_id,
                subscription.c.usage_billed_until_on,
                subscription.c.entitled_from_on,
                subscription.c.entitled_until_on,
            )
            .where(subscription.c.service_id.in_(chunk))
            .order_by(subscription.c.subscription_id)
            .with_for_update(read=True)
        )
        for service_id, billed, from_on, until_on in await conn.execute(query):
            known = found.get(service_id)
            plans = () if from_on is None else ((from_on, until_on),)
            if known is not None:
                billed = max((day for day in (billed, known.billed_until) if day is not None), default=None)
                plans = (*known.plans, *plans)
            found[service_id] = Standing(billed, plans)
    return found


async def add_bookings(conn: AsyncConnection, bookings: Sequence[Booking], last_interval_id: int) -> None:
    """Add intervals, numbered on from `last_interval_id`, and their sums to the days."""
    rows = [
        (
            interval_id,
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
            b.source,
        )
        for interval_id, b in enumerate(bookings, last_interval_id + 1)
    ]
    await insert_rows(conn, usage_interval, _INTERVAL, rows)
    await insert_rows(conn, usage_day, _DAY, _days(bookings, last_interval_id), _ADD_TO_DAY)


@dataclass(frozen=True, slots=True)
class Held:
    """Usage that nobody can be charged for, why, and what its record said."""

    growth: Growth
    reason: str
    username: str
    nas_id: str
    accepted_at: datetime | None


async def suspend(conn: AsyncConnection, held: Sequence[Held], now: datetime) -> None:
    """Keep usage that nobody can be charged for."""
    rows = [
        (
            h.reason,
            WAITING,
            h.growth.session_key,
            h.username[:253],
            h.nas_id,
            h.growth.since,
            h.growth.until,
            h.growth.upstream_octets,
            h.growth.downstream_octets,
            ",".join(map(str, h.growth.record_ids)),
            now,
            h.accepted_at,
            h.growth.grown_since,
        )
        for h in held
    ]
    await insert_rows(conn, suspense, _SUSPENSE, rows)


async def beginnings(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, datetime]:
    """When these services were last verified to work: the newest first entitlement of their subscriptions."""
    query = (
        select(subscription.c.service_id, entitlement.c.subscription_id, func.min(entitlement.c.at))
        .join(entitlement, entitlement.c.subscription_id == subscription.c.subscription_id)
        .where(one_of(conn, subscription.c.service_id, sorted(set(service_ids))), entitlement.c.version_id.is_not(None))
        .group_by(subscription.c.service_id, entitlement.c.subscription_id)
    )
    found: dict[str, datetime] = {}
    for service_id, _, at in await conn.execute(query):
        found[service_id] = max(found.get(service_id, at), at)
    return found


def _days(bookings: Sequence[Booking], last_interval_id: int) -> list[tuple[Any, ...]]:
    """Sums per service and day, in one order for every mediator."""
    days: dict[tuple[str, date], list[int]] = {}
    for interval_id, b in enumerate(bookings, last_interval_id + 1):
        sums = days.setdefault((b.service_id, b.day), [0, 0, 0, 0])
        sums[0] += b.upstream_octets
        sums[1] += b.downstream_octets
        sums[2] += 1
        sums[3] = interval_id
    return [(*key, *days[key]) for key in sorted(days)]


def _upsert(conn: AsyncConnection) -> Any:
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert


def _chunks(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[n : n + _CHUNK] for n in range(0, len(keys), _CHUNK))

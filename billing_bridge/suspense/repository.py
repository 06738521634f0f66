"""Rows of the suspense: pages and totals of it, and what is decided about an item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.suspense.model import NO_SERVICE, NOT_ENTITLED, WAITING, WRITTEN_OFF
from billing_bridge.tables import subscription, suspense
from controller.domain.identity import OfferingVersionId, ServiceId
from controller.store.many import total


@dataclass(frozen=True, slots=True)
class Item:
    """Usage in suspense: what one record added (`session_key` …), what a service used on a `day` without a plan, or
    what a `source` told."""

    suspense_id: int
    reason: str
    state: str
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int
    entered_at: datetime
    session_key: str | None
    username: str | None
    nas_id: str | None
    record_ids: tuple[int, ...]
    service_id: ServiceId | None
    day: date | None
    detail: str | None
    version_id: OfferingVersionId | None
    counted_on: date | None
    decided_at: datetime | None
    decided_by: str | None
    accepted_at: datetime | None = None
    grown_since: datetime | None = None
    source: str | None = None
    source_record_id: int | None = None
    duration_s: int | None = None

    @property
    def octets(self) -> int:
        return self.upstream_octets + self.downstream_octets


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items a page holds."""

    state: str | None = WAITING
    reason: str | None = None
    service_id: str | None = None
    username: str | None = None
    source: str | None = None
    entered_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """What waits for one reason and, where one is known, at one plan."""

    reason: str
    version_id: OfferingVersionId | None
    items: int
    upstream_octets: int
    downstream_octets: int
    oldest_at: datetime
    calls: int
    seconds: int


async def page(conn: AsyncConnection, wanted: Wanted, after: int, limit: int) -> list[Item]:
    """In order of entry; `after` is a suspense id."""
    query = select(suspense).where(suspense.c.suspense_id > after).order_by(suspense.c.suspense_id).limit(limit)
    for column, value in (
        (suspense.c.state, wanted.state),
        (suspense.c.reason, wanted.reason),
        (suspense.c.service_id, wanted.service_id),
        (suspense.c.username, wanted.username),
        (suspense.c.source, wanted.source),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.entered_until is not None:
        query = query.where(suspense.c.entered_at <= wanted.entered_until)
    return [_item(row) for row in await conn.execute(query)]


async def get(conn: AsyncConnection, suspense_id: int) -> Item | None:
    row = (await conn.execute(select(suspense).where(suspense.c.suspense_id == suspense_id))).one_or_none()
    return _item(row) if row else None


async def sums(conn: AsyncConnection) -> list[Sum]:
    """What waits, by reason and plan."""
    query = (
        select(
            suspense.c.reason,
            suspense.c.version_id,
            func.count(),
            total(suspense.c.upstream_octets),
            total(suspense.c.downstream_octets),
            func.min(suspense.c.entered_at),
            func.count(suspense.c.duration_s),
            func.sum(suspense.c.duration_s),
        )
        .where(suspense.c.state == WAITING)
        .group_by(suspense.c.reason, suspense.c.version_id)
        .order_by(suspense.c.reason, suspense.c.version_id)
    )
    return [
        Sum(
            reason,
            None if version_id is None else OfferingVersionId(version_id),
            items,
            int(up),
            int(down),
            oldest,
            calls,
            int(seconds or 0),
        )
        for reason, version_id, items, up, down, oldest, calls, seconds in await conn.execute(query)
    ]


async def unmapped(conn: AsyncConnection, name: str, until: datetime) -> list[Item]:
    """What waits for a service, of this username and of records at `until` or later."""
    query = select(suspense).where(
        suspense.c.username == name,
        suspense.c.reason == NO_SERVICE,
        suspense.c.state == WAITING,
        suspense.c.until >= until,
    )
    return [_item(row) for row in await conn.execute(query.order_by(suspense.c.suspense_id))]


async def any_written_off(conn: AsyncConnection, service_id: str, day: date) -> bool:
    """Whether a part of this day was written off."""
    query = select(suspense.c.suspense_id).where(
        suspense.c.service_id == service_id,
        suspense.c.day == day,
        suspense.c.reason == NOT_ENTITLED,
        suspense.c.state == WRITTEN_OFF,
    )
    return await conn.scalar(query.limit(1)) is not None


async def decide(conn: AsyncConnection, ids: Sequence[int], state: str, now: datetime, actor: str, **more: Any) -> None:
    """Give items another state, by decision of `actor`."""
    values = {"state": state, "decided_at": now, "decided_by": actor, **more}
    for start in range(0, len(ids), 500):
        some = suspense.c.suspense_id.in_(ids[start : start + 500])
        await conn.execute(update(suspense).where(some).values(values))


async def is_billed(conn: AsyncConnection, service_id: str) -> bool:
    """Whether a subscription names this service."""
    query = select(subscription.c.subscription_id).where(subscription.c.service_id == service_id)
    return await conn.scalar(query.limit(1)) is not None


def _item(row: Row[Any]) -> Item:
    return Item(
        suspense_id=row.suspense_id,
        reason=row.reason,
        state=row.state,
        since=row.since,
        until=row.until,
        upstream_octets=row.upstream_octets,
        downstream_octets=row.downstream_octets,
        entered_at=row.entered_at,
        session_key=row.session_key,
        username=row.username,
        nas_id=row.nas_id,
        record_ids=tuple(int(i) for i in row.record_ids.split(",")) if row.record_ids else (),
        service_id=None if row.service_id is None else ServiceId(row.service_id),
        day=row.day,
        detail=row.detail,
        version_id=None if row.version_id is None else OfferingVersionId(row.version_id),
        counted_on=row.counted_on,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        accepted_at=row.accepted_at,
        grown_since=row.grown_since,
        source=row.source,
        source_record_id=row.source_record_id,
        duration_s=row.duration_s,
    )

"""Brings the suspense of services in line with their usage and their timelines, whichever of the two has changed.

Called in the transaction of every change of either, so it is never behind: mediation for days that it cannot say a
plan holds on, billing for every entry of a timeline. The caller holds mediation's position, which puts them in order:
usage of a service that no subscription names yet has no row to meet an activation at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.rating.proration import Change, Stretch
from billing_bridge.suspense.dispositions import DayKey, day_items, recount
from billing_bridge.suspense.model import NOT_ENTITLED, DayItem, held, last_days, settle_day
from billing_bridge.tables import entitlement, subscription, suspense, usage_day
from billing_bridge.zones import Zones, zones_of
from controller.domain.clock import local_date, start_of_day
from controller.store.many import insert_rows, one_of

_CHANGING = ("state", "upstream_octets", "downstream_octets", "detail", "version_id", "counted_on", "last_interval_id")
_COLUMNS = (*_CHANGING, "reason", "service_id", "day", "since", "until", "entered_at")
_CHANGE = "ON CONFLICT (suspense_id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _CHANGING)


@dataclass(frozen=True, slots=True)
class Timelines:
    """Per service: all its plans. Per subscription: its last unbroken days."""

    plans: Mapping[str, Sequence[Stretch]]
    last_days: Mapping[str, tuple[date, date] | None]
    zones: Zones


async def settle(
    conn: AsyncConnection,
    service_ids: Sequence[str],
    *,
    zone: ZoneInfo,
    now: datetime,
    since: date | None = None,
    upto: int | None = None,
) -> None:
    """Put the days of these services, from `since` on, into or out of suspense, and the ledger with them.

    `zone` is that of services that have none of their own, here and below.
    Intervals after `upto` are counted in the ledger by whoever books them.
    """
    timelines = await read_timelines(conn, service_ids, zone)
    used = await _used(conn, service_ids, since)
    items = await day_items(conn, service_ids, since)
    changed: list[tuple[DayKey, DayItem]] = []
    moved: dict[DayKey, tuple[Sequence[DayItem], Sequence[DayItem]]] = {}
    again: dict[str, date] = {}
    for key in sorted(used.keys() | items.keys()):
        service_id, day = key
        up, down, last_interval_id = used.get(key, (0, 0, 0))
        before = items.get(key, [])
        found = settle_day(day, (up, down), before, timelines.plans.get(service_id, ()), last_interval_id)
        changed += [(key, item) for item in found.items]
        if {i.suspense_id: i.state for i in before} != {i.suspense_id: i.state for i in found.items}:
            said = {item.suspense_id for item in found.items}
            moved[key] = before, [*(i for i in before if i.suspense_id not in said), *found.items]
        if found.rate_from_on is not None:
            again[service_id] = min(again.get(service_id, found.rate_from_on), found.rate_from_on)
    await _put(conn, changed, timelines.zones, now)
    await rate_again(conn, again)
    await recount(conn, moved, upto=upto)


async def timeline_changed(conn: AsyncConnection, service_id: str, *, zone: ZoneInfo, now: datetime) -> None:
    """After an entry of a timeline: note the last days with a plan, and settle every day of the service."""
    timelines = await read_timelines(conn, [service_id], zone)
    for subscription_id, days in timelines.last_days.items():
        from_on, until_on = days or (None, None)
        await conn.execute(
            update(subscription)
            .where(subscription.c.subscription_id == subscription_id)
            .values(entitled_from_on=from_on, entitled_until_on=until_on)
        )
    await settle(conn, [service_id], zone=zone, now=now)


async def read_timelines(conn: AsyncConnection, service_ids: Sequence[str], zone: ZoneInfo) -> Timelines:
    """The timelines of these services, held against a bill run until the transaction ends."""
    query = (
        select(subscription.c.subscription_id, subscription.c.service_id)
        .where(one_of(conn, subscription.c.service_id, service_ids))
        .order_by(subscription.c.subscription_id)
        .with_for_update(read=True)
    )
    of = {row.subscription_id: row.service_id for row in await conn.execute(query)}
    zones = await zones_of(conn, service_ids, zone)
    changes: dict[str, list[Change]] = {subscription_id: [] for subscription_id in of}
    entries = select(entitlement).where(one_of(conn, entitlement.c.subscription_id, list(of)))
    for row in await conn.execute(entries.order_by(entitlement.c.at, entitlement.c.sequence)):
        day = local_date(row.at, zones.of(of[row.subscription_id]))
        changes[row.subscription_id].append(Change(day, row.version_id, row.quantity))
    by_service: dict[str, list[Sequence[Change]]] = defaultdict(list)
    for subscription_id, service_id in of.items():
        by_service[service_id].append(changes[subscription_id])
    return Timelines(
        {service_id: held(timelines) for service_id, timelines in by_service.items()},
        {subscription_id: last_days(found) for subscription_id, found in changes.items()},
        zones,
    )


async def rate_again(conn: AsyncConnection, days: Mapping[str, date]) -> None:
    """Let the next bill run rate these services again from these days on. Their subscriptions are held."""
    for service_id, day in sorted(days.items()):
        await conn.execute(
            update(subscription)
            .where(subscription.c.service_id == service_id, subscription.c.rate_from_on > day)
            .values(rate_from_on=day)
        )


async def _used(
    conn: AsyncConnection, service_ids: Sequence[str], since: date | None
) -> dict[DayKey, tuple[int, int, int]]:
    """Octets up and down, and the last interval of them."""
    d = usage_day.c
    query = select(d.service_id, d.day, d.upstream_octets, d.downstream_octets, d.last_interval_id).where(
        one_of(conn, d.service_id, service_ids)
    )
    if since is not None:
        query = query.where(d.day >= since)
    return {(service_id, day): (up, down, last) for service_id, day, up, down, last in await conn.execute(query)}


async def _put(conn: AsyncConnection, items: Sequence[tuple[DayKey, DayItem]], zones: Zones, now: datetime) -> None:
    """Write items that are new, and what has changed of the others."""
    new = [_row(key, item, zones, now) for key, item in items if item.suspense_id is None]
    changed = [(item.suspense_id, *_row(key, item, zones, now)) for key, item in items if item.suspense_id is not None]
    await insert_rows(conn, suspense, _COLUMNS, new)
    await insert_rows(conn, suspense, ("suspense_id", *_COLUMNS), changed, _CHANGE)


def _row(key: DayKey, item: DayItem, zones: Zones, now: datetime) -> tuple[object, ...]:
    service_id, day = key
    zone = zones.of(service_id)
    return (
        item.state,
        item.upstream_octets,
        item.downstream_octets,
        item.detail,
        item.version_id,
        item.counted_on,
        item.last_interval_id,
        NOT_ENTITLED,
        service_id,
        day,
        start_of_day(day, zone),
        start_of_day(day + timedelta(days=1), zone),
        now,
    )

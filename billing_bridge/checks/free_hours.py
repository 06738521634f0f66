"""Octets in hours that a plan gives away: they are billed usage, and no charge is for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby, islice
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.tariff_rows import tariffs
from billing_bridge.rating.book import OctetBook, micros
from billing_bridge.rating.line import Octets, Usage
from billing_bridge.rating.metered import counted
from billing_bridge.tables import entitlement, subscription, tariff, usage_interval
from billing_bridge.zones import Zones, zones_of
from controller.domain.clock import local_date
from controller.domain.identity import OfferingVersionId, ServiceId
from controller.domain.price import Free
from controller.domain.price_hours import hours_of
from controller.domain.tariff import TariffVersion
from controller.store.many import one_of

_AT_ONCE = 500
"""Services whose quarters of an hour are held in memory together."""
_DAY = timedelta(days=1)

Plans = dict[date, TariffVersion]
"""By day, the plan with free hours that held."""


async def octets(conn: AsyncConnection, since: date, until: date, zone: ZoneInfo) -> dict[tuple[ServiceId, date], int]:
    """By service and day of [since, until), where the plan of that day has free hours and something fell into them."""
    generous = await _generous(conn)
    found: dict[tuple[ServiceId, date], int] = {}
    if not generous:
        return found
    plans, zones = await _plans(conn, generous, since, until, zone)
    by_zone = sorted(plans, key=lambda service_id: (zones.of(service_id).key, service_id))
    for clock, of_zone in groupby(by_zone, zones.of):
        while services := list(islice(of_zone, _AT_ONCE)):
            book = await _quarters(conn, services, since, until, clock)
            for service_id in services:
                usage = book.usage(service_id)
                for day, version in plans[service_id].items():
                    if free := _free(version, day, usage):
                        found[service_id, day] = free
    return found


async def _generous(conn: AsyncConnection) -> dict[OfferingVersionId, TariffVersion]:
    """Versions with free hours. There are far fewer versions than services."""
    known = await tariffs(conn, await conn.scalars(select(tariff.c.version_id)))
    return {v: t for v, t in known.items() if any(isinstance(p, Free) for p in t.plan.metered)}


async def _plans(
    conn: AsyncConnection,
    generous: dict[OfferingVersionId, TariffVersion],
    since: date,
    until: date,
    zone: ZoneInfo,
) -> tuple[dict[ServiceId, Plans], Zones]:
    """By service, of those that ever had such a plan. Of several changes on a day the last one holds for all of it."""
    e = entitlement.c
    ever = select(e.subscription_id).where(e.version_id.in_(sorted(generous)))
    query = (
        select(subscription.c.service_id, e.at, e.version_id)
        .join(subscription, subscription.c.subscription_id == e.subscription_id)
        .where(e.subscription_id.in_(ever))
        .order_by(subscription.c.service_id, e.at, e.sequence)
    )
    found: dict[ServiceId, Plans] = {}
    rows = (await conn.execute(query)).all()
    zones = await zones_of(conn, (row.service_id for row in rows), zone)
    for service_id, entries in groupby(rows, lambda row: row.service_id):
        timeline = [(local_date(row.at, zones.of(service_id)), row.version_id) for row in entries]
        plans: Plans = {}
        for day in _days(since, until):
            held = next((version_id for on, version_id in reversed(timeline) if on <= day), None)
            if held in generous:
                plans[day] = generous[held]
        if plans:
            found[service_id] = plans
    return found, zones


async def _quarters(
    conn: AsyncConnection, services: Sequence[str], since: date, until: date, zone: ZoneInfo
) -> OctetBook:
    i = usage_interval.c
    query = select(i.service_id, i.since, i.until, i.upstream_octets, i.downstream_octets).where(
        one_of(conn, i.service_id, services), i.day >= since, i.day < until
    )
    book = OctetBook(zone, quarters=True)
    book.add(
        (service_id, micros(first), micros(last), up, down)
        for service_id, first, last, up, down in await conn.execute(query)
    )
    return book


def _free(version: TariffVersion, day: date, usage: Usage) -> int:
    found = 0
    for price in version.plan.metered:
        hours = hours_of(price, version.plan.metered, version.plan.holidays)
        if isinstance(price, Free) and hours is not None:
            quarters = usage.by_quarter.get(day, {})
            own = [quarters.get(quarter, Octets(0, 0)) for quarter in hours.quarters(day)]
            found += counted(price, sum(o.upstream for o in own), sum(o.downstream for o in own))
    return found


def _days(since: date, until: date) -> Iterator[date]:
    return (since + _DAY * n for n in range((until - since).days))

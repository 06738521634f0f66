"""What stands behind a charge: its arithmetic, the timeline it came from, and the usage intervals it names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import pauses, usage_rows
from billing_bridge.billing.charge_rows import to_charge
from billing_bridge.billing.model import BookedInterval, DayUsage, Entitlement, PauseEntry, RatedCharge
from billing_bridge.billing.repository import to_interval
from billing_bridge.rating.proration import DaySpan, Rest
from billing_bridge.sources import booked
from billing_bridge.tables import charge, entitlement, usage_interval
from controller.domain.identity import ChargeId, OfferingVersionId, OrderId, SubscriptionId


async def rated_charge(conn: AsyncConnection, charge_id: ChargeId) -> RatedCharge | None:
    row = (await conn.execute(select(charge).where(charge.c.charge_id == charge_id))).one_or_none()
    if row is None:
        return None
    arithmetic = json.loads(row.arithmetic)
    period = DaySpan(row.period_first_on, row.period_until_on)
    if arithmetic["period_days"] != period.days:
        period = Rest(period.first_on, period.until_on, arithmetic["period_days"])
    return RatedCharge(
        to_charge(row),
        row.code,
        period,
        row.attempt,
        row.octets,
        row.days,
        arithmetic,
        await usage_rows.evidence_of(conn, charge_id),
        await booked.evidence_of(conn, charge_id),
    )


async def earlier(conn: AsyncConnection, rated: RatedCharge) -> list[int]:
    """Amounts of the charges for the same key that came before `rated` and still stand, in minor units."""
    query = select(charge.c.net_minor).where(
        charge.c.subscription_id == rated.charge.subscription_id,
        charge.c.period_first_on == rated.period.first_on,
        charge.c.version_id == rated.charge.version_id,
        charge.c.kind == rated.charge.kind.value,
        charge.c.code == rated.code,
        charge.c.attempt < rated.attempt,
    )
    return list(await conn.scalars(query))


async def timeline(conn: AsyncConnection, subscription_id: SubscriptionId) -> list[Entitlement]:
    query = select(entitlement).where(entitlement.c.subscription_id == subscription_id)
    rows = await conn.execute(query.order_by(entitlement.c.at, entitlement.c.sequence))
    return [
        Entitlement(
            row.sequence,
            row.at,
            None if row.version_id is None else OfferingVersionId(row.version_id),
            row.event_id,
            row.event_name,
            OrderId(row.order_id),
            row.quantity,
        )
        for row in rows
    ]


async def paused(conn: AsyncConnection, subscription_id: SubscriptionId) -> list[PauseEntry]:
    """All that was ever said of pauses of the subscription, in the order in which it came."""
    return (await pauses.entries(conn, [subscription_id])).get(subscription_id, [])


async def intervals(conn: AsyncConnection, evidence: DayUsage) -> list[BookedInterval]:
    """The intervals that a row of evidence names; what was given to another service later on is not among them."""
    query = (
        select(usage_interval)
        .where(usage_interval.c.service_id == evidence.service_id, usage_interval.c.day == evidence.day)
        .where(usage_interval.c.interval_id <= evidence.last_interval_id)
        .order_by(usage_interval.c.interval_id)
    )
    return _standing([to_interval(row) for row in await conn.execute(query)])


def _standing(booked: Sequence[BookedInterval]) -> list[BookedInterval]:
    """Without those that were taken back, and their reversals."""
    taken_back = Counter(content(b, -1) for b in booked if _reverses(b))
    if not taken_back:
        return list(booked)
    found = []
    for one in booked:
        key = content(one, 1)
        if taken_back[key]:
            taken_back[key] -= 1
        elif not _reverses(one):
            found.append(one)
    return found


def _reverses(booked: BookedInterval) -> bool:
    return booked.interval.upstream_octets + booked.interval.downstream_octets < 0


def content(booked: BookedInterval, sign: int) -> tuple[object, ...]:
    """What an interval and its reversal have in common, with the octets times `sign`."""
    i = booked.interval
    return (
        booked.source, i.session_key, i.record_ids, i.since, i.until, sign * i.upstream_octets,
        sign * i.downstream_octets,
    )  # fmt: skip

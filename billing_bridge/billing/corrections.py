"""Prices that were wrong: from one day until another, periods of a version are priced as another version of it.

A version is never changed, and what was issued by it stays. A correction is a fact beside it, so that whatever is
learnt later of those periods is priced right too; the next run finds the difference, up or down, and issues it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import tariff_rows
from billing_bridge.errors import NotTheSamePlan
from billing_bridge.rating.due import Corrected
from billing_bridge.rating.proration import DaySpan
from billing_bridge.tables import entitlement, price_correction, subscription, tariff
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.tariff import TariffVersion

Corrections = Mapping[OfferingVersionId, list[Corrected]]


@dataclass(frozen=True, slots=True)
class Correction:
    """Periods of `version_id` that begin on a day of `days` cost what `priced_as` says."""

    version_id: OfferingVersionId
    priced_as: OfferingVersionId
    days: DaySpan
    reason: str


async def of_versions(conn: AsyncConnection, version_ids: Iterable[str]) -> Corrections:
    """In the order in which they came: of two of one day the later one holds."""
    query = select(price_correction).where(price_correction.c.version_id.in_(sorted(set(version_ids))))
    rows = (await conn.execute(query.order_by(price_correction.c.sequence))).all()
    if not rows:
        return {}
    prices = await tariff_rows.tariffs(conn, [row.priced_as for row in rows])
    found: dict[OfferingVersionId, list[Corrected]] = {}
    for row in rows:
        days = DaySpan(row.first_on, row.until_on)
        found.setdefault(OfferingVersionId(row.version_id), []).append(Corrected(days, prices[row.priced_as]))
    return found


async def add(conn: AsyncConnection, made: Correction, *, actor: str, now: datetime) -> None:
    await conn.execute(
        insert(price_correction).values(
            version_id=made.version_id,
            priced_as=made.priced_as,
            first_on=made.days.first_on,
            until_on=made.days.until_on,
            reason=made.reason,
            actor=actor,
            at=now,
        )
    )


async def rate_again(conn: AsyncConnection, offering_id: OfferingId, on: date) -> int:
    """Let the next run rate every subscription that ever had the offering again from `on`; returns how many."""
    had = (
        select(entitlement.c.subscription_id)
        .join(tariff, tariff.c.version_id == entitlement.c.version_id)
        .where(tariff.c.offering_id == offering_id)
    )
    changed = await conn.execute(
        update(subscription)
        .where(subscription.c.subscription_id.in_(had), subscription.c.rate_from_on > on)
        .values(rate_from_on=on)
    )
    return int(changed.rowcount)


def require_same_plan(wrong: TariffVersion, right: TariffVersion) -> None:
    """Raises NotTheSamePlan: only amounts and volumes may differ, or lines already charged would lose their price."""
    kept = ("offering_id", "currency", "tax_percent", "tax_category")
    for name in kept:
        if getattr(wrong, name) != getattr(right, name):
            raise NotTheSamePlan(f"the two versions differ in {name.replace('_', ' ')}")
    for plan_part in ("cycle", "tax_included"):
        if getattr(wrong.plan, plan_part) != getattr(right.plan, plan_part):
            raise NotTheSamePlan(f"the two versions differ in {plan_part.replace('_', ' ')}")
    shapes = [{(p.code, p.model) for p in version.plan.prices} for version in (wrong, right)]
    if shapes[0] != shapes[1]:
        raise NotTheSamePlan("both versions must have the same prices by code and model; only their amounts may differ")

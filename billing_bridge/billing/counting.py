"""Rates subscriptions and counts what was rated, from one reading of the facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import assessment, corrections, recurring, tariff_rows, usage_rows
from billing_bridge.billing.day_by_day import Counter
from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.settings import BillingSettings
from controller.domain.charge import Charge
from controller.domain.identity import BillRunId
from controller.store.turns import in_turns


async def counted(
    conn: AsyncConnection,
    subscriptions: Sequence[Subscription],
    bill_run_id: BillRunId,
    today: date,
    settings: BillingSettings,
) -> tuple[list[RatedCharge], Counter]:
    """The charges due as of the local day `today`, and what they were made of."""
    rated = await assessment.assess(conn, subscriptions, bill_run_id, today, settings)
    by_subscription: dict[str, list[RatedCharge]] = {s.subscription_id: [] for s in subscriptions}
    for charge in rated:
        by_subscription[charge.charge.subscription_id].append(charge)
    opening = await recurring.of_subscriptions(conn, list(by_subscription))
    versions = {c.version_id for s in subscriptions for c in s.changes if c.version_id is not None}
    versions |= {key.version_id for s in subscriptions for key in s.charged}
    versions |= {found.version_id for found in opening.values()}
    tariffs = await tariff_rows.tariffs(conn, versions)
    corrected = await corrections.of_versions(conn, versions)
    counter = Counter(tariffs, opening, today, settings.rounding, settings.zone, corrected)
    async for subscription in in_turns(subscriptions):
        counter.count(subscription, by_subscription[subscription.subscription_id])
    counter.finish()
    counter.tally.read = await usage_rows.octets_of(conn, subscriptions)
    return rated, counter


def in_order(rated: Sequence[RatedCharge]) -> list[Charge]:
    """As the lines of documents stand, and as charge_rows.charges_of reads them."""
    found = sorted(
        rated,
        key=lambda r: (
            r.charge.account_id,
            r.period.first_on,
            r.charge.subscription_id,
            r.charge.net.minor,
            r.charge.charge_id,
        ),
    )
    return [r.charge for r in found]

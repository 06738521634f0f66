"""What a bill run finds due for subscriptions that it holds, and where the next one begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import hours, repository
from billing_bridge.billing.charges import charge_of
from billing_bridge.billing.hours import Quarters, usage_of
from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.rating.due import Due, Facts, due
from billing_bridge.settings import BillingSettings
from controller.domain.identity import BillRunId, OfferingVersionId, SubscriptionId
from controller.domain.tariff import TariffVersion


async def assess(
    conn: AsyncConnection,
    subscriptions: Sequence[Subscription],
    bill_run_id: BillRunId,
    today: date,
    settings: BillingSettings,
) -> list[RatedCharge]:
    """The charges of these subscriptions as of the local day `today`."""
    versions = {c.version_id for s in subscriptions for c in s.changes if c.version_id is not None}
    versions |= {key.version_id for s in subscriptions for key in s.charged}
    tariffs = await repository.tariffs(conn, versions)
    hourly = [s for s in subscriptions if any(c.version_id and tariffs[c.version_id].plan.hourly for c in s.changes)]
    quarters = await hours.quarters_of(conn, [u for s in hourly for u in s.usage], settings.zone)
    return [
        charge_of(found, s, tariffs[found.key.version_id], bill_run_id, settings.rounding)
        for s in subscriptions
        for found in _due(s, tariffs, quarters, today, settings)
    ]


def after(subscription: Subscription, today: date) -> tuple[SubscriptionId, date, date]:
    """Where the next run begins: at the running period, whose fee is charged and whose usage is not.

    (subscription, rate from, usage billed until); of several cycles the longest period must be rated again, and the
    shortest says until when usage was billed.
    """
    begun = [subscription.calendar.period(today, cycle).first_on for cycle in subscription.cycles]
    # A subscription that begins after the instant of this run has not been rated at all.
    rate_from_on = max(min(begun), subscription.rate_from_on) if subscription.rate_from_on > today else min(begun)
    billed_until_on = subscription.usage_billed_until_on or max(begun)
    return subscription.subscription_id, rate_from_on, max(max(begun), billed_until_on)


def _due(
    subscription: Subscription,
    tariffs: Mapping[OfferingVersionId, TariffVersion],
    quarters: Quarters,
    today: date,
    settings: BillingSettings,
) -> list[Due]:
    usage = usage_of(subscription.usage, quarters)
    facts = Facts(subscription.changes, tariffs, usage, subscription.charged, subscription.pauses)
    found: list[Due] = []
    for cycle in sorted(subscription.cycles):
        periods = subscription.calendar.periods(subscription.rate_from_on, today, cycle)
        found += due(facts, periods, today, settings.rounding, settings.zone, cycle)
    return found

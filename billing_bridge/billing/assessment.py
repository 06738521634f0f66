"""What a bill run finds due for subscriptions that it holds, and where the next one begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import hours, payers, repository
from billing_bridge.billing.charges import charge_of
from billing_bridge.billing.hours import Quarters, usage_of
from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.billing.payers import Payer
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
    paying = await payers.of_accounts(conn, sorted({s.account_id for s in subscriptions}))
    return [
        _addressed(charge_of(found, s, tariffs[found.key.version_id], bill_run_id, settings.rounding), s, paying)
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


def _addressed(rated: RatedCharge, subscription: Subscription, paying: Mapping[str, Sequence[Payer]]) -> RatedCharge:
    """The charge, on the account that pays for its period."""
    entries = paying.get(subscription.account_id)
    if not entries:
        return rated
    begun_on = min(change.on for change in subscription.changes)
    found = payers.on(entries, max(rated.period.first_on, begun_on), subscription.account_id)
    return replace(rated, charge=replace(rated.charge, account_id=found.account_id, group=found.heading))


def _due(
    subscription: Subscription,
    tariffs: Mapping[OfferingVersionId, TariffVersion],
    quarters: Quarters,
    today: date,
    settings: BillingSettings,
) -> list[Due]:
    usage = usage_of(subscription.usage, quarters, subscription.calls)
    facts = Facts(subscription.changes, tariffs, usage, subscription.charged, subscription.pauses)
    found: list[Due] = []
    for cycle in sorted(subscription.cycles):
        periods = subscription.calendar.periods(subscription.rate_from_on, today, cycle)
        found += due(facts, periods, today, settings.rounding, settings.zone, cycle)
    return found

"""What a bill run finds due for subscriptions that it holds, and where the next one begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import corrections, hours, payers, tariff_rows
from billing_bridge.billing.charges import charge_of
from billing_bridge.billing.corrections import Corrections
from billing_bridge.billing.hours import usage_of
from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.billing.payers import Payer
from billing_bridge.rating.due import Due, Facts, due
from billing_bridge.rating.proration import DaySpan
from billing_bridge.settings import BillingSettings
from controller.domain.identity import BillRunId, SubscriptionId
from controller.store.turns import in_turns


async def assess(
    conn: AsyncConnection,
    subscriptions: Sequence[Subscription],
    bill_run_id: BillRunId,
    as_of: datetime,
    settings: BillingSettings,
    *,
    within: DaySpan | None = None,
    tried: Corrections | None = None,
) -> list[RatedCharge]:
    """The charges of these subscriptions as of the day that it is at `as_of` for each of them.

    `within` looks at the periods alone that begin on its days, whatever must be rated again; with `tried` by prices
    that were not corrected yet.
    """
    versions = {c.version_id for s in subscriptions for c in s.changes if c.version_id is not None}
    versions |= {key.version_id for s in subscriptions for key in s.charged}
    tariffs = await tariff_rows.tariffs(conn, versions)
    hourly = [s for s in subscriptions if any(c.version_id and tariffs[c.version_id].plan.hourly for c in s.changes)]
    quarters = await hours.quarters_of(conn, hourly)
    corrected = {**await corrections.of_versions(conn, versions), **(tried or {})}
    paying = await payers.of_accounts(conn, sorted({s.account_id for s in subscriptions}))
    rated = []
    async for s in in_turns(subscriptions):
        usage = usage_of(s.usage, quarters, s.calls, s.ports)
        facts = Facts(s.changes, tariffs, usage, s.charged, s.pauses, corrected)
        for found in _due(s, facts, s.day(as_of), settings, within):
            price = facts.price_of(found.key.version_id, found.period)
            rated.append(_addressed(charge_of(found, s, price, bill_run_id, settings.rounding), s, paying))
    return rated


def after(subscription: Subscription, as_of: datetime) -> tuple[SubscriptionId, date, date]:
    """Where the next run begins: at the running period, whose fee is charged and whose usage is not.

    (subscription, rate from, usage billed until); of several cycles the longest period must be rated again, and the
    shortest says until when usage was billed.
    """
    today = subscription.day(as_of)
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
    subscription: Subscription, facts: Facts, today: date, settings: BillingSettings, within: DaySpan | None
) -> list[Due]:
    found: list[Due] = []
    for cycle in sorted(subscription.cycles):
        if within is None:
            periods = subscription.calendar.periods(subscription.rate_from_on, today, cycle)
        else:
            last = min(today, within.until_on - timedelta(days=1))
            all_of_it = subscription.calendar.periods(within.first_on, last, cycle)
            periods = [period for period in all_of_it if period.first_on in within]
        found += due(facts, periods, today, settings.rounding, subscription.zone, cycle)
    return found

"""Rates subscriptions and counts what was rated, from one reading of the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import assessment, corrections, payers, recurring, tariff_rows
from billing_bridge.billing.day_by_day import Counter
from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.billing.parts import Before, Part, sum_of, together
from billing_bridge.billing.tally import Recurring, Tally
from billing_bridge.settings import BillingSettings
from controller.domain.charge import Charge
from controller.domain.identity import BillRunId, SubscriptionId
from controller.store.turns import in_turns


@dataclass(frozen=True, slots=True)
class Counted:
    """Charges, what was counted of them part by part, and what the fees come to now."""

    rated: list[RatedCharge]
    parts: list[Part]
    closing: list[Recurring]

    @property
    def tally(self) -> Tally:
        return sum_of(self.parts)


async def counted(
    conn: AsyncConnection,
    subscriptions: Sequence[Subscription],
    bill_run_id: BillRunId,
    as_of: datetime,
    settings: BillingSettings,
) -> Counted:
    """The charges due as of the day that it is at `as_of` for each, and what they were made of."""
    rated = await assessment.assess(conn, subscriptions, bill_run_id, as_of, settings)
    opening = await recurring.of_subscriptions(conn, [s.subscription_id for s in subscriptions])
    return await count(conn, subscriptions, rated, opening, as_of, settings)


async def count(
    conn: AsyncConnection,
    subscriptions: Sequence[Subscription],
    rated: Sequence[RatedCharge],
    opening: Mapping[SubscriptionId, Recurring],
    as_of: datetime,
    settings: BillingSettings,
) -> Counted:
    """What `rated` charges were made of; `opening` are the fees of when each subscription was last billed."""
    by_subscription: dict[str, list[RatedCharge]] = {s.subscription_id: [] for s in subscriptions}
    for charge in rated:
        by_subscription[charge.charge.subscription_id].append(charge)
    versions = {c.version_id for s in subscriptions for c in s.changes if c.version_id is not None}
    versions |= {key.version_id for s in subscriptions for key in s.charged}
    versions |= {found.version_id for found in opening.values()}
    tariffs = await tariff_rows.tariffs(conn, versions)
    corrected = await corrections.of_versions(conn, versions)
    read = {s.service_id: s.usage_octets for s in subscriptions}
    counter = Counter(tariffs, opening, as_of, settings.rounding, corrected)
    paying = await payers.of_accounts(conn, sorted({s.account_id for s in subscriptions}))
    found = []
    async for accounts, own in in_turns(together(subscriptions, paying)):
        async for s in in_turns(own):
            counter.count(s, by_subscription[s.subscription_id])
        before = {
            s.subscription_id: Before(s.rate_from_on, s.usage_billed_until_on, opening.get(s.subscription_id))
            for s in own
        }
        found.append(Part(accounts, before, counter.take(read)))
    return Counted(list(rated), found, counter.closing)


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

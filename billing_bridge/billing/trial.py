"""A price trial: last month's usage by today's prices and by prices that nobody has yet, line by line. Writes nothing.

Every subscription of the offering is rated twice by the very function that bills, on the days it really had and with
what it really used; only the prices of the offering's versions are exchanged. One-off charges are those of the month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from heapq import nlargest
from zoneinfo import ZoneInfo

from billing_bridge.billing import hours, repository, tariff_rows
from billing_bridge.billing.hours import Quarters, usage_of
from billing_bridge.billing.model import Subscription
from billing_bridge.rating.codes import price_code
from billing_bridge.rating.line import Usage
from billing_bridge.rating.proration import Held, holdings
from billing_bridge.rating.rate import rate
from billing_bridge.settings import BillingSettings
from controller.domain.clock import Clock
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from controller.store.many import by_keys

_DEAREST = 10
_NONE: Quarters = {}


@dataclass(frozen=True, slots=True)
class Effect:
    """One subscription in its last closed period, in minor units."""

    subscription_id: str
    account_id: str
    first_on: date
    until_on: date
    before_minor: int
    after_minor: int

    @property
    def difference_minor(self) -> int:
        return self.after_minor - self.before_minor


@dataclass(slots=True)
class Trial:
    """Sums over all subscriptions, by price code too, and those for whom it changes most in either direction."""

    currency: str
    subscriptions: int = 0
    dearer: int = 0
    cheaper: int = 0
    before_minor: int = 0
    after_minor: int = 0
    before_by_code: dict[str, int] = field(default_factory=dict)
    after_by_code: dict[str, int] = field(default_factory=dict)
    most: list[Effect] = field(default_factory=list)

    @property
    def same(self) -> int:
        return self.subscriptions - self.dearer - self.cheaper

    def add(self, effects: Sequence[Effect]) -> None:
        self.subscriptions += len(effects)
        self.dearer += sum(e.difference_minor > 0 for e in effects)
        self.cheaper += sum(e.difference_minor < 0 for e in effects)
        self.before_minor += sum(e.before_minor for e in effects)
        self.after_minor += sum(e.after_minor for e in effects)
        changed = [e for e in [*self.most, *effects] if e.difference_minor]
        self.most = nlargest(_DEAREST, changed, key=lambda e: (abs(e.difference_minor), e.subscription_id))


class PriceTrials:
    """Reads what billing knows, batch by batch, so that any number of subscriptions fits."""

    def __init__(self, database: Database, clock: Clock, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def run(self, draft: TariffVersion) -> Trial:
        """Try `draft` instead of every version of its offering, in each subscription's last closed period."""
        found = Trial(draft.currency)
        now = self._clock.now()
        async with self._database.read() as conn:
            accounts = await repository.accounts_with(conn, draft.offering_id)
        size = self._settings.batch_on(sqlite=self._database.is_sqlite)
        for n in range(0, len(accounts), size):
            async with self._database.read() as conn:
                await by_keys(conn)
                since = now.date() - timedelta(days=94)  # of any zone
                subscriptions = await repository.read_subscriptions(
                    conn, accounts[n : n + size], self._settings.zone, since
                )
                ids = {c.version_id for s in subscriptions for c in s.changes if c.version_id is not None}
                tariffs = await tariff_rows.tariffs(conn, ids)
                hourly = draft.plan.hourly or any(t.plan.hourly for t in tariffs.values())
                quarters = await hours.quarters_of(conn, subscriptions) if hourly else _NONE
            found.add([e for s in subscriptions if (e := self._effect(s, tariffs, draft, quarters, s.day(now), found))])
        return found

    def _effect(
        self,
        subscription: Subscription,
        tariffs: Mapping[OfferingVersionId, TariffVersion],
        draft: TariffVersion,
        quarters: Quarters,
        today: date,
        sums: Trial,
    ) -> Effect | None:
        """None for a subscription that had no day of the offering in that period, or pays in another currency."""
        running = subscription.calendar.period(today, draft.plan.cycle)
        period = subscription.calendar.period(running.first_on - timedelta(days=1), draft.plan.cycle)
        offerings = {v: t.offering_id for v, t in tariffs.items()}
        held = holdings(subscription.changes, period, offerings, subscription.pauses)
        usage = usage_of(subscription.usage, quarters, subscription.calls, subscription.ports)
        before = after = 0
        tried = False
        for version_id, days in held.items():
            now = tariffs[version_id]
            if now.offering_id != draft.offering_id or now.currency != draft.currency:
                continue
            tried = True
            before += self._cost(now, days, usage, subscription.zone, sums.before_by_code)
            after += self._cost(draft, days, usage, subscription.zone, sums.after_by_code)
        if not tried:
            return None
        return Effect(
            subscription.subscription_id, subscription.account_id, period.first_on, period.until_on, before, after
        )

    def _cost(self, tariff: TariffVersion, held: Held, usage: Usage, zone: ZoneInfo, by_code: dict[str, int]) -> int:
        whole = 0
        for line in rate(tariff, held, zone, usage):
            minor = Money.rounded(line.exact, tariff.currency, self._settings.rounding).minor
            code = price_code(line.code)
            by_code[code] = by_code.get(code, 0) + minor
            whole += minor
        return whole

"""Counts a batch for its tally: every day of a period is priced for itself, and every octet gets a place. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

from billing_bridge.billing.model import RatedCharge, Subscription
from billing_bridge.billing.tally import Recurring, Tally
from billing_bridge.rating.codes import price_code
from billing_bridge.rating.due import Corrected
from billing_bridge.rating.line import Line
from billing_bridge.rating.proration import DaySpan, Held, Stretch, holdings, stretches
from billing_bridge.rating.rate import in_advance, rate
from controller.domain.charge import ChargeKind
from controller.domain.identity import OfferingId, OfferingVersionId, ServiceId, SubscriptionId
from controller.domain.money import Money, exponent
from controller.domain.price import Calls, Cycle, Discount, Flat, Meter, Percentile, PricePlan, Window
from controller.domain.tariff import TariffVersion

_DAY = timedelta(days=1)
_PLACES = Decimal("0.000001")
_HALF = Decimal("0.5")


class Counter:
    """Counts one batch, part by part. `opening` are the fees of each subscription when it was last billed."""

    def __init__(
        self,
        tariffs: Mapping[OfferingVersionId, TariffVersion],
        opening: Mapping[SubscriptionId, Recurring],
        as_of: datetime,
        rounding: str,
        corrections: Mapping[OfferingVersionId, Sequence[Corrected]] | None = None,
    ) -> None:
        self._tariffs = tariffs
        self._corrections = corrections or {}
        self._offerings: dict[OfferingVersionId, OfferingId] = {v: t.offering_id for v, t in tariffs.items()}
        self._opening = opening
        self._as_of = as_of
        self._rounding = rounding
        self._zone, self._today = ZoneInfo("UTC"), as_of.date()  # of the subscription that is being counted
        self._fees: dict[tuple[OfferingVersionId, int, int], tuple[Decimal, int]] = {}
        self._advances: dict[OfferingVersionId, frozenset[str]] = {}
        self._days: dict[ServiceId, dict[date, tuple[str, int]]] = {}
        self.tally = Tally()
        self.closing: list[Recurring] = []

    def count(self, subscription: Subscription, charges: Sequence[RatedCharge]) -> None:
        """Add a subscription with what this run charges it."""
        self._zone, self._today = subscription.zone, subscription.day(self._as_of)
        with localcontext() as context:
            context.prec = 60
            self._lines(charges)
            closing = self._move(subscription)
            for cycle in sorted(subscription.cycles):
                self._periods(subscription, cycle, charges, closing)
            self._octets(subscription, charges)

    def take(self, read: Mapping[ServiceId, int]) -> Tally:
        """What was counted since the last time; `read` are the octets of services. One that two name was used once."""
        found, self.tally = self.tally, Tally()
        for service_id, days in self._days.items():
            found.read += read.get(service_id, 0)
            for fate, octets in days.values():
                found.octets[fate] += octets
        self._days = {}
        return found

    def _lines(self, charges: Sequence[RatedCharge]) -> None:
        self.tally.charges += len(charges)
        for rated in charges:
            charge, sums = rated.charge, self.tally.of(rated.charge.net.currency)
            if charge.adjustment:
                sums.adjustments += charge.net.minor
                sums.adjustment_lines += 1
            if charge.kind is ChargeKind.USAGE:
                sums.usage += charge.net.minor
            elif charge.kind is ChargeKind.ONE_OFF:
                sums.one_off += charge.net.minor
            elif self._advance(charge.version_id, rated.code):
                sums.recurring += charge.net.minor
                sums.recurring_lines += 1
            else:
                sums.arrears += charge.net.minor

    def _advance(self, version_id: OfferingVersionId, code: str) -> bool:
        known = self._advances.get(version_id)
        if known is None:
            known = self._advances[version_id] = in_advance(self._tariffs[version_id].plan)
        return price_code(code) in known

    def _move(self, subscription: Subscription) -> Recurring | None:
        """From what it was to what it is."""
        before, now = self._opening.get(subscription.subscription_id), self._fees_today(subscription)
        if now is not None:
            self.closing.append(now)
            sums = self.tally.of(now.currency)
            sums.subscriptions += bool(now.minor)
            sums.closing += now.minor
        if before is not None:
            self.tally.of(before.currency).opening += before.minor
        if before is not None and (now is None or now.currency != before.currency):
            self.tally.of(before.currency).churn -= before.minor
            before = None
        if now is not None:
            sums, by = self.tally.of(now.currency), now.minor - (before.minor if before else 0)
            name = self._movement(before, now)
            setattr(sums, name, getattr(sums, name) + by)
        return now

    def _movement(self, before: Recurring | None, now: Recurring) -> str:
        if before is None or not before.minor:
            return "new"
        if not now.minor:
            return "churn"
        same = self._offering(before.version_id) == self._offering(now.version_id)
        if same and before.quantity == now.quantity:
            return "price"
        return "up" if now.minor > before.minor else "down"

    def _offering(self, version_id: OfferingVersionId) -> str:
        return self._offerings.get(version_id, version_id)

    def _fees_today(self, subscription: Subscription) -> Recurring | None:
        """None for one that has no plan and was never billed for one."""
        held = self._held(subscription, self._today)
        if held is None:
            before = self._opening.get(subscription.subscription_id)
            if before is None:
                return None
            return Recurring(before.subscription_id, before.currency, before.version_id, before.quantity, 0)
        stretch, tariff = held.stretches[0], self._tariffs[held.version_id]
        price = self._price(held.version_id, subscription.calendar.period(self._today, tariff.plan.cycle))
        return Recurring(
            subscription.subscription_id, tariff.currency, held.version_id, stretch.quantity, self._fee(held, price)[1]
        )

    def _price(self, version_id: OfferingVersionId, period: DaySpan) -> TariffVersion:
        """What a version costs in a period: what it says, or what it was corrected to."""
        said = [c.tariff for c in self._corrections.get(version_id, ()) if period.first_on in c.days]
        return said[-1] if said else self._tariffs[version_id]

    def _held(self, subscription: Subscription, day: date) -> Held | None:
        found = holdings(subscription.changes, DaySpan(day, day + _DAY), self._offerings, subscription.pauses)
        return next(iter(found.values()), None)

    def _fee(self, held: Held, tariff: TariffVersion) -> tuple[Decimal, int]:
        """Of a whole period by a price, in minor units: exact, and rounded line by line. `held` is of one day."""
        stretch = held.stretches[0]
        key = (tariff.version_id, stretch.quantity, stretch.percent)
        known = self._fees.get(key)
        if known is None:
            lines = [line for line in rate(tariff, held, self._zone, None) if line.kind is ChargeKind.RECURRING]
            known = _minor(lines, tariff.currency), _rounded(lines, tariff.currency, self._rounding)
            if _timeless(tariff.plan):
                self._fees[key] = known
        return known

    def _periods(
        self, subscription: Subscription, cycle: Cycle, charges: Sequence[RatedCharge], closing: Recurring | None
    ) -> None:
        """Compare what all lines of a period come to with the sum of its days."""
        for period in subscription.calendar.periods(subscription.rate_from_on, self._today, cycle):
            if period.first_on > self._today:
                continue
            before, now, currency = self._charged(subscription, cycle, period, charges)
            exact, rounded_lines, paid_in = self._by_day(subscription, cycle, period)
            currency = currency or paid_in
            if currency is None:
                continue
            sums = self.tally.of(currency)
            found = sum(before.values()) + sum(now.values())
            may_round = max(rounded_lines, len({*before, *now}))
            sums.rounded += may_round
            if abs(found - exact) > _HALF * may_round:
                self.tally.fault(
                    f"subscription {subscription.subscription_id}: fees of {period.first_on} until {period.until_on}"
                    f" come to {exact.quantize(_PLACES).normalize():f} minor units day by day, but to {found} in lines"
                )
            due = exact - sum(before.values())
            if self._today not in period:
                sums.earlier += due
            elif closing is not None and self._tariffs[closing.version_id].plan.cycle == cycle:
                if before:
                    sums.billed_before += closing.minor
                sums.proration += due - (0 if before else closing.minor)
            else:
                sums.proration += due

    def _charged(
        self, subscription: Subscription, cycle: Cycle, period: DaySpan, charges: Sequence[RatedCharge]
    ) -> tuple[dict[object, int], dict[object, int], str | None]:
        """What earlier runs and what this one charged for it in advance, by key; and the currency."""
        before: dict[object, int] = {}
        now: dict[object, int] = {}
        currency = None
        for key, sums in subscription.charged.items():
            tariff = self._tariffs[key.version_id]
            if (
                key.kind is ChargeKind.RECURRING
                and key.period_first_on == period.first_on
                and tariff.plan.cycle == cycle
                and self._advance(key.version_id, key.code)
            ):
                before[key.version_id, key.code] = sums.net_minor
                currency = tariff.currency
        for rated in charges:
            charge = rated.charge
            if (
                charge.kind is ChargeKind.RECURRING
                and rated.period == period
                and self._tariffs[charge.version_id].plan.cycle == cycle
                and self._advance(charge.version_id, rated.code)
            ):
                now[charge.version_id, rated.code] = now.get((charge.version_id, rated.code), 0) + charge.net.minor
                currency = charge.net.currency
        return before, now, currency

    def _by_day(self, subscription: Subscription, cycle: Cycle, period: DaySpan) -> tuple[Decimal, int, str | None]:
        """The exact fees of a period, its days one by one; how many lines that may be rounded into; the currency."""
        total, lines, currency = Decimal(0), 0, None
        offered = holdings(subscription.changes, period, self._offerings, subscription.pauses)
        for version_id, held in offered.items():
            tariff = self._price(version_id, period)
            if tariff.plan.cycle != cycle:
                continue
            currency = tariff.currency
            lines += len(tariff.plan.prices) * len(held.stretches) + bool(tariff.plan.escalator)
            for stretch in held.stretches:
                for span in [stretch.span] if _timeless(tariff.plan) else _days(stretch.span):
                    day = DaySpan(span.first_on, span.first_on + _DAY)
                    one = Stretch(version_id, day, stretch.quantity, stretch.percent)
                    fee, _ = self._fee(Held(version_id, day, (one,), held.since_on), tariff)
                    total += fee * span.days
        return total / period.priced_days, lines, currency

    def _octets(self, subscription: Subscription, charges: Sequence[RatedCharge]) -> None:
        """Where each octet that was read went."""
        if not subscription.usage:
            return
        plans = stretches(subscription.changes, DaySpan(date.min, date.max), subscription.pauses)
        used: dict[tuple[OfferingVersionId, date], int] = {}
        days = self._days.setdefault(subscription.service_id, {})
        fate, key, first_on, until_on = "", None, date.min, date.min
        for usage in subscription.usage:
            day, octets = usage.counted_on, usage.octets
            # Days come in order: most of them lie in the period and the plan of the one before.
            if not first_on <= day < until_on:
                stretch = next((s for s in plans if day in s.span), None)
                if stretch is None:
                    days.setdefault(usage.day, ("unplanned", octets))
                    continue
                period = subscription.calendar.period(day, self._tariffs[stretch.version_id].plan.cycle)
                here = stretch.span.common(period) or DaySpan(day, day + _DAY)
                first_on, until_on = here.first_on, here.until_on
                key = (stretch.version_id, period.first_on)
                fate = self._fate(subscription, stretch.version_id, period, charges)
            assert key is not None
            days[usage.day] = (fate, octets)
            used[key] = used.get(key, 0) + octets
        for rated in charges:
            self._rated_all(rated, used)

    def _fate(
        self, subscription: Subscription, version_id: OfferingVersionId, period: DaySpan, charges: Sequence[RatedCharge]
    ) -> str:
        plan = self._tariffs[version_id].plan
        if period.until_on > self._today:
            return "pending"
        if period.until_on <= subscription.calendar.period(subscription.rate_from_on, plan.cycle).first_on:
            return "earlier"
        if not plan.metered and not any(isinstance(p, Percentile | Calls) for p in plan.prices):
            return "flat"
        here = any(
            r.charge.kind is ChargeKind.USAGE and r.charge.version_id == version_id and r.period == period
            for r in charges
        )
        before = any(
            key.kind is ChargeKind.USAGE and key.version_id == version_id and key.period_first_on == period.first_on
            for key in subscription.charged
        )
        return "charged" if here or before else "included"

    def _rated_all(self, rated: RatedCharge, used: Mapping[tuple[OfferingVersionId, date], int]) -> None:
        """Whether a line was made of all that was used on its days, where one price alone counts both directions."""
        plan = self._tariffs[rated.charge.version_id].plan
        told = rated.arithmetic.get("used_octets")
        if told is None or len(plan.metered) != 1 or plan.hourly or plan.metered[0].meter is not Meter.OCTETS:
            return
        found = used.get((rated.charge.version_id, rated.period.first_on), 0)
        if told != found:
            self.tally.fault(f"charge {rated.charge.charge_id} is for {told} octets, but {found} were used on its days")


def _minor(lines: Sequence[Line], currency: str) -> Decimal:
    return sum((line.exact for line in lines), Decimal(0)).scaleb(exponent(currency))


def _rounded(lines: Sequence[Line], currency: str, rounding: str) -> int:
    return sum(Money.rounded(line.exact, currency, rounding).minor for line in lines)


def _timeless(plan: PricePlan) -> bool:
    """Whether its fees are the same on every day."""
    windows = [p.window for p in plan.prices if isinstance(p, Flat | Discount)]
    return plan.escalator is None and all(window == Window() for window in windows)


def _days(span: DaySpan) -> list[DaySpan]:
    return [DaySpan(day, day + _DAY) for day in span.each_day()]

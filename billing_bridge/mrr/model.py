"""Monthly recurring revenue: what is held on each day is worth in a month, and what moved it. Pure.

    opening + new + expansion + contraction + churn + reactivation = closing       for every day and currency

    day         1          11         21         31
    line        |-- 30.00 ------------|          |-- 30.00 ---
    TV                     |-- 10.00 -|
                +30 new    +10 exp.   −40 churn  +30 reactivation

Everything follows from the timelines as they are known now, never from what was invoiced: a fact that is told late
changes past days.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Literal
from zoneinfo import ZoneInfo

from billing_bridge.rating.proration import ALWAYS, Change, DaySpan, Held, Pause, Stretch, stretches
from billing_bridge.rating.rate import rate
from billing_bridge.rating.recurring import window_days
from controller.domain.clock import add_months
from controller.domain.identity import AccountId, OfferingId, OfferingVersionId, SubscriptionId
from controller.domain.money import Money
from controller.domain.price import Discount, Flat, PricePlan, Window
from controller.domain.tariff import TariffVersion

Kind = Literal["new", "expansion", "contraction", "churn", "reactivation"]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
DEFINITION = (
    "Monthly recurring revenue of a day is the sum over all lines and items held on that day, each rounded "
    "once, of their fees for a month without tax: fee × quantity, with promotions, escalators and discounts as "
    "they hold on that day; fees of other periods ÷ their months, of weeks × 4.348125; on days of a pause the "
    "share that goes on. Usage and one-off charges are not in it. New: an account that never held anything with "
    "a fee begins to; reactivation: one that held nothing any more begins again; churn: the last is given up. "
    "Expansion and contraction: all that moves while an account holds something, line by line. A day counts "
    "with what holds at its end; facts that were told late count on their own day."
)
_DAY = timedelta(days=1)
_DIGITS = 60


@dataclass(frozen=True, slots=True)
class Timeline:
    """A line or an item: what it was entitled to, in the order in which that happened."""

    subscription_id: SubscriptionId
    account_id: AccountId
    changes: Sequence[Change]
    pauses: Sequence[Pause] = ()


@dataclass(frozen=True, slots=True)
class Worth:
    """From the day `on` a line is worth so much a month. `version_id` None holds nothing with a fee."""

    on: date
    version_id: OfferingVersionId | None
    quantity: int
    value: Money


@dataclass(frozen=True, slots=True)
class Movement:
    """Of one line on one day, by `amount` from `before` to `after`."""

    on: date
    kind: Kind
    subscription_id: SubscriptionId
    account_id: AccountId
    amount: Money
    before: OfferingVersionId | None
    after: OfferingVersionId | None
    quantity: int


class Valuer:
    """What a version in a quantity is worth a month. Remembers fees that are the same on every day."""

    def __init__(self, tariffs: Mapping[OfferingVersionId, TariffVersion], zone: ZoneInfo) -> None:
        self._tariffs = tariffs
        self._zone = zone
        self._known: dict[tuple[OfferingVersionId, int, int], Money] = {}

    def steps(self, timeline: Timeline, until_on: date) -> list[Worth]:
        """The days before `until_on` on which the worth of a line may change, in order, with what it is then."""
        since: dict[OfferingId, date] = {}
        for stretch in stretches(timeline.changes, ALWAYS):
            since.setdefault(self._tariffs[stretch.version_id].offering_id, stretch.span.first_on)
        found: list[Worth] = []
        ended = date.min
        for stretch in stretches(timeline.changes, DaySpan(date.min, until_on), timeline.pauses):
            tariff = self._tariffs[stretch.version_id]
            if not any(isinstance(price, Flat) for price in tariff.plan.prices):
                continue
            if found and ended < stretch.span.first_on:
                found.append(_nothing(ended, found[-1]))
            begun = since[tariff.offering_id]
            for day in _edges(tariff.plan, stretch.span, begun):
                value = self._value(tariff, stretch, day, begun)
                found.append(Worth(day, stretch.version_id, stretch.quantity, value))
            ended = stretch.span.until_on
        return [*found, _nothing(ended, found[-1])] if found and ended < until_on else found

    def _value(self, tariff: TariffVersion, stretch: Stretch, day: date, begun: date) -> Money:
        key = (tariff.version_id, stretch.quantity, stretch.percent)
        known = self._known.get(key)
        if known is None:
            span = DaySpan(day, day + _DAY)
            one = Stretch(tariff.version_id, span, stretch.quantity, stretch.percent)
            known = _monthly(tariff, Held(tariff.version_id, span, (one,), begun), self._zone)
            if _timeless(tariff.plan):
                self._known[key] = known
        return known


def movements(account: Sequence[Timeline], valuer: Valuer, until_on: date) -> list[Movement]:
    """Of all lines and items of one account before the day `until_on`, in order of days."""
    by_day: dict[date, dict[SubscriptionId, Worth]] = {}
    for timeline in account:
        for worth in valuer.steps(timeline, until_on):
            by_day.setdefault(worth.on, {})[timeline.subscription_id] = worth
    now: dict[SubscriptionId, Worth] = {}
    found: list[Movement] = []
    ever = held = False
    for day in sorted(by_day):
        after = now | by_day[day]
        holds = any(worth.version_id for worth in after.values())
        kind = _kind(held, holds, ever)
        for subscription_id, worth in by_day[day].items():
            found += _moved(day, subscription_id, account[0].account_id, now.get(subscription_id), worth, kind)
        now, held, ever = after, holds, ever or any(worth.value for worth in after.values())
    return found


def _kind(held: bool, holds: bool, ever: bool) -> Kind | None:
    """What an account's day is called; None where it holds something before and after."""
    if holds and not held:
        return "reactivation" if ever else "new"
    return "churn" if held and not holds else None


def _moved(
    day: date,
    subscription_id: SubscriptionId,
    account_id: AccountId,
    before: Worth | None,
    after: Worth,
    kind: Kind | None,
) -> Iterator[Movement]:
    if before is None or before.value.currency == after.value.currency:
        was = before.value if before else Money.zero(after.value.currency)
        parts = [(after.value - was, before, after)]
    else:
        parts = [(-before.value, before, _nothing(day, before)), (after.value, None, after)]
    for amount, old, new in parts:
        if amount:
            sort: Kind = kind or ("expansion" if amount.minor > 0 else "contraction")
            versions = old.version_id if old else None, new.version_id
            yield Movement(day, sort, subscription_id, account_id, amount, *versions, after.quantity)


def _nothing(day: date, last: Worth) -> Worth:
    return Worth(day, None, 0, Money.zero(last.value.currency))


def _monthly(tariff: TariffVersion, held: Held, zone: ZoneInfo) -> Money:
    """The fees of a whole period, as they are on the day of `held`, without tax and for a month."""
    with localcontext() as context:
        context.prec = _DIGITS
        lines = rate(_fees_alone(tariff), held, zone, None)
        whole = sum((line.exact for line in lines), Decimal(0))
        if tariff.plan.tax_included:
            whole = whole * 100 / (100 + tariff.tax_percent)
        return Money.rounded(tariff.plan.of_a_month(whole), tariff.currency, ROUND_HALF_UP)


def _fees_alone(tariff: TariffVersion) -> TariffVersion:
    """A fee counts from its day on, whether it is asked for in advance or in arrears."""
    fees = [replace(p, arrears=False) if isinstance(p, Flat) else p for p in tariff.plan.prices]
    kept = tuple(price for price in fees if isinstance(price, Flat | Discount))
    return replace(tariff, plan=replace(tariff.plan, prices=kept))


def _edges(plan: PricePlan, span: DaySpan, begun: date) -> list[date]:
    """The first day of a stretch, and those within it on which a window or a step of the escalator begins or ends."""
    days = {span.first_on}
    for price in plan.prices:
        if isinstance(price, Flat | Discount):
            window = window_days(price.window, begun)
            days |= {day for day in (window.first_on, window.until_on) if day in span}
    if plan.escalator is not None:
        number = 1
        while (day := add_months(begun, plan.escalator.every_months * number)) < span.until_on:
            days |= {day} if day in span else set()
            number += 1
    return sorted(days)


def _timeless(plan: PricePlan) -> bool:
    """Whether its fees are the same on every day."""
    windows = [price.window for price in plan.prices if isinstance(price, Flat | Discount)]
    return plan.escalator is None and all(window == Window() for window in windows)


def in_days(found: Iterable[Movement], since_on: date) -> tuple[dict[str, int], dict[str, dict[date, dict[Kind, int]]]]:
    """By currency: the opening before `since_on`, and what moved on each day from then on, in minor units."""
    opening: dict[str, int] = {}
    moved: dict[str, dict[date, dict[Kind, int]]] = {}
    for movement in found:
        currency, minor = movement.amount.currency, movement.amount.minor
        opening.setdefault(currency, 0)
        if movement.on < since_on:
            opening[currency] += minor
        else:
            day = moved.setdefault(currency, {}).setdefault(movement.on, {})
            day[movement.kind] = day.get(movement.kind, 0) + minor
    return opening, moved

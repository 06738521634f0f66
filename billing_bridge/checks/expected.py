"""What a subscription should cost in a period, counted anew from its timeline and its prices. Pure.

Written apart from the engine that makes the charges: stretches of days between the edges of everything that can change
(plan, quantity, window of a price, step of an escalator), each priced by its first day. Percentiles and calls cannot be
priced from octets, and have no bound above.

    day      1        11      15          31
    plan     |-- A ---|---- B -------------|
    discount |----------------|
    edges    |        |       |            |
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from billing_bridge.billing.model import DayUsage
from billing_bridge.checks.case import Case, Holding
from billing_bridge.rating.metered import Share, cost
from billing_bridge.rating.proration import Change, DaySpan, Pause
from billing_bridge.rating.rate import in_advance
from controller.domain.charge import ChargeKind
from controller.domain.clock import add_months
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import METERED, Calls, Cycle, Discount, Flat, Meter, Metered, OneOff, Percentile, Window
from controller.domain.price_hours import Hours, hours_of
from controller.domain.tariff import TariffVersion

_WHOLE = 100


@dataclass(slots=True)
class Expected:
    """Major units, exact. `low` and `high` are None where nothing can be said.

    `discount` is the part of it that discounts take away (negative), `days` how many days of the period the version
    held, `prices` how many roundings there are in it.
    """

    low: Decimal | None = Decimal(0)
    high: Decimal | None = Decimal(0)
    discount: Decimal = Decimal(0)
    days: int = 0
    prices: int = 0

    def add(self, amount: Decimal) -> None:
        if self.low is not None:
            self.low += amount
        if self.high is not None:
            self.high += amount


Wanted = dict[tuple[OfferingVersionId, ChargeKind], Expected]


def expected(
    case: Case, holding: Holding, period: DaySpan, cycle: Cycle, since: Mapping[str, date], *, closed: bool
) -> Wanted:
    """By version of that cycle and kind. `closed` periods have their usage and their fees in arrears too.

    `since` are the `first_days` of the holding.
    """
    found: Wanted = {}
    versions: dict[OfferingVersionId, list[tuple[DaySpan, int]]] = {}
    for span, version_id, quantity in held(holding.changes, period):
        versions.setdefault(version_id, []).append((span, quantity))
    for version_id, spans in versions.items():
        tariff = case.price(version_id, period)
        if tariff is None or tariff.plan.cycle != cycle:
            continue
        began = since[tariff.offering_id]
        own: Wanted = {}
        _fees(own, tariff, spans, began, period, holding.pauses, closed=closed)
        if closed:
            _usage(own, tariff, spans, holding, period)
        days = sum(span.days for span, _ in spans)
        for (_, kind), wanted in own.items():
            wanted.days = days
            # Of a price that was corrected the charges still name the version that was sold.
            found[version_id, kind] = wanted
    return found


def held(changes: Sequence[Change], period: DaySpan) -> Iterator[tuple[DaySpan, OfferingVersionId, int]]:
    """(days, version, pieces) in which something held; the last change of a day counts for all of it."""
    last = {change.on: change for change in changes}
    for day, until in pairwise([*sorted(last), date.max]):
        change, span = last[day], DaySpan(day, until).common(period)
        if change.version_id is not None and span is not None:
            yield span, change.version_id, change.quantity


def first_days(changes: Sequence[Change], case: Case) -> Mapping[str, date]:
    """By offering, the first day on which one of its versions held."""
    found: dict[str, date] = {}
    for span, version_id, _ in held(changes, DaySpan(date.min, date.max)):
        tariff = case.price(version_id)
        if tariff is not None:
            found.setdefault(tariff.offering_id, span.first_on)
    return found


def counted(tariff: TariffVersion, holding: Holding, days: Collection[date]) -> dict[str, int]:
    """Octets of `days` by the code of each price that counts some of them, in its hours and its direction."""
    own = [u for u in holding.used if (u.released_to or u.day) in days]
    whole = sum(u.upstream_octets for u in own), sum(u.downstream_octets for u in own)
    found = {}
    for price in tariff.plan.metered:
        hours = hours_of(price, tariff.plan.metered, tariff.plan.holidays)
        found[price.code] = _of_meter(price, *(whole if hours is None else _in_hours(hours, holding, own)))
    return found


def _in_hours(hours: Hours, holding: Holding, used: Sequence[DayUsage]) -> tuple[int, int]:
    """(upstream, downstream) octets of the quarters that count."""
    upstream = downstream = 0
    for day in used:
        wanted = hours.quarters(day.counted_on)
        for quarter, octets in holding.quarters.get(day.day, {}).items():
            if quarter in wanted:
                upstream, downstream = upstream + octets.upstream, downstream + octets.downstream
    return upstream, downstream


def usage_cost(tariff: TariffVersion, octets: Mapping[str, int], share: Share) -> Decimal | None:
    """What octets by price code come to; None where that depends on more than their number."""
    if any(isinstance(p, Percentile | Calls) for p in tariff.plan.prices):
        return None
    return sum((cost(p, octets.get(p.code, 0), share).exact for p in tariff.plan.metered), Decimal(0))


def full_share(days: Collection[date], period: DaySpan, pauses: Sequence[Pause]) -> Share:
    """The share of a plan's volumes: days of a pause have none."""
    paused = [pause.span for pause in pauses if pause.percent != _WHOLE]
    if not paused:
        return Share(len(days), period.priced_days)
    return Share(sum(not any(day in span for span in paused) for day in days), period.priced_days)


def _fees(
    found: Wanted,
    tariff: TariffVersion,
    spans: Sequence[tuple[DaySpan, int]],
    began: date,
    period: DaySpan,
    pauses: Sequence[Pause],
    *,
    closed: bool,
) -> None:
    due = {p.code for p in tariff.plan.prices} if closed else in_advance(tariff.plan)
    for price in tariff.plan.prices:
        if price.code not in due:
            continue
        if isinstance(price, OneOff):
            for span, quantity in spans:
                if began in span:
                    wanted = found.setdefault((tariff.version_id, ChargeKind.ONE_OFF), Expected())
                    wanted.prices += 1
                    wanted.add(price.amount * (quantity if price.each else 1))
        elif isinstance(price, Flat):
            wanted = found.setdefault((tariff.version_id, ChargeKind.RECURRING), Expected())
            wanted.prices += 2
            wanted.add(sum((_fee_of(price, tariff, began, s, q, period, pauses) for s, q in spans), Decimal(0)))
        elif isinstance(price, Discount):
            fees = Decimal(0)
            for flat in tariff.plan.prices:
                if isinstance(flat, Flat) and (not price.of or flat.code in price.of):
                    for span, quantity in spans:
                        within = span.common(_window(price.window, began))
                        if within is not None:
                            fees += _fee_of(flat, tariff, began, within, quantity, period, pauses)
            wanted = found.setdefault((tariff.version_id, ChargeKind.RECURRING), Expected())
            wanted.prices += 1
            wanted.discount -= fees * price.percent / 100
            wanted.add(-fees * price.percent / 100)


def _fee_of(
    price: Flat,
    tariff: TariffVersion,
    began: date,
    span: DaySpan,
    quantity: int,
    period: DaySpan,
    pauses: Sequence[Pause],
) -> Decimal:
    """A fee on days in which quantity and discount do not change; window, escalator and pauses may."""
    within = span.common(_window(price.window, began))
    if within is None:
        return Decimal(0)
    pieces = quantity if price.each else 1
    ends = {day for pause in pauses for day in (pause.span.first_on, pause.span.until_on) if day in within}
    ends |= {within.first_on, within.until_on, *_raises(tariff, began, within)}
    total = Decimal(0)
    for first, until in pairwise(sorted(ends)):
        percent = min((p.percent for p in pauses if first in p.span), default=_WHOLE)
        total += _raised(price.amount, tariff, began, first) * pieces * (until - first).days * percent / _WHOLE
    return total / Decimal(period.priced_days)


def _window(window: Window, began: date) -> DaySpan:
    first_on = add_months(began, window.from_month)
    until_on = date.max if window.months is None else add_months(began, window.from_month + window.months)
    until_on = min(until_on, window.until_on or date.max)
    return DaySpan(first_on, max(first_on, until_on))


def _raises(tariff: TariffVersion, began: date, within: DaySpan) -> list[date]:
    """Days inside of `within` on which the fee rises."""
    escalator = tariff.plan.escalator
    if escalator is None:
        return []
    found, number = [], 1
    while (day := add_months(began, escalator.every_months * number)) < within.until_on:
        if day > within.first_on:
            found.append(day)
        number += 1
    return found


def _raised(amount: Decimal, tariff: TariffVersion, began: date, day: date) -> Decimal:
    """The fee on a day: each raise is rounded before the next is taken from it."""
    escalator = tariff.plan.escalator
    if escalator is None:
        return amount
    number = 1
    while add_months(began, escalator.every_months * number) <= day:
        amount = Money.rounded(amount * (100 + escalator.percent) / 100, tariff.currency, ROUND_HALF_UP).amount
        number += 1
    return amount


def _usage(
    found: Wanted, tariff: TariffVersion, spans: Sequence[tuple[DaySpan, int]], holding: Holding, period: DaySpan
) -> None:
    if not any(isinstance(p, (*METERED, Percentile, Calls)) for p in tariff.plan.prices):
        return
    days = {day for span, _ in spans for day in span.each_day()}
    wanted = found.setdefault((tariff.version_id, ChargeKind.USAGE), Expected())
    wanted.prices += len(tariff.plan.metered)
    share = full_share(days, period, holding.pauses)
    amount = usage_cost(tariff, counted(tariff, holding, days), share)
    if amount is None:
        wanted.low, wanted.high = Decimal(0), None
    else:
        wanted.add(amount)


def _of_meter(price: Metered, upstream: int, downstream: int) -> int:
    return {Meter.UPSTREAM: upstream, Meter.DOWNSTREAM: downstream}.get(price.meter, upstream + downstream)

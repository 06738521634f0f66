"""Checks by history: usage charges against what this subscription and all who have its plan have used before. Pure.

    residual of a month   ln(octets per day) − ln(median of the cohort in that month)
    expected              median of the residuals ± K × 1.4826 × MAD, put back on the cohort, priced by this plan

The cohort carries season, growth and holidays; the plan that prices the range is the one that holds now, so a change of
plan is no surprise. Octets that a second source has counted too are no surprise either; where it has counted others,
the difference is a finding however usual the amount. Money decides: what costs next to nothing is not held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from billing_bridge.checks.case import (
    By,
    Case,
    Cohort,
    Finding,
    Holding,
    Key,
    Month,
    charge_records,
    usage_records,
)
from billing_bridge.checks.expected import counted, full_share, held, usage_cost
from billing_bridge.checks.rules import money
from billing_bridge.rating.proration import DaySpan
from controller.domain.charge import ChargeKind
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.domain.units import human_octets

K = 3.5
"""How many robust standard deviations are usual. Monthly usage has heavier tails than a normal distribution."""
_TO_SIGMA = 1.4826
_LEAST_SIGMA = 0.18
"""Nobody is more regular than this: with few months the MAD is small by chance."""
_LEAST_MONTHS = 4
_LEAST_COHORT = 12
_LEAST_SHARE = Decimal("0.1")
"""What lies nearer to the usual than this share of it is not worth a look."""
_AGREES = 0.03
"""Two sources agree within what is known of overhead and missing bins."""


@dataclass(frozen=True, slots=True)
class _Used:
    """What a subscription used in a closed period by one version, and what it was charged for that.

    `counted` are the octets that each price counts.
    """

    holding: Holding
    period: DaySpan
    days: frozenset[date]
    tariff: TariffVersion
    octets: int
    counted: Mapping[str, int]
    actual: Money


def by_history(case: Case) -> Iterator[Finding]:
    """All findings of history."""
    for holding in case.holdings:
        for used in _used(case, holding):
            yield from _judge(case, used)


def _used(case: Case, holding: Holding) -> Iterator[_Used]:
    for version_id in dict.fromkeys(c.version_id for c in holding.changes if c.version_id):
        tariff = case.price(version_id)
        if tariff is None or not tariff.plan.metered:
            continue
        running = holding.period(case.today_of(holding), tariff.plan.cycle)
        period = holding.period(running.first_on - timedelta(days=1), tariff.plan.cycle)
        if holding.payer_of(period) != case.account_id:
            continue
        tariff = case.price(version_id, period) or tariff
        spans = [span for span, held_id, _ in held(holding.changes, period) if held_id == version_id]
        days = frozenset(day for span in spans for day in span.each_day())
        key = Key(period.first_on, version_id, ChargeKind.USAGE)
        lines = [c for c in case.of(holding.subscription_id) if case.key_of(c, holding) == key]
        if not days or (not lines and holding.charged.get(key)):
            continue  # charged, and looked at, before
        minor = sum(c.net.minor for c in lines if c.net.currency == case.currency)
        yield _Used(
            holding,
            period,
            days,
            tariff,
            sum(u.octets for u in holding.used if u.counted_on in days),
            counted(tariff, holding, days),
            Money(holding.charged.get(key, 0) + minor, case.currency),
        )


def _judge(case: Case, used: _Used) -> Iterator[Finding]:
    other = _other_source(used)
    if other is not None:
        if abs(other - used.octets) > _AGREES * other:
            yield from _range(case, used, other * (1 - _AGREES), other * (1 + _AGREES), "usage-unmatched")
        return
    cohort = case.cohorts.get(used.tariff.offering_id)
    if cohort is None:
        return
    days = len(used.days)
    bounds = usual(used.holding.months, cohort, _month(used.period))
    if bounds is not None:
        low, high = (bound * days for bound in bounds)
        yield from _range(case, used, low, high, "usage-jump" if used.octets > high else "usage-drop")


def usual(months: Mapping[Month, int], cohort: Cohort, month: Month) -> tuple[float, float] | None:
    """Octets per day that are usual for `month`; None where the cohort says nothing of it."""
    level = cohort.medians.get(month)
    if not level:
        return None
    known = [
        math.log(octets / cohort.medians[m]) for m, octets in months.items() if octets > 0 and cohort.medians.get(m)
    ]
    if len(known) >= _LEAST_MONTHS:
        middle = median(known)
        sigma = max(_LEAST_SIGMA, _TO_SIGMA * median([abs(r - middle) for r in known]))
    else:
        middle, sigma = 0.0, max(_LEAST_SIGMA, cohort.spread)
        if known:  # a customer of few months: what is known of it narrows nothing, but moves the middle
            middle = median(known) * len(known) / (len(known) + 1)
    low = level * math.exp(middle - K * sigma)
    return (low if len(known) >= _LEAST_MONTHS else 0.0), level * math.exp(middle + K * sigma)


def cohort_of(months: Sequence[Mapping[Month, int]]) -> Cohort:
    """The cohort of subscriptions whose octets per day are these. A few tell no season: one level is all of theirs."""
    by_month: dict[Month, list[float]] = {}
    for one in months:
        for month, octets in one.items():
            if octets > 0:
                by_month.setdefault(month, []).append(octets)
    medians = {month: median(values) for month, values in by_month.items()}
    if len(months) < _LEAST_COHORT:
        level = median([v for values in by_month.values() for v in values]) if by_month else 0.0
        medians = dict.fromkeys(medians, level)
    logs = [math.log(v / medians[m]) for m, values in by_month.items() for v in values]
    if not logs:
        return Cohort({}, 1.0)
    middle = median(logs)
    return Cohort(medians, _TO_SIGMA * median([abs(v - middle) for v in logs]))


def _other_source(used: _Used) -> float | None:
    """Octets of the period by another source, days that it misses filled at the rate of those it has; None where it
    has less than two thirds of them."""
    seen = {day: octets for day, octets in used.holding.measured.items() if day in used.period}
    if len(used.days) != used.period.days or len(seen) * 3 < used.period.days * 2:
        return None
    days = {u.counted_on: u.octets for u in used.holding.used}
    missing = sum(octets for day, octets in days.items() if day in used.period and day not in seen)
    return float(sum(seen.values()) + missing)


def _range(case: Case, used: _Used, low: float, high: float, check: str) -> Iterator[Finding]:
    """A finding where the charge lies outside of what [low, high] octets cost by this plan."""
    share = full_share(used.days, used.period, used.holding.pauses)
    prices = [usage_cost(used.tariff, _scaled(used, octets), share) for octets in (low, high)]
    if prices[0] is None or prices[1] is None:
        return
    least, most = sorted((money(case, prices[0]), money(case, prices[1])), key=lambda m: m.minor)
    if least.minor <= used.actual.minor <= most.minor:
        return
    bound = most if used.actual.minor > most.minor else least
    stake = Money(abs(used.actual.minor - bound.minor), case.currency)
    # A second source is exact, a habit is not.
    least_share = Decimal(0) if check == "usage-unmatched" else _LEAST_SHARE
    if stake.amount < max(case.limits.usage, least_share * bound.amount):
        return
    days = [u for u in used.holding.used if u.counted_on in used.period]
    lines = [c for c in case.of(used.holding.subscription_id) if c.kind is ChargeKind.USAGE]
    source = "a second source counted" if check == "usage-unmatched" else "usual are"
    yield Finding(
        check,
        By.HISTORY,
        f"{human_octets(used.octets)} from {used.period.first_on} to {used.period.until_on}; "
        f"{source} {human_octets(round(low))} to {human_octets(round(high))}",
        least,
        most,
        used.actual,
        stake,
        used.holding.subscription_id,
        used.holding.service_id,
        (*charge_records(lines), *usage_records(days)),
        used.period.first_on,
    )


def _scaled(used: _Used, octets: float) -> dict[str, int]:
    """`octets` by price, in the proportions of what was used; by all of them where nothing was."""
    if not used.octets:
        return {price.code: int(octets) for price in used.tariff.plan.metered}
    return {code: int(octets * own / used.octets) for code, own in used.counted.items()}


def _month(period: DaySpan) -> Month:
    """The calendar month in which most of a period lies."""
    middle: date = period.first_on + timedelta(days=period.days // 2)
    return middle.year, middle.month

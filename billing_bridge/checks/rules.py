"""Checks by rule: each line by itself, then everything charged for a period against what it should come to. Pure.

    zero-amount wrong-currency missing-tax wrong-tax arithmetic duplicate-line foreign-line future-period
    fee-missing fee-too-low fee-too-high fee-without-service period-overlap
    negative-amount negative-bill credit-above-original credit-missing
    promotion-ended promotion-missing one-off-repeated one-off-missing
    usage-missing usage-too-low usage-too-high usage-without-plan

A charge too much is a finding where this run adds to it, or does not give it back; what is missing is one for the
period that begins and the one that has just closed. Percentiles and calls cannot be priced here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from billing_bridge.checks.case import (
    By,
    Case,
    Finding,
    Holding,
    Key,
    Record,
    charge_records,
    usage_records,
)
from billing_bridge.checks.expected import Expected, Wanted, expected, first_days
from billing_bridge.rating.proration import DaySpan
from controller.domain.charge import Charge, ChargeKind
from controller.domain.money import Money, exponent
from controller.domain.price import Flat, Percentile, Window
from controller.domain.tariff import TariffVersion

KINDS = (ChargeKind.RECURRING, ChargeKind.USAGE, ChargeKind.ONE_OFF)
"""What is priced by a version; other charges (of accounts, not of subscriptions) have checks where they are made."""


def by_rule(case: Case) -> Iterator[Finding]:
    """All findings of rules."""
    holdings = {holding.subscription_id: holding for holding in case.holdings}
    priced = [c for c in case.charges if c.kind in KINDS and c.version_id]
    for charge in priced:
        yield from _line(case, charge, holdings.get(charge.subscription_id))
    yield from _duplicates(case, priced)
    yield from _negative(case, priced)
    for holding in case.holdings:
        yield from _sums(case, holding)


def money(case: Case, amount: Decimal) -> Money:
    """For ranges: the nearest minor unit."""
    return Money.rounded(amount, case.currency, ROUND_HALF_EVEN)


def _line(case: Case, charge: Charge, holding: Holding | None) -> Iterator[Finding]:
    if charge.net.currency != case.currency:
        yield _of_line(
            charge, "wrong-currency", f"charged in {charge.net.currency}, the account is kept in {case.currency}"
        )
        return
    period = case.period_of(charge, holding) if holding else None
    if holding is None or period is None or holding.payer_of(period) != case.account_id:
        yield _of_line(charge, "foreign-line", f"subscription {charge.subscription_id} is not paid for by this account")
        return
    today = case.today_of(holding)
    running = holding.period(today, case.cycle(charge.version_id))
    if period.first_on >= running.until_on:
        yield _of_line(charge, "future-period", f"charges days from {charge.first_on} on, the run is of {today}")
    tariff = case.price(charge.version_id, period)
    if tariff is not None:
        yield from _tax(case, charge, tariff)
    if charge.net.minor == 0:
        yield _zero(case, charge)
    elif not charge.adjustment:
        yield from _arithmetic(case, charge)


def _tax(case: Case, charge: Charge, tariff: TariffVersion) -> Iterator[Finding]:
    if charge.tax_percent == tariff.tax_percent or charge.exemption:
        return
    check = "missing-tax" if not charge.tax_percent else "wrong-tax"
    right = money(case, charge.net.amount * tariff.tax_percent / 100)
    wrong = money(case, charge.net.amount * charge.tax_percent / 100)
    yield Finding(
        check,
        By.RULE,
        f"taxed at {charge.tax_percent} %, sold at {tariff.tax_percent} %: {charge.description}",
        right,
        right,
        wrong,
        Money(abs(right.minor - wrong.minor), case.currency),
        charge.subscription_id,
        charge.service_id,
        charge_records([charge]),
    )


def _arithmetic(case: Case, charge: Charge) -> Iterator[Finding]:
    said = charge.quantity * charge.unit_price
    # Prices per day are shown with six decimals, so a line may be off by half of the last for each of its units.
    slack = abs(charge.quantity) * Decimal("0.000001") + Decimal(1).scaleb(-exponent(case.currency))
    off = abs(charge.net.amount - said)
    if off > slack:
        right = money(case, said)
        yield Finding(
            "arithmetic",
            By.RULE,
            f"{charge.quantity:f} {charge.unit} × {charge.unit_price:f} is {right}, the line says {charge.net}",
            right,
            right,
            charge.net,
            Money(abs(right.minor - charge.net.minor), case.currency),
            charge.subscription_id,
            charge.service_id,
            charge_records([charge]),
        )


def _zero(case: Case, charge: Charge) -> Finding:
    """A line that is there is over something: what it says of itself, or the least that there is."""
    said = money(case, charge.quantity * charge.unit_price)
    least = said if said.minor > 0 else Money(1, case.currency)
    wrong = _of_line(charge, "zero-amount", f"{charge.quantity} {charge.unit} for nothing")
    return replace(wrong, low=least, high=None, at_stake=least)


def _of_line(charge: Charge, check: str, text: str) -> Finding:
    """A line that should not be there at all."""
    nothing = Money.zero(charge.net.currency)
    return Finding(
        check,
        By.RULE,
        f"{charge.description}: {text}",
        nothing,
        nothing,
        charge.net,
        Money(abs(charge.net.minor), charge.net.currency),
        charge.subscription_id,
        charge.service_id,
        charge_records([charge]),
    )


def _duplicates(case: Case, charges: Sequence[Charge]) -> Iterator[Finding]:
    seen: dict[tuple[object, ...], list[Charge]] = defaultdict(list)
    for c in charges:
        days = (c.first_on, c.until_on)
        seen[c.subscription_id, c.version_id, c.kind, days, c.description, c.net.minor, c.quantity].append(c)
    for same in seen.values():
        if len(same) > 1 and same[0].net.minor:
            first, whole = same[0], Money(same[0].net.minor * len(same), same[0].net.currency)
            yield Finding(
                "duplicate-line",
                By.RULE,
                f"{first.description} stands {len(same)} times on the bill",
                first.net,
                first.net,
                whole,
                Money(abs(whole.minor - first.net.minor), whole.currency),
                first.subscription_id,
                first.service_id,
                charge_records(same),
            )


def _negative(case: Case, charges: Sequence[Charge]) -> Iterator[Finding]:
    """Discounts that are more than all that they are taken off, in the periods that run; credits are none."""
    own = [c for c in charges if not c.adjustment and c.net.currency == case.currency]
    taken = [c for c in own if c.net.minor < 0]
    if not taken:
        return
    total = sum(c.net.minor for c in own)
    for holding in case.holdings:
        for key, minor in holding.charged.items():
            if holding.period(case.today_of(holding), case.cycle(key.version_id)).first_on == key.period_first_on:
                total += minor
    if total < 0:
        nothing, worst = Money.zero(case.currency), min(taken, key=lambda c: c.net.minor)
        yield Finding(
            "negative-bill",
            By.RULE,
            f"fees less discounts of the running periods come to {Money(total, case.currency)}",
            nothing,
            None,
            Money(total, case.currency),
            Money(-total, case.currency),
            worst.subscription_id,
            worst.service_id,
            charge_records(taken),
        )


def _sums(case: Case, holding: Holding) -> Iterator[Finding]:
    now: dict[Key, list[Charge]] = defaultdict(list)
    for charge in case.of(holding.subscription_id):
        if charge.kind in KINDS and charge.net.currency == case.currency:
            now[case.key_of(charge, holding)].append(charge)
    versions = [c.version_id for c in holding.changes if c.version_id] + [key.version_id for key in now]
    began = first_days(holding.changes, case)
    for cycle in dict.fromkeys(case.cycle(version_id) for version_id in versions):
        running = holding.period(case.today_of(holding), cycle)
        before = holding.period(running.first_on - timedelta(days=1), cycle)
        own = [key for key in now if case.cycle(key.version_id) == cycle]
        others = [holding.period(key.period_first_on, cycle) for key in sorted(own, key=_order)]
        for period in dict.fromkeys([before, running, *others]):
            if holding.payer_of(period) != case.account_id:
                continue
            closed = period.until_on <= case.today_of(holding)
            wanted = expected(case, holding, period, cycle, began, closed=closed)
            keys = {key for key in own if key.period_first_on == period.first_on}
            keys |= {Key(period.first_on, version_id, kind) for version_id, kind in wanted}
            for key in sorted(keys, key=_order):
                yield from _sum(case, holding, period, key, now.get(key, ()), wanted, closed=closed)


def _order(key: Key) -> tuple[date, str, str]:
    return key.period_first_on, key.version_id, key.kind.value


def _sum(
    case: Case,
    holding: Holding,
    period: DaySpan,
    key: Key,
    lines: Sequence[Charge],
    wanted: Wanted,
    *,
    closed: bool,
) -> Iterator[Finding]:
    earlier = holding.charged.get(key, 0)
    actual = earlier + sum(c.net.minor for c in lines)
    entry = wanted.get((key.version_id, key.kind))
    if entry is None and key.kind is ChargeKind.USAGE and not closed:
        entry = Expected()  # nothing of a running period is charged yet
    if entry is None and case.price(key.version_id) is None:
        return
    entry = entry or Expected()
    slack = max(money(case, case.limits.other).minor, entry.prices)
    low = None if entry.low is None else money(case, entry.low).minor
    high = None if entry.high is None else money(case, entry.high).minor
    added = sum(c.net.minor for c in lines)
    check = None
    if high is not None and actual > high + slack and added > 0:
        check = _too_much(case, holding, key, lines, entry, earlier, high, wanted)
    elif high is not None and actual > high + slack and added == 0 and _is_settled(case, key, closed=closed):
        check = "credit-missing"
    elif low is not None and actual < low - slack and (lines or (low > 0 and not earlier)):
        check = _too_little(case, key, lines, entry, earlier, actual, low)
    if check is None:
        return
    bound = high if actual > (high or 0) else low
    off = actual - (bound or 0)
    used = [u for u in holding.used if u.counted_on in period] if key.kind is ChargeKind.USAGE else []
    yield Finding(
        check,
        By.CONTRACT if check in ("term-discount-missing", "commit-missing") else By.RULE,
        _said(case, key, period, entry, check),
        None if low is None else Money(low, case.currency),
        None if high is None else Money(high, case.currency),
        Money(actual, case.currency),
        Money(abs(off), case.currency),
        holding.subscription_id,
        holding.service_id,
        (*charge_records(lines), *usage_records(used), *_billed_before(case, holding, period, earlier)),
        period.first_on,
    )


def _billed_before(case: Case, holding: Holding, period: DaySpan, earlier: int) -> tuple[Record, ...]:
    """What earlier bills charged for the period, where they did."""
    if not earlier:
        return ()
    told = f"{Money(earlier, case.currency)} on earlier bills for {period.first_on} to {period.until_on}"
    return (Record("billed-before", f"{holding.subscription_id}/{period.first_on}", told),)


def _is_settled(case: Case, key: Key, *, closed: bool) -> bool:
    """Whether all that `key` can come to is known now: a run that stood later in time may have charged its end."""
    tariff = case.price(key.version_id)
    if tariff is None or key.kind is not ChargeKind.RECURRING:
        return False
    return closed or not any(isinstance(p, Flat) and p.arrears for p in tariff.plan.prices)


def _too_much(
    case: Case,
    holding: Holding,
    key: Key,
    lines: Sequence[Charge],
    entry: Expected,
    earlier: int,
    high: int,
    wanted: Wanted,
) -> str:
    if key.kind is ChargeKind.ONE_OFF:
        return "one-off-repeated"
    if key.kind is ChargeKind.USAGE:
        return (
            "usage-too-high"
            if entry.days or (key.version_id, ChargeKind.RECURRING) in wanted
            else ("usage-without-plan")
        )
    if not entry.days:
        return "fee-without-service"
    if entry.discount:
        taken = sum(c.net.minor for c in lines if c.net.minor < 0)
        if not taken and not earlier:
            tariff = case.price(key.version_id)
            return "term-discount-missing" if tariff and tariff.plan.contract else "promotion-missing"
    return "period-overlap" if earlier and abs(earlier - high) <= max(2, entry.prices) else "fee-too-high"


def _too_little(
    case: Case, key: Key, lines: Sequence[Charge], entry: Expected, earlier: int, actual: int, low: int
) -> str:
    if actual < 0 and low >= 0:
        return "credit-above-original" if earlier or any(c.adjustment for c in lines) else "negative-amount"
    if key.kind is ChargeKind.ONE_OFF:
        return "one-off-missing"
    if key.kind is ChargeKind.USAGE:
        return "usage-missing" if not actual else "usage-too-low"
    tariff = case.price(key.version_id)
    if tariff is not None and any(isinstance(p, Percentile) for p in tariff.plan.prices):
        return "commit-missing"
    taken = sum(c.net.minor for c in lines if c.net.minor < 0)
    if taken < money(case, entry.discount).minor - entry.prices and tariff is not None and not earlier:
        return "promotion-ended"
    return "fee-missing" if not actual else "fee-too-low"


def _said(case: Case, key: Key, period: DaySpan, entry: Expected, check: str) -> str:
    tariff = case.price(key.version_id)
    name = tariff.offering_name if tariff else key.version_id
    fee = ""
    if tariff is not None and key.kind is ChargeKind.RECURRING:
        fees = [p.amount for p in tariff.plan.prices if isinstance(p, Flat) and p.window == Window()]
        regular = sum(fees, Decimal(0))
        fee = f", {entry.days} of {period.priced_days} days at {regular} {tariff.currency}"
    return f"{check.replace('-', ' ')}: {name}, {key.kind.value}, {period.first_on} to {period.until_on}{fee}"

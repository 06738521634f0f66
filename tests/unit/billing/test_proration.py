"""Fees by the day: fixed cases, and an independent oracle that walks day by day."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.billing.cycle import Calendar
from billing_bridge.rating.line import Line
from billing_bridge.rating.proration import Change, DaySpan, holdings, stretches
from billing_bridge.rating.rate import rate
from controller.domain.clock import add_months
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from tests.support.billing_fakes import tariff

A, B, C = (OfferingVersionId(v) for v in "ABC")
BERLIN = ZoneInfo("Europe/Berlin")
SEPTEMBER = DaySpan(date(2026, 9, 1), date(2026, 10, 1))


def fees(changes: list[Change], prices: dict[OfferingVersionId, TariffVersion]) -> dict[OfferingVersionId, Line]:
    held = holdings(changes, SEPTEMBER, {v: p.offering_id for v, p in prices.items()})
    return {v: line for v, h in held.items() for line in rate(prices[v], h, BERLIN, None)}


def amount(line: Line) -> Money:
    return Money.rounded(line.exact, "EUR", ROUND_HALF_UP)


def test_change_on_day_11_gives_ten_days_old_and_twenty_days_new() -> None:
    prices = {A: tariff("A", "30.00"), B: tariff("B", "60.00")}
    changes = [Change(date(2026, 8, 1), A), Change(date(2026, 9, 11), B)]
    found = fees(changes, prices)
    assert [(v, e.days, str(amount(e))) for v, e in found.items()] == [(A, 10, "10.00 EUR"), (B, 20, "40.00 EUR")]


def test_day_of_a_change_belongs_to_the_new_plan_and_the_last_change_of_a_day_holds() -> None:
    changes = [Change(date(2026, 9, 1), A), Change(date(2026, 9, 5), B), Change(date(2026, 9, 5), C)]
    assert [(s.version_id, s.span.first_on.day, s.span.days) for s in stretches(changes, SEPTEMBER)] == [
        (A, 1, 4),
        (C, 5, 26),
    ]


def test_day_of_the_termination_is_not_charged() -> None:
    changes = [Change(date(2026, 9, 1), A), Change(date(2026, 9, 16), None)]
    assert [amount(e) for e in fees(changes, {A: tariff("A", "30.00")}).values()] == [Money(1500, "EUR")]


def test_activated_and_terminated_on_one_day_costs_nothing() -> None:
    changes = [Change(date(2026, 9, 3), A), Change(date(2026, 9, 3), None)]
    assert fees(changes, {A: tariff("A", "30.00")}) == {}


def test_days_of_a_plan_that_comes_back_are_priced_together() -> None:
    prices = {A: tariff("A", "0.01"), B: tariff("B", "60.00")}
    changes = [Change(date(2026, 9, 1), A), Change(date(2026, 9, 15), B), Change(date(2026, 9, 16), A)]
    found = fees(changes, prices)
    assert found[A].days == 29
    assert amount(found[A]) == Money(1, "EUR")
    assert len(found[A].spans) == 2


days = st.integers(0, 59).map(lambda n: date(2026, 8, 15) + timedelta(days=n))
timelines = st.lists(st.tuples(days, st.sampled_from([A, B, C, None])), max_size=8).map(
    lambda pairs: [Change(on, version) for on, version in sorted(pairs, key=lambda p: p[0])]
)
amounts = st.decimals("0", "999.99", places=2)


@given(timelines, st.tuples(amounts, amounts, amounts))
def test_amounts_equal_an_oracle_that_walks_day_by_day(
    changes: list[Change], prices: tuple[Decimal, Decimal, Decimal]
) -> None:
    tariffs = {v: tariff(v, str(p)) for v, p in zip((A, B, C), prices, strict=True)}
    exact: dict[str, Fraction] = {}
    for n in range(30):
        day = date(2026, 9, 1) + timedelta(days=n)
        plan = None
        for change in changes:
            if change.on <= day:
                plan = change.version_id
        if plan is not None:
            exact[plan] = exact.get(plan, Fraction(0)) + Fraction(tariffs[plan].monthly_fee) / 30
    # Half up, on integers: floor(2x + 1) / 2.
    expected = {v: (2 * x * 100 + 1) // 2 for v, x in exact.items()}
    found = fees(changes, tariffs)
    assert {v: amount(e).minor for v, e in found.items()} == expected
    assert sum(e.days for e in found.values()) <= 30


@given(timelines, days)
def test_repeating_the_plan_of_a_day_never_changes_the_price(changes: list[Change], cut: date) -> None:
    tariffs = {A: tariff("A", "29.99"), B: tariff("B", "0.01"), C: tariff("C", "61.37")}
    before = [c for c in changes if c.on <= cut]
    plan = before[-1].version_id if before else None
    again = sorted([*changes, Change(cut, plan)], key=lambda c: c.on)
    whole, split = fees(changes, tariffs), fees(again, tariffs)
    assert [(v, e.days, amount(e)) for v, e in split.items()] == [(v, e.days, amount(e)) for v, e in whole.items()]


@pytest.mark.parametrize("anchor", range(1, 32))
def test_periods_touch_and_never_drift_from_their_anchor(anchor: int) -> None:
    periods = Calendar(anchor).periods(date(2027, 1, 5), date(2028, 12, 31))
    assert len(periods) in (24, 25)
    for before, after in pairwise(periods):
        assert before.until_on == after.first_on
    for period in periods:
        last_of_month = (period.first_on.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        assert period.first_on.day == min(anchor, last_of_month.day)


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 31))
def test_a_day_lies_in_its_period(day: date, anchor: int) -> None:
    assert day in Calendar(anchor).period(day)


def test_months_are_counted_from_the_first_and_never_drift() -> None:
    first = date(2027, 1, 31)
    assert [add_months(first, n) for n in (0, 1, 2, 13)] == [
        first,
        date(2027, 2, 28),
        date(2027, 3, 31),
        date(2028, 2, 29),
    ]
    assert add_months(first, 12 * 9000) == date.max

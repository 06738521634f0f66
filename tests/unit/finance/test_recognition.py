"""Schedules against an oracle of exact days: every part within a minor unit of what its days earn, the sum exact."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.clock import add_months
from erp.finance.recognition import Planned, Promise, Slice, cut, earned, modify, plan, schedule

days_of_a_decade = st.dates(date(2023, 12, 1), date(2033, 3, 1))
lengths = st.integers(1, 800)
amounts = st.integers(-(10**9), 10**9)


def by_day(minor: int, first_on: date, until_on: date) -> dict[date, Fraction]:
    """The oracle: one day after the other, each earning its exact fraction."""
    count, day, found = 0, first_on, {}
    while day < until_on:
        count, day = count + 1, day + timedelta(days=1)
    day = first_on
    while day < until_on:
        found[day] = Fraction(minor, count)
        day += timedelta(days=1)
    return found


def largest_remainder(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Written once more, over fractions: round towards zero, then one unit each to the largest remainders."""
    sign = -1 if total < 0 else 1
    floors = [abs(s).numerator // abs(s).denominator for s in shares]
    missing = abs(total) - sum(floors)
    ranked = sorted(range(len(shares)), key=lambda i: (-(abs(shares[i]) - floors[i]), i))
    return [sign * (f + (i in ranked[:missing])) for i, f in enumerate(floors)]


@given(amounts, days_of_a_decade, lengths)
def test_every_month_of_a_schedule_earns_what_its_days_do(minor: int, first_on: date, length: int) -> None:
    until_on = first_on + timedelta(days=length)
    slices = schedule(minor, first_on, until_on)
    months: dict[tuple[int, int], Fraction] = {}
    for day, part in by_day(minor, first_on, until_on).items():
        months[(day.year, day.month)] = months.get((day.year, day.month), Fraction(0)) + part
    assert [(s.month.year, s.month.month) for s in slices] == list(months)
    assert [s.minor for s in slices] == largest_remainder(minor, list(months.values()))
    assert sum(s.minor for s in slices) == minor
    assert (slices[0].first_on, slices[-1].until_on) == (first_on, until_on)
    assert all(a.until_on == b.first_on for a, b in pairwise(slices))


@pytest.mark.parametrize("first_on", [date(2027, 1, 29), date(2027, 1, 30), date(2027, 1, 31), date(2028, 2, 29)])
def test_a_start_at_the_end_of_a_month_loses_no_row(first_on: date) -> None:
    until_on = first_on.replace(year=first_on.year + 1, day=28)
    slices = schedule(1000, first_on, until_on)
    assert len(slices) == 13
    assert slices[0].first_on == first_on
    assert slices[0].minor > 0, "even a single day of thirty cents is not rounded away"
    assert sum(s.minor for s in slices) == 1000


@pytest.mark.parametrize("months", [1, 12, 24])
def test_sums_are_exact_for_every_start_day_of_four_years(months: int) -> None:
    """Each day on which a term of whole months may begin, the leap day among them; no month of it without its row."""
    for n in range(4 * 365 + 1):
        first_on = date(2027, 1, 1) + timedelta(days=n)
        until_on = add_months(first_on, months)
        for minor in (1, 1_000, 35_880):
            slices = schedule(minor, first_on, until_on)
            assert sum(s.minor for s in slices) == minor, first_on
            assert len(slices) == months + (first_on.day > 1), first_on
            assert (slices[0].first_on, slices[-1].until_on) == (first_on, until_on)
            assert all(a.until_on == b.first_on for a, b in pairwise(slices))


@given(amounts, days_of_a_decade, lengths, st.data())
def test_a_cut_loses_nothing_and_can_be_cut_again(minor: int, first_on: date, length: int, data: st.DataObject) -> None:
    until_on = first_on + timedelta(days=length)
    slices = schedule(minor, first_on, until_on)
    at = first_on + timedelta(days=data.draw(st.integers(-3, length + 3)))
    before, after = cut(slices, at)
    assert sum(s.minor for s in (*before, *after)) == minor
    assert all(s.until_on <= at for s in before)
    assert all(s.first_on >= at for s in after)
    exact = sum((part for day, part in by_day(minor, first_on, until_on).items() if day < at), Fraction(0))
    assert abs(earned(slices, at) - exact) <= len(slices), "a minor unit for each month at most"
    assert cut(before, at) == (before, ())


def test_a_router_given_away_with_twelve_months_is_paid_for_by_their_price() -> None:
    """360.00 for a router worth 120.00 and twelve months worth 360.00: 90.00 at once, 270.00 by days."""
    start, end = date(2027, 1, 1), date(2028, 1, 1)
    router = Promise("Router", "revenue-equipment", 12_000, start)
    service = Promise("Fibre 100", "revenue-recurring", 36_000, start, end)
    first, second = plan(36_000, [router, service])
    assert first.slices == (Slice(start, start + timedelta(days=1), 9_000),)
    assert second.minor == 27_000
    assert [s.minor for s in second.slices[:5]] == [2293, 2072, 2293, 2220, 2293]


def test_an_upgrade_plans_only_what_was_not_earned_yet() -> None:
    start, middle, end = date(2027, 1, 1), date(2027, 7, 16), date(2028, 1, 1)
    before = plan(36_500, [Promise("Fibre 100", "revenue-recurring", 36_500, start, end)])
    kept, anew = modify(before, middle, 10_000, [Promise("Fibre 500", "revenue-recurring", 50_000, middle, end)])
    assert earned(kept[0].slices, end) == earned(before[0].slices, middle) == 19_600
    assert sum(p.minor for p in anew) == 36_500 - 19_600 + 10_000
    assert {p.promise.name for p in anew} == {"Fibre 500"}
    assert all(s.first_on >= middle for p in anew for s in p.slices)


promises = st.builds(
    lambda worth, start, length: Promise("p", "r", worth, start, start + timedelta(days=length) if length else None),
    st.integers(1, 10**7),
    st.dates(date(2027, 1, 1), date(2027, 6, 1)),
    st.integers(0, 500),
)


@given(st.integers(0, 10**8), st.lists(promises, min_size=1, max_size=4), st.data())
def test_allocation_and_every_later_change_keep_the_price_to_the_minor_unit(
    price: int, promised: list[Promise], data: st.DataObject
) -> None:
    planned: list[Planned] = plan(price, promised)
    worth = sum(p.stand_alone_minor for p in promised)
    shares = largest_remainder(price, [Fraction(price * p.stand_alone_minor, worth) for p in promised])
    assert [p.minor for p in planned] == shares
    total, at = price, date(2027, 1, 1)
    for _ in range(data.draw(st.integers(0, 3))):
        at += timedelta(days=data.draw(st.integers(0, 200)))
        added = data.draw(st.integers(-(10**7), 10**7))
        gone = sum(earned(p.slices, at) for p in planned)
        kept, anew = modify(planned, at, added, [Promise("rest", "r", 1, at, at + timedelta(days=90))])
        total += added
        assert sum(p.minor for p in kept) == gone, "what was earned stays"
        planned = [*kept, *anew]
        assert sum(p.minor for p in planned) == total


def test_what_remains_cannot_lie_in_the_past() -> None:
    with pytest.raises(ValueError, match="or later"):
        modify([], date(2027, 2, 1), 100, [Promise("p", "r", 1, date(2027, 1, 31))])
    with pytest.raises(ValueError, match="no day"):
        schedule(100, date(2027, 1, 1), date(2027, 1, 1))
    with pytest.raises(ValueError, match="weights"):
        plan(100, [Promise("p", "r", 0, date(2027, 1, 1))])

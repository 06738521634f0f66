"""What periods cost by changes, pauses, cycles and anchors, against an oracle that walks day by day, in fractions.

The oracle knows nothing of periods but on which days one begins, and nothing of stretches: it asks each day what held.
"""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_bridge.billing.cycle import Calendar
from billing_bridge.rating.due import Charged, DueKey, Facts, due
from billing_bridge.rating.line import Usage
from billing_bridge.rating.proration import Change, DaySpan, Pause
from controller.domain.identity import OfferingVersionId
from controller.domain.price import CYCLES, Cycle, Discount, Flat, PricePlan
from controller.domain.tariff import TariffVersion
from tests.support.billing_fakes import tariff
from tests.support.entitlement_oracle import DAY, Oracle, begins, half_up

ZONE = ZoneInfo("Europe/Berlin")
A, B, C = (OfferingVersionId(v) for v in "ABC")
START = date(2027, 11, 20)


class World(Oracle):
    """The oracle's facts, billed by the engine."""

    def bill(self, charged: dict[DueKey, Charged], today: date) -> int:
        """One run of the engine over everything; how many differences it found."""
        facts = Facts(self.changes, self.tariffs, Usage(), charged, list(self.pauses.values()))
        found = []
        for cycle in sorted({t.plan.cycle for t in self.tariffs.values()}):
            periods = Calendar(self.anchor, self.phase).periods(self.earliest, today, cycle)
            found += due(facts, periods, today, ROUND_HALF_UP, ZONE, cycle)
        for d in found:
            b = charged.get(d.key, Charged())
            assert d.before == b
            charged[d.key] = Charged(
                b.net_minor + d.net.minor, b.octets + d.octets, b.days + d.days, b.charges + 1, d.span
            )
        return len(found)


def priced(version: OfferingVersionId, fee: Decimal, cycle: Cycle) -> TariffVersion:
    plan = PricePlan(prices=(Flat(code="fee", amount=fee, each=True),), cycle=cycle)
    return replace(tariff(version, "0"), plan=plan)


days = st.integers(0, 150).map(lambda n: START + timedelta(days=n))
changes = st.tuples(st.just("change"), days, st.sampled_from([A, B, C, None]), st.integers(1, 3))
pauses = st.tuples(st.just("pause"), days, st.integers(0, 2), st.integers(0, 40), st.sampled_from([0, 0, 25, 50, 100]))
runs = st.tuples(st.just("run"), days)
fees = st.decimals("0", "999.99", places=2)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 31),
    days,
    st.lists(st.tuples(fees, st.sampled_from(CYCLES)), min_size=3, max_size=3),
    st.lists(changes | pauses | runs, min_size=1, max_size=10),
)
def test_charges_of_any_changes_holds_and_resumes_equal_the_day_by_day_oracle(anchor, phase, prices, steps) -> None:  # type: ignore[no-untyped-def]
    """Facts come in any order, each run charges the difference to what it then knows, and no fact is refused."""
    world = World(anchor, phase, {v: priced(v, *price) for v, price in zip((A, B, C), prices, strict=True)})
    charged: dict[DueKey, Charged] = {}
    for step in steps:
        match step:
            case ("change", on, version, quantity):
                world.changes = sorted([*world.changes, Change(on, version, quantity)], key=lambda c: c.on)
            case ("pause", on, number, length, percent):
                world.pauses[number] = Pause(DaySpan(on, on + timedelta(days=length)), percent)
            case ("run", today):
                world.bill(charged, today)
    today = START + timedelta(days=200)
    world.bill(charged, today)
    wanted = world.owed(today + DAY)
    found: dict[tuple[str, date, int], int] = {}
    for key, sums in charged.items():
        percent = int(key.code.partition("~")[2] or 100)
        if sums.net_minor:
            found[key.version_id, key.period_first_on, percent] = sums.net_minor
    assert found == wanted
    assert world.bill(charged, today) == 0


def test_30_to_60_on_day_11_credits_20_charges_40_and_the_whole_is_50() -> None:
    """Row F3, by a fee in advance that was charged when the period began."""
    world = World(
        1, date(2026, 9, 1), {A: priced(A, Decimal("30.00"), "month"), B: priced(B, Decimal("60.00"), "month")}
    )
    world.changes = [Change(date(2026, 9, 1), A)]
    charged: dict[DueKey, Charged] = {}
    world.bill(charged, date(2026, 9, 1))
    assert [c.net_minor for c in charged.values()] == [3000]
    world.changes.append(Change(date(2026, 9, 11), B))
    facts = Facts(world.changes, world.tariffs, Usage(), charged)
    found = due(facts, [DaySpan(date(2026, 9, 1), date(2026, 10, 1))], date(2026, 9, 11), ROUND_HALF_UP, ZONE)
    assert [(d.key.version_id, str(d.net)) for d in found] == [(A, "-20.00 EUR"), (B, "40.00 EUR")]
    world.bill(charged, date(2026, 9, 11))
    assert [c.net_minor for c in charged.values()] == [1000, 4000]


@given(fees, fees, st.integers(1, 31), st.integers(2027, 2029), st.integers(1, 12))
def test_for_every_day_and_price_the_parts_sum_to_the_whole(
    old: Decimal, new: Decimal, day: int, year: int, month: int
) -> None:
    """A fee that does not change costs the same whether or not the days before and after a day are told apart."""
    last = calendar.monthrange(year, month)[1]
    first, on = date(year, month, 1), date(year, month, min(day, last))
    parts = [Fraction(old) * (on - first).days / last, Fraction(new) * (last - (on - first).days) / last]
    world = World(1, first, {A: priced(A, old, "month"), B: priced(B, new, "month")})
    world.changes = [Change(first, A), Change(on, B)]
    charged: dict[DueKey, Charged] = {}
    world.bill(charged, on)
    assert sum(c.net_minor for c in charged.values()) == sum(map(half_up, parts))
    if old == new:
        assert abs(sum(map(half_up, parts)) - half_up(Fraction(old))) <= 1


def test_up_down_suspended_five_days_resumed_and_up_again_in_one_month() -> None:
    """Row F4: 30.00, 60.00 from the 5th, 30.00 from the 9th, paused 12th to 16th, 90.00 from the 21st."""
    prices = {A: "30.00", B: "60.00", C: "90.00"}
    world = World(1, date(2026, 9, 1), {v: priced(v, Decimal(p), "month") for v, p in prices.items()})
    for on, version in ((1, A), (5, B), (9, A), (21, C)):
        world.changes.append(Change(date(2026, 9, on), version))
    world.pauses[1] = Pause(DaySpan(date(2026, 9, 12), date(2026, 9, 17)), 0)
    charged: dict[DueKey, Charged] = {}
    world.bill(charged, date(2026, 9, 30))
    assert {key.version_id: c.net_minor for key, c in charged.items()} == {A: 400 + 700, B: 800, C: 3000}
    assert sum(world.owed(date(2026, 9, 30)).values()) == 4900


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize("anchor", [1, 28, 29, 30, 31])
def test_periods_of_ten_years_touch_and_begin_where_the_oracle_says(anchor: int, cycle: Cycle) -> None:
    phase = date(2026, 8, 30)
    periods = Calendar(anchor, phase).periods(date(2024, 2, 1), date(2034, 2, 1), cycle)
    assert all(a.until_on == b.first_on for a, b in pairwise(periods))
    assert date(2024, 2, 1) in periods[0]
    assert date(2034, 2, 1) in periods[-1]
    assert {p.first_on for p in periods} <= begins(anchor, cycle, phase)
    if cycle == "month" and anchor == 31:
        firsts = [p.first_on.isoformat() for p in periods if p.first_on.year == 2028][:4]
        assert firsts == ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]


def test_a_discount_gives_its_share_of_what_goes_on_during_a_pause() -> None:
    plan = PricePlan(prices=(Flat(code="fee", amount=Decimal("30.00")), Discount(code="promo", percent=Decimal(50))))
    world = World(1, date(2026, 9, 1), {A: replace(tariff(A, "0"), plan=plan)})
    world.changes = [Change(date(2026, 9, 1), A)]
    world.pauses[1] = Pause(DaySpan(date(2026, 9, 11), date(2026, 9, 21)), 20)
    charged: dict[DueKey, Charged] = {}
    world.bill(charged, date(2026, 9, 1))
    assert {key.code: c.net_minor for key, c in charged.items()} == {"fee": 2000, "fee~20": 200, "promo": -1100}

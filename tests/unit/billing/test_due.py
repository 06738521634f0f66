"""Differences: what is due is what a period costs today, less what was charged for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.rating.due import Charged, Due, DueKey, Facts, due
from billing_bridge.rating.line import Line, Octets, Usage
from billing_bridge.rating.proration import Change, DaySpan, holdings
from billing_bridge.rating.rate import rate
from controller.domain.charge import ChargeKind
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Discount, Flat, PricePlan
from controller.domain.units import GB
from tests.support.billing_fakes import tariff

BERLIN = ZoneInfo("Europe/Berlin")
A, B = OfferingVersionId("A"), OfferingVersionId("B")
SEPTEMBER = DaySpan(date(2026, 9, 1), date(2026, 10, 1))
PRICES = {A: tariff("A", "30.00", included=100 * GB), B: tariff("B", "60.00", included=200 * GB, overage="0.25")}


FEE = DueKey(ChargeKind.RECURRING, SEPTEMBER.first_on, A, "fee")


def downloaded(by_day: dict[date, int]) -> Usage:
    return Usage({day: Octets(octets // 3, octets - octets // 3) for day, octets in by_day.items()})


def differences(facts: Facts, today: date) -> list[Due]:
    return due(facts, [SEPTEMBER], today, ROUND_HALF_UP, BERLIN)


def data_lines(changes: list[Change], used: dict[date, int]) -> list[Line]:
    held = holdings(changes, SEPTEMBER, {v: p.offering_id for v, p in PRICES.items()})
    lines = [line for v, h in held.items() for line in rate(PRICES[v], h, BERLIN, downloaded(used))]
    return [line for line in lines if line.code == "data"]


def apply(charged: dict[DueKey, Charged], found: list[Due]) -> dict[DueKey, Charged]:
    """What was charged after these differences were."""
    after = dict(charged)
    for d in found:
        b = d.before
        after[d.key] = Charged(b.net_minor + d.net.minor, b.octets + d.octets, b.days + d.days, b.charges + 1, d.span)
    return after


def test_upgrade_on_day_11_of_a_charged_month_credits_20_and_charges_40() -> None:
    charged = {FEE: Charged(3000, 0, 30, 1, SEPTEMBER)}
    changes = [Change(date(2026, 8, 1), A), Change(date(2026, 9, 11), B)]
    found = differences(Facts(changes, PRICES, Usage(), charged), date(2026, 9, 11))
    assert [(d.key.version_id, str(d.net), d.days) for d in found] == [(A, "-20.00 EUR", -20), (B, "40.00 EUR", 20)]
    assert [(d.span.first_on.day, d.span.until_on) for d in found] == [(11, date(2026, 10, 1))] * 2


def test_second_upgrade_in_one_month_credits_the_plan_not_the_last_payment() -> None:
    """Trap T42: 30 → 60 on day 11, → 30 again on day 21: the month costs 10 + 20 + 10."""
    charged: dict[DueKey, Charged] = {}
    changes = [Change(date(2026, 9, 1), A)]
    total = 0
    for day, plan in ((1, None), (11, B), (21, A)):
        if plan is not None:
            changes.append(Change(date(2026, 9, day), plan))
        found = differences(Facts(changes, PRICES, Usage(), charged), date(2026, 9, day))
        charged = apply(charged, found)
        total += sum(d.net.minor for d in found)
    assert total == 4000


def test_usage_waits_for_the_end_of_its_period() -> None:
    used = {date(2026, 9, 3): 150 * GB}
    facts = Facts([Change(date(2026, 9, 1), A)], PRICES, downloaded(used), {})
    before = differences(facts, date(2026, 9, 30))
    after = differences(facts, date(2026, 10, 1))
    assert [d.key.kind for d in before] == [ChargeKind.RECURRING]
    usage = [d for d in after if d.key.kind is ChargeKind.USAGE]
    assert [(d.net, d.octets) for d in usage] == [(Money(2500, "EUR"), 50 * GB)]


def test_late_usage_is_charged_as_the_difference() -> None:
    facts = Facts([Change(date(2026, 9, 1), A)], PRICES, downloaded({date(2026, 9, 3): 150 * GB}), {})
    charged = apply({}, differences(facts, date(2026, 10, 1)))
    late = Facts(facts.changes, PRICES, downloaded({date(2026, 9, 3): 151 * GB}), charged)
    found = differences(late, date(2026, 11, 1))
    assert [(d.key.kind, d.net, d.octets) for d in found] == [(ChargeKind.USAGE, Money(50, "EUR"), GB)]


def test_included_volume_is_prorated_by_the_day_like_the_fee() -> None:
    changes = [Change(date(2026, 8, 1), A), Change(date(2026, 9, 11), B)]
    first, second = data_lines(changes, {date(2026, 9, 10): 40 * GB, date(2026, 9, 11): 133 * GB})
    assert first.figures["included_octets"] == 33_333_333_334  # a fraction of an octet is the subscriber's
    assert first.octets == 40 * GB - 33_333_333_334
    assert (second.figures["used_octets"], second.octets) == (133 * GB, 0)


def test_overage_is_exact_to_the_octet() -> None:
    changes, day = [Change(date(2026, 9, 1), A)], date(2026, 9, 1)
    # 0.01 GB × 0.50 = half a cent, rounded up
    for octets, over, minor in ((0, 0, 0), (10_000_000, 10_000_000, 1), (9_999_999, 9_999_999, 0)):
        (line,) = data_lines(changes, {day: 100 * GB + octets})
        assert (line.octets, Money.rounded(line.exact, "EUR", ROUND_HALF_UP).minor) == (over, minor)


def test_a_version_that_lost_its_days_is_credited_in_full() -> None:
    charged = {FEE: Charged(3000, 0, 30, 1, SEPTEMBER)}
    changes = [Change(date(2026, 9, 1), A), Change(date(2026, 9, 1), B)]
    found = differences(Facts(changes, PRICES, Usage(), charged), date(2026, 9, 2))
    assert [(d.key.version_id, d.net.minor) for d in found] == [(A, -3000), (B, 6000)]


change_days = st.integers(0, 59).map(lambda n: date(2026, 8, 15) + timedelta(days=n))
steps = st.lists(
    st.tuples(change_days, st.sampled_from([A, B, None]), st.dictionaries(change_days, st.integers(0, 300 * GB))),
    max_size=5,
)


@given(steps)
def test_whatever_is_learned_when_all_differences_sum_to_the_price_of_today(
    learned: list[tuple[date, OfferingVersionId | None, dict[date, int]]],
) -> None:
    """Facts arrive in any order; after the last run the charges sum to what one run knowing everything would charge."""
    charged: dict[DueKey, Charged] = {}
    changes: list[Change] = []
    used: dict[date, int] = {}
    today = date(2026, 10, 20)
    for on, version, more in [*learned, (date(2026, 9, 5), A, {})]:
        changes = sorted([*changes, Change(on, version)], key=lambda c: c.on)
        used = {**used, **{d: used.get(d, 0) + octets for d, octets in more.items()}}
        found = differences(Facts(changes, PRICES, downloaded(used), charged), today)
        charged = apply(charged, found)
    at_once = apply({}, differences(Facts(changes, PRICES, downloaded(used), {}), today))
    assert {k: c.net_minor for k, c in charged.items() if c.net_minor} == {k: c.net_minor for k, c in at_once.items()}
    assert differences(Facts(changes, PRICES, downloaded(used), charged), today) == []


def test_fees_in_arrears_and_discounts_on_them_wait_for_the_end_of_the_period() -> None:
    prices = (
        Flat(code="now", amount=Decimal("10.00")),
        Flat(code="after", amount=Decimal("20.00"), arrears=True),
        Discount(code="all", percent=Decimal(10)),
        Discount(code="half", percent=Decimal(50), of=("now",)),
    )
    facts = Facts([Change(date(2026, 9, 1), A)], {A: replace(PRICES[A], plan=PricePlan(prices=prices))})
    first = differences(facts, date(2026, 9, 2))
    assert {d.key.code: d.net.minor for d in first} == {"now": 1000, "half": -500}
    then = differences(replace(facts, charged=apply({}, first)), date(2026, 10, 1))
    assert {d.key.code: d.net.minor for d in then} == {"after": 2000, "all": -300}
    assert differences(replace(facts, charged=apply(apply({}, first), then)), date(2026, 9, 2)) == []

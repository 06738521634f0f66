"""Differences: what is due is what a period costs today, less what was charged for it."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP

from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.rating.overage import overage
from billing_bridge.rating.proration import Change, DaySpan, entitled
from billing_bridge.rating.rate import Charged, Due, DueKey, Facts, due
from controller.domain.charge import ChargeKind
from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.units import GB
from tests.support.billing_fakes import tariff

A, B = OfferingVersionId("A"), OfferingVersionId("B")
SEPTEMBER = DaySpan(date(2026, 9, 1), date(2026, 10, 1))
PRICES = {A: tariff("A", "30.00", included=100 * GB), B: tariff("B", "60.00", included=200 * GB, overage="0.25")}


def apply(charged: dict[DueKey, Charged], found: list[Due]) -> dict[DueKey, Charged]:
    """What was charged after these differences were."""
    after = dict(charged)
    for d in found:
        b = d.before
        after[d.key] = Charged(b.net_minor + d.net.minor, b.octets + d.octets, b.days + d.days, b.charges + 1, d.span)
    return after


def test_upgrade_on_day_11_of_a_charged_month_credits_20_and_charges_40() -> None:
    key = DueKey(ChargeKind.RECURRING, SEPTEMBER.first_on, A)
    charged = {key: Charged(3000, 0, 30, 1, SEPTEMBER)}
    changes = [Change(date(2026, 8, 1), A), Change(date(2026, 9, 11), B)]
    found = due(Facts(changes, PRICES, {}, charged), [SEPTEMBER], date(2026, 9, 11), ROUND_HALF_UP)
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
        found = due(Facts(changes, PRICES, {}, charged), [SEPTEMBER], date(2026, 9, day), ROUND_HALF_UP)
        charged = apply(charged, found)
        total += sum(d.net.minor for d in found)
    assert total == 4000


def test_usage_waits_for_the_end_of_its_period() -> None:
    used = {date(2026, 9, 3): 150 * GB}
    facts = Facts([Change(date(2026, 9, 1), A)], PRICES, used, {})
    before = due(facts, [SEPTEMBER], date(2026, 9, 30), ROUND_HALF_UP)
    after = due(facts, [SEPTEMBER], date(2026, 10, 1), ROUND_HALF_UP)
    assert [d.key.kind for d in before] == [ChargeKind.RECURRING]
    usage = [d for d in after if d.key.kind is ChargeKind.USAGE]
    assert [(d.net, d.octets) for d in usage] == [(Money(2500, "EUR"), 50 * GB)]


def test_late_usage_is_charged_as_the_difference() -> None:
    facts = Facts([Change(date(2026, 9, 1), A)], PRICES, {date(2026, 9, 3): 150 * GB}, {})
    charged = apply({}, due(facts, [SEPTEMBER], date(2026, 10, 1), ROUND_HALF_UP))
    late = Facts(facts.changes, PRICES, {date(2026, 9, 3): 151 * GB}, charged)
    found = due(late, [SEPTEMBER], date(2026, 11, 1), ROUND_HALF_UP)
    assert [(d.key.kind, d.net, d.octets) for d in found] == [(ChargeKind.USAGE, Money(50, "EUR"), GB)]


def test_included_volume_is_prorated_by_the_day_like_the_fee() -> None:
    changes = [Change(date(2026, 8, 1), A), Change(date(2026, 9, 11), B)]
    old, new = entitled(changes, SEPTEMBER, PRICES, ROUND_HALF_UP)
    used = {date(2026, 9, 10): 40 * GB, date(2026, 9, 11): 133 * GB}
    first, second = (overage(held, PRICES[held.version_id], used, ROUND_HALF_UP) for held in (old, new))
    assert first.included_octets == 33_333_333_334  # a fraction of an octet is the subscriber's
    assert first.over_octets == 40 * GB - 33_333_333_334
    assert (second.used_octets, second.over_octets) == (133 * GB, 0)


def test_overage_is_exact_to_the_octet() -> None:
    (held,) = entitled([Change(date(2026, 9, 1), A)], SEPTEMBER, PRICES, ROUND_HALF_UP)
    at = {date(2026, 9, 1): 100 * GB}
    assert overage(held, PRICES[A], at, ROUND_HALF_UP).over_octets == 0
    beyond = {date(2026, 9, 1): 100 * GB + 10_000_000}  # 0.01 GB × 0.50 = half a cent, rounded up
    assert overage(held, PRICES[A], beyond, ROUND_HALF_UP).amount == Money(1, "EUR")
    assert overage(held, PRICES[A], {date(2026, 9, 1): 100 * GB + 9_999_999}, ROUND_HALF_UP).amount == Money(0, "EUR")


def test_a_version_that_lost_its_days_is_credited_in_full() -> None:
    key = DueKey(ChargeKind.RECURRING, SEPTEMBER.first_on, A)
    charged = {key: Charged(3000, 0, 30, 1, SEPTEMBER)}
    changes = [Change(date(2026, 9, 1), A), Change(date(2026, 9, 1), B)]
    found = due(Facts(changes, PRICES, {}, charged), [SEPTEMBER], date(2026, 9, 2), ROUND_HALF_UP)
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
        found = due(Facts(changes, PRICES, used, charged), [SEPTEMBER], today, ROUND_HALF_UP)
        charged = apply(charged, found)
    at_once = apply({}, due(Facts(changes, PRICES, used, {}), [SEPTEMBER], today, ROUND_HALF_UP))
    assert {k: c.net_minor for k, c in charged.items() if c.net_minor} == {k: c.net_minor for k, c in at_once.items()}
    assert due(Facts(changes, PRICES, used, charged), [SEPTEMBER], today, ROUND_HALF_UP) == []

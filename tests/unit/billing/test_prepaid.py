"""Prepaid spends what postpaid would bill, never the same money twice, and survives repeats and silence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.rating.metered import Share, cost
from billing_bridge.rating.prepaid import Prepaid, expire, grant, report, top_up
from controller.domain.money import Money
from controller.domain.price import Graduated, Metered, Overage, Package, Tier, Volume
from controller.domain.units import GB, MB

NOW = datetime(2026, 9, 1, tzinfo=UTC)
SOON = NOW + timedelta(minutes=10)
PRICES: list[Metered] = [
    Overage(code="d", price=Decimal("1.37"), unit="MB", included=3 * MB),
    Graduated(
        code="g",
        unit="MB",
        tiers=(Tier(up_to=2 * MB, price=Decimal("0.10"), flat=Decimal("0.05")), Tier(price=Decimal("0.333"))),
    ),
    Package(code="p", price=Decimal("0.25"), size=MB),
]


def prepaid(balance: str, price: Metered | None = None) -> Prepaid:
    of = price or Overage(code="d", price=Decimal("1.00"), unit="MB")
    return Prepaid(of, Share(30, 30), "EUR", ROUND_HALF_UP, int(Decimal(balance) * 100))


def test_two_sessions_cannot_spend_the_same_last_megabyte() -> None:
    state = prepaid("1.00")
    state, first = grant(state, "a", MB, SOON)
    state, second = grant(state, "b", MB, SOON)
    assert (first, second) == (MB, 0)
    state, debit = report(state, "a", MB)
    assert (debit, state.balance_minor) == (100, 0)
    assert grant(state, "c", GB, SOON)[1] == 0


@pytest.mark.parametrize("used", [0, 3 * MB, 49 * MB, 50 * MB, 120 * MB])
def test_an_empty_balance_lasts_for_nothing_however_little_a_unit_costs(used: int) -> None:
    """At 0.10 a GB what rounds to nothing would be 50 MB at a time, for ever."""
    cheap = Overage(code="d", price=Decimal("0.10"), unit="GB")
    state, _ = report(prepaid("0.00", cheap), "a", used)
    assert grant(state, "b", GB, SOON)[1] == 0
    assert grant(top_up(state, 5), "b", GB, SOON)[1] > 0
    included = replace(prepaid("0.00", replace(cheap, included=2 * GB)), used=used)
    assert grant(included, "b", 9 * GB, SOON)[1] == 2 * GB - used, "what is included costs nothing"


def test_a_report_repeated_or_out_of_order_debits_nothing_twice() -> None:
    state, _ = grant(prepaid("10.00"), "a", 5 * MB, SOON)
    debits = []
    for total in (2 * MB, 2 * MB, MB, 3 * MB, 3 * MB):
        state, debit = report(state, "a", total)
        debits.append(debit)
    assert (debits, state.balance_minor, state.used) == ([200, 0, 0, 100, 0], 700, 3 * MB)


def test_a_session_that_went_silent_gives_back_and_its_late_report_still_counts() -> None:
    state, got = grant(prepaid("1.00"), "a", MB, SOON)
    assert (got, grant(state, "b", MB, SOON)[1]) == (MB, 0)
    assert expire(state, SOON - timedelta(seconds=1)) == state
    state = expire(state, SOON)
    state, other = grant(state, "b", MB, SOON + timedelta(hours=1))
    assert other == MB
    state, _ = report(state, "b", MB)
    state, debit = report(state, "a", MB)
    assert (debit, state.balance_minor) == (100, -100)
    assert grant(top_up(state, 100), "b", MB, SOON)[1] == 0
    assert grant(top_up(state, 200), "b", MB, SOON)[1] == MB


def test_asking_again_does_not_add_up() -> None:
    state = prepaid("10.00")
    for _ in range(5):
        state, got = grant(state, "a", 4 * MB, SOON)
    assert (got, state.granted) == (4 * MB, 4 * MB)


def test_what_cannot_be_prepaid_is_refused() -> None:
    with pytest.raises(ValueError, match="falls with use"):
        prepaid("1.00", Volume(code="v", tiers=(Tier(price=Decimal(1)),)))
    with pytest.raises(ValueError, match="positive"):
        top_up(prepaid("1.00"), 0)


steps = st.lists(
    st.tuples(st.sampled_from(["grant", "report", "expire", "repeat"]), st.sampled_from("abc"), st.integers(0, 4 * MB)),
    max_size=25,
)


@given(st.sampled_from(PRICES), st.integers(0, 1_000), steps)
def test_honest_sessions_never_overdraw_and_pay_what_postpaid_bills(
    price: Metered, balance: int, said: list[tuple[str, str, int]]
) -> None:
    state = replace(prepaid("0", price), balance_minor=balance)
    now, totals, debited = NOW, dict.fromkeys("abc", 0), 0
    for what, session, octets in said:
        if what == "grant":
            state, _ = grant(state, session, octets, now + timedelta(minutes=10))
        elif what == "expire":
            now += timedelta(minutes=5)
            state = expire(state, now)
        else:
            known = state.sessions.get(session)
            if what == "report" and known is not None:
                totals[session] += min(octets, known.open)
            state, debit = report(state, session, totals[session])
            debited += debit
        assert state.balance_minor >= 0
        assert state.balance_minor + debited == balance
    postpaid = Money.rounded(cost(price, sum(totals.values()), Share(30, 30)).exact, "EUR", ROUND_HALF_UP)
    assert debited == postpaid.minor

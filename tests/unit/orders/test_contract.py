"""Until when a customer is bound, and the fee of leaving early, by the contract's formula."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.price import Contract, EarlyTermination, Escalator, PricePlan
from controller.domain.tariff import TariffVersion
from erp.orders.contract import bound, early_termination
from tests.support.billing_fakes import tariff
from tests.support.plans import plan_of

BEGUN = date(2026, 1, 10)
YEARS = Contract(term_months=24, renewal_months=12, notice_days=30, remind_days=60)


def version(fee: str = "39.90", **terms: Any) -> TariffVersion:
    contract = replace(YEARS, early_termination=EarlyTermination(**terms))
    return replace(tariff("v", fee), plan=PricePlan(prices=plan_of(fee).prices, contract=contract))


@pytest.mark.parametrize(
    ("on", "renewals", "ends_on", "notice_on"),
    [
        (date(2026, 1, 10), 0, date(2028, 1, 10), date(2027, 12, 11)),
        (date(2028, 1, 9), 0, date(2028, 1, 10), date(2027, 12, 11)),
        (date(2028, 1, 10), 1, date(2029, 1, 10), date(2028, 12, 11)),
        (date(2030, 6, 1), 3, date(2031, 1, 10), date(2030, 12, 11)),
    ],
)
def test_a_contract_is_renewed_again_and_again(on: date, renewals: int, ends_on: date, notice_on: date) -> None:
    found = bound(YEARS, BEGUN, on)
    assert (found.renewals, found.ends_on, found.notice_on) == (renewals, ends_on, notice_on)
    assert found.remind_on == ends_on - timedelta(days=60)


def test_without_renewal_it_is_open_ended_after_its_term() -> None:
    once = Contract(term_months=12)
    assert bound(once, BEGUN, date(2027, 1, 9)).ends_on == date(2027, 1, 10)
    assert bound(once, BEGUN, date(2027, 1, 10)).ends_on is None


def test_an_end_of_a_month_does_not_drift() -> None:
    monthly = Contract(term_months=1, renewal_months=1)
    ends = [bound(monthly, date(2027, 12, 31), date(2027, 12, 31) + timedelta(days=n)).ends_on for n in (0, 31, 60, 91)]
    assert ends == [date(2028, 1, 31), date(2028, 2, 29), date(2028, 3, 31), date(2028, 4, 30)]


@pytest.mark.parametrize(
    ("terms", "amount"),
    [
        ({"percent_of_fees": Decimal(100)}, "399.00"),  # ten months of 39.90
        ({"percent_of_fees": Decimal(50)}, "199.50"),
        ({"amount": Decimal("240.00"), "declining": True}, "100.00"),  # 240 × 10 ÷ 24
        ({"amount": Decimal("240.00")}, "240.00"),
        ({"amount": Decimal("50.00"), "percent_of_fees": Decimal(25)}, "149.75"),
    ],
)
def test_leaving_in_month_14_of_24_costs_what_the_contract_says(terms: dict[str, Any], amount: str) -> None:
    # 10 March 2027 ends the fourteenth month: ten remain.
    found = early_termination(version(**terms), BEGUN, date(2027, 3, 10))
    assert (found.months_served, found.months_remaining, str(found.amount.amount)) == (14, 10, amount)
    assert early_termination(version(**terms), BEGUN, date(2027, 3, 11)).months_remaining == 9


def test_leaving_after_the_term_or_without_a_formula_costs_nothing() -> None:
    assert not early_termination(version(amount=Decimal(100)), BEGUN, date(2028, 1, 10)).amount
    assert not early_termination(version(amount=Decimal(100)), BEGUN, date(2040, 1, 10)).amount
    assert not early_termination(tariff("v", "39.90"), BEGUN, date(2026, 2, 1)).amount


@given(st.integers(0, 900), st.booleans(), st.decimals("0", "500", places=2))
def test_leaving_later_never_costs_more(days: int, declining: bool, amount: Decimal) -> None:
    terms = version(amount=amount, percent_of_fees=Decimal(70), declining=declining)
    day = BEGUN + timedelta(days=days)
    sooner, later = (early_termination(terms, BEGUN, d).amount.minor for d in (day, day + timedelta(days=1)))
    assert sooner >= later >= 0


def test_fees_of_months_to_come_are_those_that_the_escalator_makes_them() -> None:
    made = version("40.00", percent_of_fees=Decimal(50))
    assert made.plan.contract is not None
    rising = replace(made.plan.contract, escalator=Escalator(percent=Decimal(3)))
    made = replace(made, plan=replace(made.plan, contract=rising))
    begun = date(2026, 7, 1)
    late = early_termination(made, begun, date(2027, 8, 31))
    assert (late.months_served, str(late.amount.amount)) == (14, "206.00")  # ten months of 41.20, half of it
    early = early_termination(made, begun, date(2027, 4, 30))
    assert str(early.amount.amount) == "287.20"  # (2 × 40.00 + 12 × 41.20) ÷ 2
    assert early.steps[2] == "50 % of 2 × 40.00 + 12 × 41.20 = 287.2"

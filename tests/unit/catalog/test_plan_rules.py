"""What a price plan must not say, and that what it says survives being written down."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.price import PricePlan, ProductKind
from controller.domain.price_text import BadPrice, in_words, plan_from_data, plan_from_json, plan_to_json
from erp.catalog.errors import BadVersion
from erp.catalog.plan_rules import check_plan

FEE = {"model": "flat", "code": "fee", "amount": "39.90"}
WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = {"model": "free", "code": "night", "bands": [{"days": WEEK, "until_minute": 480}]}
DAY = {"model": "overage", "code": "day", "price": "0.05", "bands": [{"days": WEEK, "from_minute": 480}]}


def tiers(*ends: int | None) -> dict[str, Any]:
    said = [{"price": "0.1"} if end is None else {"up_to": end, "price": "0.2"} for end in ends]
    return {"model": "graduated", "code": "data", "tiers": said}


def calls(**more: Any) -> dict[str, Any]:
    return {"model": "calls", "code": "voice", "destinations": [{"prefix": "49", "price": "0.01", **more}]}


def check(plan: PricePlan, kind: ProductKind = ProductKind.INTERNET, currency: str = "EUR") -> None:
    check_plan(plan, currency, kind)


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ([{**FEE, "amount": "39.905"}], "decimals of EUR"),
        ([{**FEE, "amount": "-1"}], "negative"),
        ([{**FEE, "amount": "99999999999"}], "beyond"),
        ([FEE, FEE], "stands twice"),
        ([{**FEE, "label": "a\u0000b"}], "printable"),
        ([{**FEE, "code": "Fee"}], "a-z"),
        ([{**FEE, "window": {"months": 0}}], "months at least 1"),
        ([FEE, {"model": "discount", "code": "d", "percent": "10", "of": ["tv"]}], "of the same plan"),
        ([FEE, {"model": "discount", "code": "d", "percent": "101"}], "at most at 100"),
        ([{"model": "overage", "code": "data", "price": "0.0000001"}], "more than 6 decimals"),
        ([{"model": "overage", "code": "data", "price": "1", "included": -1}], "included octets"),
        (
            [{"model": "overage", "code": "a", "price": "1"}, {"model": "overage", "code": "b", "price": "1"}],
            "no hours",
        ),
        (
            [
                {"model": "overage", "code": "a", "price": "1"},
                {"model": "overage", "code": "b", "price": "1", "meter": "upstream-octets"},
            ],
            "charged twice",
        ),
        ([{"model": "package", "code": "p", "price": "1", "size": 0}], "at least one octet"),
        ([tiers()], "1 to 50"),
        ([tiers(10)], "without up_to"),
        ([tiers(20, 10, None)], "must rise"),
        ([tiers(None, 10)], "without up_to"),
        ([NIGHT], "mon 08:00 belongs to no price"),
        ([NIGHT, {**DAY, "bands": [{"days": WEEK, "from_minute": 465}]}], "mon 07:45 belongs to night and day"),
        ([NIGHT, {**DAY, "bands": [{"days": [*WEEK, "hol"], "from_minute": 480}]}], "hol 00:00 belongs to no price"),
        ([{**DAY, "bands": [{"days": WEEK, "from_minute": 7}]}], "multiples of 15"),
        ([{**DAY, "bands": [{"days": WEEK, "from_minute": 1320, "until_minute": 480}]}], "past midnight is two"),
        ([{"model": "percentile", "code": "p", "price": "1", "percent": 0}], "percent lies"),
        ([calls(prefix="49x")], "digits only"),
        ([calls(next_s=0)], "increments"),
        ([{"model": "calls", "code": "voice", "destinations": []}], "destinations"),
    ],
)
def test_what_could_not_be_charged_or_would_be_charged_twice_is_refused(prices: list[Any], message: str) -> None:
    with pytest.raises(BadVersion, match=message):
        check(plan_from_data({"prices": prices}))


def test_only_a_discount_gives_money_back() -> None:
    off = plan_from_data({"prices": [{**FEE, "amount": "-5.00", "window": {"months": 6}}]})
    check(off, ProductKind.DISCOUNT)
    with pytest.raises(BadVersion, match="negative"):
        check(off, ProductKind.ADD_ON)


def test_a_bundle_has_parts_and_nothing_else_has() -> None:
    parts = [{"offering_id": "a" * 32, "stand_alone": "30"}, {"offering_id": "b" * 32, "stand_alone": "20"}]
    bundle = plan_from_data({"prices": [FEE], "parts": parts})
    check(bundle, ProductKind.BUNDLE)
    with pytest.raises(BadVersion, match="two parts"):
        check(bundle, ProductKind.TV)
    with pytest.raises(BadVersion, match="two parts"):
        check(plan_from_data({"prices": [FEE]}), ProductKind.BUNDLE)


def test_a_price_of_yen_has_no_decimals() -> None:
    check(plan_from_data({"prices": [{**FEE, "amount": "3990"}]}), currency="JPY")
    with pytest.raises(BadVersion, match="0 decimals of JPY"):
        check(plan_from_data({"prices": [FEE]}), currency="JPY")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "an object"),
        ({}, "prices is missing"),
        ({"prices": [{"model": "gold", "code": "a"}]}, "one of flat"),
        ({"prices": [{**FEE, "amount": 39.9}]}, "amount as text"),
        ({"prices": [{**FEE, "amount": "1e9"}]}, "amount as text"),
        ({"prices": [{**FEE, "amount": "Infinity"}]}, "amount as text"),
        ({"prices": [{**FEE, "each": 1}]}, "true or false"),
        ({"prices": [{**FEE, "ammount": "1"}]}, "no field 'ammount'"),
        ({"prices": [FEE], "holidays": ["2026-02-30"]}, "a day"),
        ({"prices": [{**DAY, "bands": [{"days": ["Monday"]}]}]}, "one of mon"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(data: object, message: str) -> None:
    with pytest.raises(BadPrice, match=message):
        plan_from_data(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*list(FEE), "window"]), inner),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({"model": st.sampled_from(["flat", "overage", "x"])}, optional={
    "code": json_values, "amount": json_values, "price": json_values, "window": json_values, "included": json_values,
})))  # fmt: skip
def test_reading_raises_nothing_but_its_own_refusal(prices: list[object]) -> None:
    try:
        plan = plan_from_data({"prices": prices})
    except BadPrice:
        return
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_plan_survives_being_written_down_and_reads_like_a_sentence() -> None:
    data = {
        "prices": [FEE, NIGHT, DAY, {"model": "discount", "code": "promo", "percent": "50", "window": {"months": 6}}],
        "holidays": ["2026-12-25"],
        "contract": {"term_months": 24, "escalator": {"percent": "3"}, "early_termination": {"amount": "100"}},
    }
    plan = plan_from_data(data)
    check(plan)
    assert plan_from_json(plan_to_json(plan)) == plan
    assert json.loads(plan_to_json(plan))["prices"][0] == FEE
    assert plan.monthly_fee == Decimal("39.90")
    assert [in_words(price, "EUR") for price in plan.prices] == [
        "39.90 EUR a month",
        "not charged and not counted (mon,tue,wed,thu,fri,sat,sun 00:00–08:00)",
        "0.05 EUR per GB (mon,tue,wed,thu,fri,sat,sun 08:00–24:00)",
        "50 % off for 6 months",
    ]

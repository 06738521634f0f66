"""Monthly recurring revenue: opening and movements are the closing of every day, and every figure is made of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.mrr import routes, service
from billing_bridge.mrr.model import Movement, Timeline, Valuer, in_days, movements
from billing_bridge.mrr.service import BadDays, RecurringRevenue
from billing_bridge.rating.proration import Change, DaySpan, Pause
from billing_bridge.settings import BillingSettings
from controller.domain.identity import AccountId, OfferingVersionId, SubscriptionId
from controller.domain.price import Contract, Discount, Escalator, Flat, OneOff, Overage, PricePlan, Window
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin

A, B, YEAR, WEEK, PROMO, ONCE, GROSS, FREE, LATER = (OfferingVersionId(c * 32) for c in "abcdef012")
D = Decimal


def _of(version_id: OfferingVersionId, plan: PricePlan, name: str) -> TariffVersion:
    return replace(tariff(version_id, "0", name=name), plan=plan)


def _flat(amount: str, **more: object) -> Flat:
    return Flat(code="fee", amount=D(amount), **more)  # type: ignore[arg-type]


USAGE = Overage(code="data", price=D("0.05"))
PRICES = {
    A: tariff(A, "30.00"),
    B: tariff(B, "47.11", name="Fibre 250"),
    YEAR: _of(YEAR, PricePlan(prices=(_flat("100.00"),), cycle="year"), "Hosting"),
    WEEK: _of(WEEK, PricePlan(prices=(_flat("7.00", each=True),), cycle="week"), "Rental"),
    PROMO: _of(
        PROMO,
        PricePlan(
            prices=(_flat("40.00"), Discount(code="d", percent=D(50), window=Window(months=3))),
            contract=Contract(term_months=24, escalator=Escalator(percent=D(10), every_months=6)),
        ),
        "Promotion",
    ),
    ONCE: _of(ONCE, PricePlan(prices=(OneOff(code="visit", amount=D("49.00")),)), "Installation"),
    LATER: _of(LATER, PricePlan(prices=(_flat("12.34", arrears=True), USAGE)), "In arrears"),
    GROSS: _of(GROSS, PricePlan(prices=(_flat("11.90"),), tax_included=True), "With tax"),
    FREE: _of(
        FREE, PricePlan(prices=(_flat("9.00"), Discount(code="d", percent=D(100), window=Window(months=1)))), "Free"
    ),
}
ACCOUNT = AccountId("9" * 32)
UNTIL = date(2027, 6, 1)


def line(name: str, *changes: tuple[date, OfferingVersionId | None], pauses: tuple[Pause, ...] = ()) -> Timeline:
    return Timeline(SubscriptionId(name), ACCOUNT, [Change(on, version) for on, version in changes], pauses)


def told(*lines: Timeline) -> list[tuple[str, str, str]]:
    found = movements(lines, Valuer(PRICES, ZoneInfo("Europe/Berlin")), UNTIL)
    return [(m.on.isoformat()[2:], m.kind, str(m.amount.amount)) for m in found]


def test_an_account_is_new_once_comes_back_and_is_lost_with_the_last_that_has_a_fee() -> None:
    first = line("line", (date(2026, 3, 1), A), (date(2026, 3, 21), None), (date(2026, 4, 1), B))
    tv = line("tv", (date(2026, 3, 11), GROSS), (date(2026, 3, 21), None))
    visit = line("visit", (date(2026, 3, 1), ONCE))
    assert told(first, tv, visit) == [
        ("26-03-01", "new", "30.00"), ("26-03-11", "expansion", "10.00"), ("26-03-21", "churn", "-30.00"),
        ("26-03-21", "churn", "-10.00"), ("26-04-01", "reactivation", "47.11"),
    ]  # fmt: skip


def test_promotions_escalators_pauses_and_other_periods_move_it_on_their_day() -> None:
    half = Pause(DaySpan(date(2026, 4, 10), date(2026, 4, 20)), 50)
    assert told(line("p", (date(2026, 1, 31), PROMO), pauses=(half,))) == [
        ("26-01-31", "new", "20.00"), ("26-04-10", "contraction", "-10.00"), ("26-04-20", "expansion", "10.00"),
        ("26-04-30", "expansion", "20.00"), ("26-07-31", "expansion", "4.00"), ("27-01-31", "expansion", "4.40"),
    ]  # fmt: skip
    assert told(line("y", (date(2026, 2, 1), YEAR), (date(2026, 3, 1), WEEK))) == [
        ("26-02-01", "new", "8.33"), ("26-03-01", "expansion", "22.11"),
    ]  # fmt: skip
    assert told(line("f", (date(2026, 2, 1), FREE), (date(2026, 5, 1), None))) == [
        ("26-03-01", "expansion", "9.00"), ("26-05-01", "churn", "-9.00"),
    ]  # fmt: skip
    assert told(line("l", (date(2026, 2, 1), LATER))) == [("26-02-01", "new", "12.34")]
    whole = Pause(DaySpan(date(2026, 4, 10), date(2026, 4, 20)), 0)
    assert [kind for _, kind, _ in told(line("s", (date(2026, 4, 1), A), pauses=(whole,)))] == [
        "new", "contraction", "expansion",
    ]  # fmt: skip


DAYS = st.dates(date(2026, 1, 1), date(2026, 3, 31))
TIMELESS = {A: D(30), B: D("47.11"), YEAR: D(100) / 12, GROSS: D(10), None: D(0)}


@given(
    st.lists(st.lists(st.tuples(DAYS, st.sampled_from(list(TIMELESS))), max_size=5), max_size=3),
    st.lists(st.tuples(DAYS, DAYS, st.sampled_from([0, 25, 100])), max_size=2),
)
def test_every_day_closes_at_what_is_held_on_it(
    told_of: list[list[tuple[date, OfferingVersionId | None]]], told_pauses: list[tuple[date, date, int]]
) -> None:
    pauses = tuple(Pause(DaySpan(min(a, b), max(a, b)), percent) for a, b, percent in told_pauses)
    lines = [line(f"{n}", *sorted(each, key=lambda c: c[0]), pauses=pauses) for n, each in enumerate(told_of)]
    found = movements(lines, Valuer(PRICES, BERLIN), UNTIL) if lines else []
    opening, moved = in_days(found, date(2026, 1, 15))
    now = opening.get("EUR", 0)
    for n in range(120):
        day = date(2026, 1, 15) + timedelta(days=n)
        now += sum(moved.get("EUR", {}).get(day, {}).values())
        assert now == sum(_oracle(each, day) for each in lines)
    assert _lives(found)


def _oracle(own: Timeline, day: date) -> int:
    """Minor units: the last change up to the day, and the lowest share of the pauses on it."""
    held = [c.version_id for c in own.changes if c.on <= day]
    share = min([p.percent for p in own.pauses if p.span.first_on <= day < p.span.until_on], default=100)
    exact = TIMELESS[held[-1]] * share if held else D(0)
    return int(exact.quantize(D(1), ROUND_HALF_UP))


def _lives(found: list[Movement]) -> bool:
    """An account is new on one day at most, and comes back only later."""
    new, back = ({m.on for m in found if m.kind == kind} for kind in ("new", "reactivation"))
    return len(new) <= 1 and all(a < b for a in new for b in back)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, PRICES.values(), berlin(2027, 1, 10, 9))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


async def test_a_page_of_lines_keeps_no_more_of_them_than_it_shows_in_whatever_order_accounts_come(
    world: BillingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_AT_A_TIME", 2)
    revenue = RecurringRevenue(world.database, world.clock, BillingSettings(zone=BERLIN))
    for version in (A, B, A, B, A):
        await world.activate(version)
    today, key = revenue.today(), None
    moved = []
    while True:
        some = await revenue.movements(today, today, kind=None, currency=None, account_id=None, after=key, rows=2)
        assert len(some) <= 2
        if not some:
            break
        moved += some
        key = some[-1].key
    assert [m.key for m in moved] == sorted(m.key for m in moved)
    lines = {m.movement.subscription_id for m in moved}
    assert (len(moved), len(lines)) == (5, 5)
    first = await revenue.holders(today, currency=None, after=None, rows=3)
    rest = await revenue.holders(today, currency=None, after=first[-1].key, rows=3)
    held = [h.key for h in (*first, *rest)]
    assert held == sorted(held)
    assert [len(first), len(rest)] == [3, 2]
    assert {h.subscription_id for h in (*first, *rest)} == lines


async def test_the_sums_are_made_of_lines_over_http_too(world: BillingWorld) -> None:
    revenue = RecurringRevenue(world.database, world.clock, BillingSettings(zone=BERLIN))
    account = await world.customer()
    first = await world.activate(A, account)
    second = await world.activate(B)
    world.clock.move_to(berlin(2027, 2, 3, 23, 30))
    await world.change(first, A, B)
    await world.terminate(second)
    world.clock.move_to(berlin(2027, 2, 20, 9))
    days = (await revenue.report(date(2027, 1, 9), date(2027, 2, 20)))["EUR"]
    assert [(d.on, d.moved, d.closing) for d in days if d.moved] == [
        (date(2027, 1, 10), {"new": 7711}, 7711),
        (date(2027, 2, 3), {"expansion": 1711, "churn": -4711}, 4711),
    ]
    assert all(d.opening + sum(d.moved.values()) == d.closing for d in days)
    with pytest.raises(BadDays, match="has not come yet"):
        await revenue.report(date(2027, 2, 1), date(2027, 2, 21))
    async with api_client(routes.endpoints(revenue), clock=world.clock) as api:
        answer = (await api.get("/recurring-revenue", params={"since": "2027-02-01"})).json()
        total = answer["currencies"][0]["total"]
        assert (total["opening"]["amount"], total["churn"]["amount"], total["closing"]["amount"]) == (
            "77.11", "-47.11", "47.11",
        )  # fmt: skip
        assert "4.348125" in answer["definition"]
        query: dict[str, str | int] = {"since": "2027-01-01", "limit": 1}
        seen = []
        while True:
            page = (await api.get("/recurring-revenue/movements", params=query)).json()
            seen += page["items"]
            if page["next"] is None:
                break
            query["after"] = page["next"]
        assert sum(D(m["amount"]["amount"]) for m in seen) == D("47.11")
        (up,) = [m for m in seen if m["kind"] == "expansion"]
        assert (up["before"], up["after"]) == ("Fibre 100 (version 1)", "Fibre 250 (version 1)")
        (held,) = (await api.get("/recurring-revenue/lines")).json()["items"]
        assert (held["account_id"], held["value"]["amount"]) == (account, "47.11")
        assert (await api.get("/recurring-revenue", params={"since": "2020-01-01"})).status_code == 422

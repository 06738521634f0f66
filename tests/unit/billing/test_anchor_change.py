"""Another billing day for subscriptions that there are: the days until it comes are billed by their share."""

from __future__ import annotations

import calendar
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing_bridge import account_routes
from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.billing.cycle import Calendar
from billing_bridge.rating.due import Facts, due
from billing_bridge.rating.line import Usage
from billing_bridge.rating.proration import Change, DaySpan, Rest
from billing_bridge.settings import BillingSettings
from controller.domain.identity import OfferingVersionId
from controller.domain.price import Flat, PricePlan
from controller.store import audit
from controller.store.engine import Database
from erp.finance.model import Wanted as Invoices
from tests.support.api import api_client
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.entitlement_oracle import half_up

ZONE = ZoneInfo("Europe/Berlin")
PLAN = OfferingVersionId("a" * 32)
DAY = timedelta(days=1)


def is_anchor(day: date, anchor: int) -> bool:
    return day.day == min(anchor, calendar.monthrange(day.year, day.month)[1])


def owed(began: date, old: int, new: int, said: date, fee: Decimal, today: date) -> dict[date, int]:
    """The oracle: walks the days, knows on which ones a period begins, and asks how long the whole one is."""
    begins: list[date] = []
    day, changed_on = began - 40 * DAY, None
    while day <= today + 70 * DAY:
        if changed_on is None and is_anchor(day, old):
            begins.append(day)
            if day > said:
                changed_on = day
        elif changed_on is not None and is_anchor(day, new):
            begins.append(day)
        day += DAY
    found: dict[date, int] = {}
    for first, until in pairwise(begins):
        if first > today:
            break
        whole = (until - first).days
        if first == changed_on and not is_anchor(first, new):
            back = first
            while not is_anchor(back, new):
                back -= DAY
            whole = (until - back).days
        held = max(0, (until - max(first, began)).days)
        if held:
            found[first] = half_up(Fraction(fee) * held / whole)
    return {first: minor for first, minor in found.items() if minor}


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 31), st.integers(1, 31), st.dates(date(2027, 1, 1), date(2028, 3, 31)), st.integers(0, 400),
    st.decimals("0", "999.99", places=2),
)  # fmt: skip
def test_fees_before_and_after_a_change_of_anchor_equal_the_day_by_day_oracle(
    old: int, new: int, began: date, later: int, fee: Decimal
) -> None:
    said = began + later * DAY
    today = said + 100 * DAY
    priced = replace(tariff(PLAN, "0"), plan=PricePlan(prices=(Flat(code="fee", amount=fee),)))
    periods = Calendar(old, began, ((said, new),)).periods(began, today)
    assert all(one.until_on == two.first_on for one, two in pairwise(periods))
    facts = Facts([Change(began, PLAN)], {PLAN: priced}, Usage())
    found = {d.key.period_first_on: d.net.minor for d in due(facts, periods, today, ROUND_HALF_UP, ZONE)}
    assert found == owed(began, old, new, said, fee, today)


def test_a_change_within_the_period_of_another_one_takes_its_place() -> None:
    said = ((date(2026, 6, 11), 15), (date(2026, 6, 20), 31))
    periods = Calendar(1, date(2026, 1, 1), said).periods(date(2026, 6, 1), date(2026, 8, 1))
    assert periods[0] == DaySpan(date(2026, 6, 1), date(2026, 7, 1))
    assert periods[1] == Rest(date(2026, 7, 1), date(2026, 7, 31), 31)
    assert periods[2] == DaySpan(date(2026, 7, 31), date(2026, 8, 31))


def test_a_quarter_is_billed_to_its_end_and_its_rest_by_the_days_of_a_quarter() -> None:
    known = Calendar(1, date(2026, 1, 1), ((date(2026, 2, 3), 15),))
    assert known.period(date(2026, 2, 3), "quarter") == DaySpan(date(2026, 1, 1), date(2026, 4, 1))
    assert known.period(date(2026, 4, 1), "quarter") == Rest(date(2026, 4, 1), date(2026, 4, 15), 90)
    assert known.period(date(2026, 4, 15), "quarter") == DaySpan(date(2026, 4, 15), date(2026, 7, 15))
    assert known.period(date(2026, 2, 3), "week").days == 7


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff(PLAN, "31.00")], berlin(2026, 9, 1, 9))
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def test_the_billing_day_of_a_line_is_changed_by_decision_and_its_rest_is_billed_and_explained(
    world: BillingWorld,
) -> None:
    line = await world.activate(PLAN)
    await world.bill()
    world.clock.move_to(berlin(2026, 9, 11, 9))
    accounts = AccountBilling(world.database, world.clock, world.crm, BillingSettings(zone=BERLIN))
    async with api_client(account_routes.endpoints(accounts), clock=world.clock) as api:
        path = f"/accounts/{line.account_id}/anchor-day"
        assert (await api.put(path, json={"anchor_day": 0, "existing": True})).status_code == 422
        said = (await api.put(path, json={"anchor_day": 15, "existing": True})).json()
        assert said["changed"] == [{"subscription_id": line.subscription_id, "from_on": "2026-10-01"}]
        assert (await api.put(path, json={"anchor_day": 15, "existing": True})).json()["changed"] == []
    async with world.database.read() as conn:
        entry = next(
            e for e in await audit.entries(conn, before=None, limit=9) if json.loads(e["after"])["subscriptions"]
        )
    assert json.loads(entry["after"])["subscriptions"] == {line.subscription_id: "2026-10-01"}
    found = []
    for day in (berlin(2026, 9, 20), berlin(2026, 10, 2), berlin(2026, 10, 16), berlin(2026, 10, 17)):
        world.clock.move_to(day)
        wanted = Invoices(account_ids=[line.account_id], bill_run_id=await world.bill())
        for invoice in await world.finance.invoices(wanted, after=None, limit=9):
            found += await world.finance.lines(invoice.invoice_id)
    told = [(row.first_on, row.until_on, row.net.minor) for row in found]
    # 14 of the 30 days from 15 September to 14 October: 14.4667.
    assert told == [
        (date(2026, 10, 1), date(2026, 10, 15), 1447),
        (date(2026, 10, 15), date(2026, 11, 15), 3100),
    ]  # fmt: skip
    for row in found:
        explained = await world.explainer.explain(row.line_id)
        assert explained.intact, explained.faults

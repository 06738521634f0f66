"""A bill that should be there and is not waits for a person, is made when its cause was mended, or never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from billing_bridge.billing.model import DONE
from billing_bridge.checks.queue import GONE
from controller.domain.identity import BillRunId
from controller.domain.money import Money
from controller.domain.price import Flat, PricePlan
from controller.store.engine import Database
from tests.support.billing_fakes import tariff
from tests.support.billing_world import Line, berlin
from tests.support.exceptions import BY, GIVEN_AWAY, PLAN, RIGHT, Office, office_of


@pytest.fixture
async def office(database: Database, tmp_path: Path) -> AsyncIterator[Office]:
    async with office_of(database, tmp_path) as made:
        yield made


async def one_forgotten(office: Office) -> tuple[BillRunId, Line]:
    """Two accounts have a plan; of one of them billing has copied that it costs nothing, so it has no bill."""
    for line in (right := await office.world.activate(PLAN), forgotten := await office.world.activate(GIVEN_AWAY)):
        office.sales.add(line, PLAN if line is right else GIVEN_AWAY, office.clock.now())
    plan = PricePlan(prices=(Flat(code="fee", amount=Decimal("30.00")),))
    office.catalog.add(replace(office.given_away, plan=plan))
    return await office.bill(), forgotten


async def test_a_bill_that_should_be_there_and_is_not_waits_for_a_person_with_its_price(office: Office) -> None:
    run, forgotten = await one_forgotten(office)
    (waiter,) = await office.waiting()
    assert (waiter.account_id, waiter.checks) == (forgotten.account_id, ("no-bill",))
    assert (waiter.net, waiter.at_stake) == (Money(0, "EUR"), Money(3000, "EUR"))
    assert waiter.findings[0].text.startswith("fee missing: ")
    assert waiter.findings[0].period_first_on == date(2026, 9, 1)
    assert await office.documents(run) == 1
    assert await office.waits(run) == {forgotten.account_id}


async def test_a_missing_bill_is_asked_about_once_a_period(office: Office) -> None:
    await one_forgotten(office)
    office.clock.advance(timedelta(days=1))
    await office.world.bill()
    assert len(await office.waiting()) == 1, "nothing more is missing than the day before"
    office.clock.move_to(berlin(2026, 10, 1, 9))
    await office.world.bill()
    asked = [[f.period_first_on for f in waiter.findings] for waiter in await office.waiting()]
    assert asked == [[date(2026, 9, 1)], [date(2026, 10, 1)]]


async def test_whoever_says_that_no_bill_is_right_ends_the_hold_and_no_document_is_made(office: Office) -> None:
    run, _ = await one_forgotten(office)
    (waiter,) = await office.waiting()
    assert (await office.checks.release(waiter.exception_id, **BY)).state == GONE
    await office.run_again(run)
    assert not await office.waits(run)
    assert await office.documents(run) == 1
    assert (await office.world.billing.bill_run(run)).state == DONE
    assert len(await office.waiting(None)) == 1, "nobody is asked once more about the same"


async def test_a_bill_that_was_missing_is_made_when_its_cause_was_mended(office: Office) -> None:
    """The catalogue's price reaches billing late: the account has its bill in the very run that missed it."""
    run, forgotten = await one_forgotten(office)
    (waiter,) = await office.waiting()
    right = replace(tariff(RIGHT, "30.00"), offering_id=office.given_away.offering_id, number=2)
    for known in (office.world.prices, office.catalog):
        known.add(right)
    await office.world.change(forgotten, GIVEN_AWAY, RIGHT)
    office.sales.add(forgotten, RIGHT, office.clock.now())
    await office.checks.release(waiter.exception_id, **BY)
    await office.run_again(run)
    assert not await office.waiting()
    assert await office.documents(run) == 2
    (again,) = await office.world.runs.again.rated_again(run, None, 10)
    assert (again.outcome, again.before, [d.net.minor for d in again.after]) == ("changed", [], [3000])


async def test_an_account_whose_line_begins_after_the_run_is_not_missed(office: Office) -> None:
    await office.world.activate(PLAN)
    before = office.clock.now()
    office.clock.advance(timedelta(days=5))
    line = await office.world.activate(PLAN)
    await office.world.launch()
    run = BillRunId(await office.world.bill(as_of=before))
    assert [b.account_ids for b in office.batches if line.account_id in b.account_ids], "it was looked at"
    assert await office.documents(run) == 1
    assert not await office.waiting()

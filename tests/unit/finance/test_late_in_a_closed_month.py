"""What is learned of a month after its books are closed is booked in the open one, and says which month it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.journal import Entry
from erp.finance.model import Invoice, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin

PLAN = "a" * 32
OCTOBER = date(2026, 10, 1)
ANNA = "user:anna"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    versions = [tariff(PLAN, "30.00", included=10 * GB)]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 1, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def closed(world: BillingWorld) -> Line:
    """A line with September's fee and 12 GB, billed by the first of October; the books of September are closed."""
    line = await world.activate(PLAN)
    await billed(world)
    world.clock.move_to(berlin(2026, 10, 1, 2))
    await world.account_for(line, (berlin(2026, 9, 2), 0, 0), (berlin(2026, 9, 20), 0, 12 * GB))
    assert await billed(world)
    await world.books.close(OCTOBER, actor=ANNA)
    return line


async def billed(world: BillingWorld) -> list[Invoice]:
    return await world.finance.invoices(Wanted(bill_run_id=await world.bill()), after=None, limit=9)


async def entry_of(world: BillingWorld, made: Invoice) -> Entry:
    (found,) = [e for e in await world.books.entries(limit=50) if e.source == f"invoice:{made.invoice_id}"]
    return found


async def september(world: BillingWorld) -> object:
    return (
        await world.books.income(date(2026, 9, 1), date(2026, 9, 30)),
        await world.books.balance_sheet(date(2026, 9, 30)),
        await world.books.cash_flow(date(2026, 9, 1), date(2026, 9, 30)),
    )


async def test_closing_alone_changes_no_statement_of_any_day(world: BillingWorld) -> None:
    """Profit and loss, balance sheet and cash flow of now are those after the closing, when nothing was posted."""
    await world.activate(PLAN)
    await billed(world)
    world.clock.move_to(berlin(2026, 10, 1, 2))
    posted, before = await world.books.entries(limit=50), await september(world)
    await world.books.close(OCTOBER, actor=ANNA)
    assert await world.books.entries(limit=50) == posted
    assert await september(world) == before


async def test_late_usage_of_a_closed_month_goes_to_the_open_one_and_names_its_own(world: BillingWorld) -> None:
    line = await closed(world)
    before = await september(world)
    world.clock.move_to(berlin(2026, 10, 20, 9))
    await world.account_for(line, (berlin(2026, 9, 28), 0, 15 * GB))
    (late,) = await billed(world)
    assert late.net.minor == 150
    entry = await entry_of(world, late)
    assert (entry.booked_on, entry.regards_on) == (date(2026, 10, 20), date(2026, 9, 1))
    (row,) = await world.finance.lines(late.invoice_id)
    assert (row.adjustment, row.first_on, row.until_on) == (True, date(2026, 9, 1), OCTOBER)
    assert await september(world) == before, "the closed month is what it was"


async def test_a_pause_of_a_closed_month_is_credited_in_the_open_one_and_names_it(world: BillingWorld) -> None:
    line = await closed(world)
    before = await september(world)
    world.clock.move_to(berlin(2026, 10, 20, 9))
    await world.pause(line, date(2026, 9, 11), date(2026, 9, 21))
    (note,) = await billed(world)
    entry = await entry_of(world, note)
    assert (note.kind, entry.booked_on, entry.regards_on) == ("credit-note", date(2026, 10, 20), date(2026, 9, 1))
    assert await september(world) == before


async def test_a_bill_that_corrects_nothing_regards_no_other_month(world: BillingWorld) -> None:
    await closed(world)
    world.clock.move_to(berlin(2026, 11, 1, 2))
    (november,) = await billed(world)
    assert (await entry_of(world, november)).regards_on is None

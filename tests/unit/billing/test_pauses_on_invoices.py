"""Pauses, cycles and anchors from the office to invoices, and explained: what was charged before is given back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from billing_bridge.tables import account_terms
from controller.domain.price import Flat, PricePlan
from controller.store.engine import Database
from controller.store.outbox import positions
from erp.finance.model import InvoiceLine, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin

MONTHLY, YEARLY = "a" * 32, "b" * 32


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    yearly = PricePlan(prices=(Flat(code="fee", amount=Decimal("365.00")),), cycle="year")
    versions = [tariff(MONTHLY, "30.00"), replace(tariff(YEARLY, "0"), plan=yearly)]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 1, 14), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def billed(world: BillingWorld, line: Line) -> list[InvoiceLine]:
    run_id = await world.bill()
    wanted = Wanted(account_ids=[line.account_id], bill_run_id=run_id)
    invoices = await world.finance.invoices(wanted, after=None, limit=9)
    return [found for invoice in invoices for found in await world.finance.lines(invoice.invoice_id)]


def said(lines: list[InvoiceLine]) -> list[tuple[str, str, str]]:
    return [(str(n.net.amount), n.first_on.isoformat(), n.until_on.isoformat()) for n in lines]


async def test_a_seasonal_hold_of_twelve_days_credits_twelve_days_of_the_fee_paid_in_advance(
    world: BillingWorld,
) -> None:
    line = await world.activate(MONTHLY)
    assert said(await billed(world, line)) == [("30.00", "2026-09-01", "2026-10-01")]
    world.clock.move_to(berlin(2026, 9, 8, 9))
    pause = await world.pause(line, date(2026, 9, 10), date(2026, 9, 22))
    (credit,) = await billed(world, line)
    assert said([credit]) == [("-12.00", "2026-09-10", "2026-09-22")]
    assert credit.description == "Fibre 100: credit of monthly fee, 12 of 30 days"
    explained = await world.explainer.explain(credit.line_id)
    assert explained.intact, explained.faults
    assert any("paused (seasonal) from 2026-09-10 until 2026-09-22" in step for step in explained.steps)
    # Back two days earlier: those are charged again, and the credit is still explained as it was.
    world.clock.move_to(berlin(2026, 9, 20, 9))
    await world.pause(line, date(2026, 9, 10), date(2026, 9, 20), pause_id=pause)
    (again,) = await billed(world, line)
    assert said([again]) == [("2.00", "2026-09-20", "2026-09-22")]
    assert (await world.explainer.explain(credit.line_id)).intact
    assert (await world.explainer.explain(again.line_id)).intact
    assert await billed(world, line) == []


async def test_a_pause_at_a_share_charges_the_share_and_one_told_late_is_credited_too(world: BillingWorld) -> None:
    line = await world.activate(MONTHLY)
    await billed(world, line)
    world.clock.move_to(berlin(2026, 11, 2, 9))
    await billed(world, line)
    await world.pause(line, date(2026, 9, 21), date(2026, 10, 1), percent=25)
    lines = await billed(world, line)
    assert said(lines) == [("-10.00", "2026-09-21", "2026-10-01"), ("2.50", "2026-09-21", "2026-10-01")]
    assert lines[1].description == "Fibre 100: monthly fee, paused at 25 %, 10 of 30 days"
    for found in lines:
        explained = await world.explainer.explain(found.line_id)
        assert explained.intact, explained.faults


async def test_an_event_told_twice_pauses_once(world: BillingWorld, database: Database) -> None:
    line = await world.activate(MONTHLY)
    await world.pause(line, date(2026, 9, 10), date(2026, 9, 22))
    async with database.begin() as conn:
        await conn.execute(update(positions).values(position=0))
    await world.bus.drain()
    assert sum(n.net.minor for n in await billed(world, line)) == 1800


async def test_a_yearly_fee_is_prorated_by_the_days_of_its_year_beside_a_monthly_one(world: BillingWorld) -> None:
    line = await world.activate(MONTHLY)
    await billed(world, line)
    world.clock.move_to(berlin(2026, 9, 11, 9))
    await world.change(line, MONTHLY, YEARLY)
    # The year of the line runs from September, in which it began: 355 days of 365 are left.
    assert said(await billed(world, line)) == [
        ("-20.00", "2026-09-11", "2026-10-01"),
        ("355.00", "2026-09-11", "2027-09-01"),
    ]
    world.clock.move_to(berlin(2027, 8, 31, 23))
    assert await billed(world, line) == []
    world.clock.move_to(berlin(2027, 9, 1, 0, 1))
    (next_year,) = await billed(world, line)
    assert said([next_year]) == [("365.00", "2027-09-01", "2028-09-01")]
    assert (await world.explainer.explain(next_year.line_id)).intact
    # Left on a day of the leap year: 182 days since September, 184 are given back, told a month later.
    world.clock.move_to(berlin(2028, 3, 1, 9))
    await world.terminate(line)
    (credit,) = await billed(world, line)
    assert said([credit]) == [("-183.50", "2028-03-01", "2028-09-01")]


@pytest.mark.parametrize(("anchor", "first_on"), [(31, "2026-08-31"), (29, "2026-08-29"), (0, "2026-09-01")])
async def test_an_account_has_its_own_anchor_day(
    world: BillingWorld, database: Database, anchor: int, first_on: str
) -> None:
    account = await world.customer()
    async with database.begin() as conn:
        await conn.execute(
            insert(account_terms).values(account_id=account, anchor_day=anchor, changed_at=world.clock.now())
        )
    line = await world.activate(MONTHLY, account)
    world.clock.move_to(berlin(2027, 3, 1, 9))
    lines = await billed(world, line)
    starts = [n.first_on.isoformat() for n in lines]
    assert starts[0] == "2026-09-01"
    if anchor == 31:
        assert starts[1:] == ["2026-09-30", "2026-10-31", "2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28"]
    elif anchor == 29:
        assert starts[1:] == ["2026-09-29", "2026-10-29", "2026-11-29", "2026-12-29", "2027-01-29", "2027-02-28"]
    else:
        assert [n.first_on.day for n in lines] == [1] * 7
    assert sum(n.net.minor for n in lines[1:]) == 6 * 3000

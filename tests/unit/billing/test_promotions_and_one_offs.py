"""A promotion ends on a day within a period, and what is charged once is charged once, whatever is told again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from controller.domain.price import Discount, Flat, OneOff, PricePlan, Window
from controller.store.engine import Database
from erp.finance.model import InvoiceLine, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

PROMO, NEXT = "a" * 32, "b" * 32
PLAN = PricePlan(
    prices=(
        Flat(code="fee", amount=Decimal("31.00")),
        Discount(code="promo", percent=Decimal(50), window=Window(months=6)),
        OneOff(code="setup", amount=Decimal("49.00")),
    )
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    first = replace(tariff(PROMO, "0"), plan=PLAN)
    second = replace(tariff(NEXT, "0"), plan=PLAN, offering_id=first.offering_id, number=2)
    made = BillingWorld(database, tmp_path, [first, second], berlin(2026, 9, 16, 14))
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def billed(world: BillingWorld) -> list[InvoiceLine]:
    invoices = await world.finance.invoices(Wanted(bill_run_id=await world.bill()), after=None, limit=9)
    return [line for invoice in invoices for line in await world.finance.lines(invoice.invoice_id)]


async def test_the_last_discounted_line_of_a_promotion_is_prorated_to_the_day(world: BillingWorld) -> None:
    await world.activate(PROMO)
    world.clock.move_to(berlin(2027, 4, 1, 9))
    lines = await billed(world)
    discounts = [(n.first_on, n.until_on, str(n.net.amount)) for n in lines if n.net.minor < 0]
    assert discounts[0] == (date(2026, 9, 16), date(2026, 10, 1), "-7.75")  # 15 of 30 days
    assert discounts[-1] == (date(2027, 3, 1), date(2027, 3, 16), "-7.50")  # 15 of 31 days
    assert len(discounts) == 7
    assert {n.first_on: str(n.net.amount) for n in lines if n.kind == "recurring" and n.net.minor > 0}[
        date(2027, 3, 1)
    ] == "31.00"


async def test_a_setup_fee_is_charged_once_though_the_order_is_re_driven_and_the_plan_changes(
    world: BillingWorld,
) -> None:
    line = await world.activate(PROMO)
    first = await billed(world)
    assert [str(n.net.amount) for n in first if n.kind == "one-off"] == ["49.00"]
    await world.change(line, PROMO, PROMO)  # a second activation of what is active, as a re-drive would tell
    world.clock.move_to(berlin(2026, 10, 5, 9))
    await world.change(line, PROMO, NEXT)
    world.clock.move_to(berlin(2026, 10, 8, 9))
    await world.pause(line, date(2026, 9, 16), date(2026, 9, 20))
    world.clock.move_to(berlin(2026, 12, 1, 9))
    later = await billed(world)
    assert [n for n in later if n.kind == "one-off"] == []
    assert await billed(world) == []

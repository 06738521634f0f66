"""A company with two hundred sites: one invoice with a subtotal for each, and every site paid for by whom it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select

from billing_bridge.billing.payers import batches, families
from billing_bridge.tables import bill_batch
from controller.domain.identity import AccountId
from controller.store.engine import Database
from erp.crm.errors import BadParent, NoAccount
from erp.crm.hierarchy import HierarchyService
from erp.finance.model import Invoice, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin

PLAN = "a" * 32
ACTOR = "user:anna"


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    prices, at = [tariff(PLAN, "30.00")], berlin(2026, 9, 1, 9)
    made = BillingWorld(database, tmp_path, prices, at, accounts_per_batch=10, checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def hierarchy(world: BillingWorld) -> HierarchyService:
    return HierarchyService(world.database, world.clock)


async def site(
    world: BillingWorld, hierarchy: HierarchyService, parent: AccountId, heading: str, *, pays: bool = False
) -> Line:
    account = await world.customer(heading)
    await hierarchy.set_parent(account, parent, billed_to_parent=not pays, heading=heading, actor=ACTOR)
    await world.bus.drain()
    return await world.activate(PLAN, account)


async def billed(world: BillingWorld, account_id: AccountId | None = None) -> list[Invoice]:
    run_id = await world.bill(account_id=account_id)
    return await world.finance.invoices(Wanted(bill_run_id=run_id), after=None, limit=500)


@pytest.mark.parametrize("sites", [12, pytest.param(200, marks=pytest.mark.long)])
async def test_a_company_gets_one_invoice_with_a_subtotal_for_each_site(
    world: BillingWorld, hierarchy: HierarchyService, sites: int
) -> None:
    company = await world.customer("Holding AG")
    others = [await world.activate(PLAN) for _ in range(3)]
    for n in range(sites):
        await site(world, hierarchy, company, f"Site {n:03d} · cost centre {4000 + n}")
    await world.activate(PLAN, company)
    invoices = {invoice.account_id: invoice for invoice in await billed(world)}
    assert invoices.keys() == {company, *(line.account_id for line in others)}
    assert invoices[company].net.minor == 3000 * (sites + 1)
    content = await world.finance.content(invoices[company].invoice_id)
    by_group: dict[str, int] = {}
    for line in content["lines"]:
        by_group[line["group"]] = by_group.get(line["group"], 0) + line["net_minor"]
    assert by_group == {"": 3000} | {f"Site {n:03d} · cost centre {4000 + n}": 3000 for n in range(sites)}
    pdf, _ = await world.finance.pdf(invoices[company].invoice_id)
    assert pdf.startswith(b"%PDF")
    assert await billed(world) == [], "a second run has nothing to charge"


async def test_a_family_stays_in_one_batch_however_small_batches_are(
    world: BillingWorld, hierarchy: HierarchyService
) -> None:
    company = await world.customer("Holding AG")
    lines = [await site(world, hierarchy, company, f"Site {n}") for n in range(13)]
    alone = [await world.activate(PLAN) for _ in range(9)]
    async with world.database.read() as conn:
        together = await families(conn, None)
    assert sorted(map(len, together)) == [1] * 9 + [13]
    sizes = sorted(len(batch) for batch in batches(together, 4))
    assert (sizes[-1], sum(sizes)) == (13, 22)
    assert all(size <= 4 for size in sizes[:-1])
    await billed(world)
    async with world.database.read() as conn:
        frozen = [set(text.split(",")) for text in await conn.scalars(select(bill_batch.c.account_ids))]
    assert sum(bool(batch & {line.account_id for line in lines}) for batch in frozen) == 1
    assert set.union(*frozen) == {line.account_id for line in [*lines, *alone]}


async def test_an_account_that_pays_for_itself_gets_its_own_invoice(
    world: BillingWorld, hierarchy: HierarchyService
) -> None:
    parent = await world.customer("Familie Maier")
    child = await site(world, hierarchy, parent, "Tom", pays=True)
    (invoice,) = await billed(world)
    assert invoice.account_id == child.account_id


async def test_who_pays_changes_on_a_day_and_a_period_is_settled_by_whom_it_was_charged_to(
    world: BillingWorld, hierarchy: HierarchyService
) -> None:
    first, second = await world.customer("Erste AG"), await world.customer("Zweite AG")
    line = await site(world, hierarchy, first, "Depot")
    assert [i.account_id for i in await billed(world)] == [first]
    await hierarchy.set_parent(line.account_id, second, since=date(2026, 9, 16), heading="Depot", actor=ACTOR)
    await world.bus.drain()
    world.clock.move_to(berlin(2026, 9, 20, 9))
    await world.pause(line, date(2026, 9, 20), date(2026, 9, 23))
    assert [(i.account_id, i.net.minor) for i in await billed(world)] == [(first, -300)]
    world.clock.move_to(berlin(2026, 10, 2, 9))
    assert [(i.account_id, i.net.minor) for i in await billed(world)] == [(second, 3000)]
    await hierarchy.set_parent(line.account_id, None, since=date(2026, 11, 1), actor=ACTOR)
    await world.bus.drain()
    world.clock.move_to(berlin(2026, 11, 2, 9))
    assert [(i.account_id, i.net.minor) for i in await billed(world)] == [(line.account_id, 3000)]


async def test_a_run_of_the_payer_bills_all_it_pays_for_and_of_one_site_that_site_alone(
    world: BillingWorld, hierarchy: HierarchyService
) -> None:
    company = await world.customer("Holding AG")
    lines = [await site(world, hierarchy, company, f"Site {n}") for n in range(3)]
    assert [(i.account_id, i.net.minor) for i in await billed(world, lines[0].account_id)] == [(company, 3000)]
    assert [(i.account_id, i.net.minor) for i in await billed(world, company)] == [(company, 6000)]


async def test_relations_that_cannot_be_are_refused(world: BillingWorld, hierarchy: HierarchyService) -> None:
    a, b, c = [await world.customer(name) for name in "ABC"]
    await hierarchy.set_parent(b, a, actor=ACTOR)
    for child, parent in ((a, a), (a, b), (a, c), (c, b)):
        with pytest.raises(BadParent):
            await hierarchy.set_parent(child, parent, actor=ACTOR)
    with pytest.raises(BadParent, match="more than a year"):
        await hierarchy.set_parent(c, a, since=date(2020, 1, 1), actor=ACTOR)
    with pytest.raises(NoAccount):
        await hierarchy.set_parent(c, AccountId("0" * 32), actor=ACTOR)


async def test_children_are_listed_with_their_names_and_whether_arrears_of_the_parent_touch_them(
    world: BillingWorld, hierarchy: HierarchyService
) -> None:
    parent, a, b = [await world.customer(name) for name in ("P", "A", "B")]
    await hierarchy.set_parent(a, parent, blocked_with_parent=True, actor=ACTOR)
    await hierarchy.set_parent(b, parent, actor=ACTOR)
    found = [(c.name, c.relation.heading, c.relation.blocked_with_parent)
             for c in await hierarchy.children(parent, None, limit=9)]  # fmt: skip
    assert sorted(found) == [("A", "A", True), ("B", "B", False)]

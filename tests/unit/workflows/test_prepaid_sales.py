"""A prepaid balance and the customer's money are one transaction: both are there, or neither; use is earned once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import NotPrepaid, PaidTwice
from billing_bridge.prepaid.model import OCTETS
from billing_bridge.prepaid.service import NewTerms, PrepaidService, PrepaidState
from billing_bridge.settings import BillingSettings
from controller.domain.credit import FinalAction
from controller.domain.errors import NotFound, RuleError
from controller.domain.identity import AccountId, OfferingVersionId, ServiceId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from controller.workflows.prepaid import PrepaidSales, TopUp
from controller.workflows.prepaid_subledger import prepaid_subledger
from erp.catalog.model import Product
from erp.crm.model import Contact
from erp.finance.books import BooksService
from erp.finance.control import ControlAccounts
from erp.finance.errors import PaymentMismatch, WrongCurrency
from erp.finance.prepayments import Prepayments
from erp.finance.receipts import Payment
from erp.finance.receipts import payments as payment_rows
from erp.finance.settlement import Settlement
from erp.orders.model import Subscription
from erp.orders.placement import ModifyRequest, Offer, Placed
from erp.orders.repository import versions_of_service
from erp.orders.tables import order, subscription
from tests.support.finance import past_the_triggers
from tests.support.isp import TERMS, Isp
from tests.support.plans import plan_of
from tests.support.prepaid import ACTOR, CHEAP, MB, NAS, SERVICE, PrepaidWorld


class SalesWorld:
    """Of an account in EUR, whose service pays 1.00 per MB, or buys octets."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.isp = Isp(database, directory)
        self.prepaid = PrepaidWorld(database)
        self.books = BooksService(database, self.prepaid.clock, self.isp.crm)
        self.settlement = Settlement(database, self.prepaid.clock, self.isp.crm)
        prepayments = Prepayments(self.prepaid.clock, self.isp.crm, self.settlement)
        self.sales = PrepaidSales(database, self.prepaid.prepaid, self.prepaid.closing, prepayments, self.isp.crm)
        self.account_id: AccountId

    async def open(self, unit: str = "EUR", *, credit_days: int | None = None) -> None:
        await self.open_on(NewTerms(None, MB, 900, FinalAction.GARDEN, credit_days), unit)

    async def open_on(self, wanted: NewTerms, unit: str = "EUR", contact: Contact | None = None) -> None:
        self.account_id = (await self.isp.customer(contact)).account.account_id
        version = OfferingVersionId(CHEAP) if unit == "EUR" else None
        wanted = replace(wanted, version_id=version)
        await self.sales.open(SERVICE, self.account_id, unit, "EUR", wanted, actor=ACTOR)

    async def top_up(
        self, minor: int, reference: str = "order 7", *, units: int | None = None, tax: str | None = None
    ) -> None:
        percent = None if tax is None else Decimal(tax)
        wanted = TopUp(Money(minor, "EUR"), "cash", reference, units, percent)
        await self.sales.top_up(SERVICE, wanted, actor=ACTOR)

    async def use(self, *totals: int) -> None:
        await self.prepaid.prepaid.reserve(SERVICE, "line 1", NAS)
        await self.prepaid.report("start")
        for total in totals:
            await self.prepaid.later(minutes=1)
            await self.prepaid.report("interim", total)

    @property
    def control(self) -> ControlAccounts:
        crm = self.isp.crm
        return ControlAccounts(self.isp.database, self.prepaid.clock, crm, self.books, [prepaid_subledger(crm)], [])

    async def assert_controlled(self) -> None:
        """What balances are worth is the account of prepayments, and every other subledger its own."""
        assert [(c.name, c.subledger, c.ledger) for c in await self.control.look()] == []

    async def payments(self) -> list[Payment]:
        async with self.prepaid.database.read() as conn:
            return await payment_rows(conn, self.account_id, None, 9)

    async def trial_balance(self) -> dict[str, int]:
        found = await self.books.trial_balance()
        return {line.code: line.balance.minor for line in found if line.balance}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[SalesWorld]:
    made = SalesWorld(database, tmp_path)
    yield made
    await made.assert_controlled()
    await made.prepaid.log.close()


async def test_what_is_paid_is_owed_until_it_is_used_and_then_earned(world: SalesWorld) -> None:
    await world.open()
    for _ in range(2):
        await world.top_up(1_000)
    assert (await world.prepaid.amounts())[0] == 1_000
    assert await world.trial_balance() == {"1600": 1_000, "3530": -1_000}
    await world.use(2 * MB, 3 * MB)
    for _ in range(2):
        await world.sales.post()
    assert await world.trial_balance() == {"1600": 1_000, "3530": -700, "4410": -300}
    assert (await world.prepaid.amounts())[0] == 700


async def test_octets_that_are_bought_have_their_tax_in_what_was_paid_and_are_earned_to_the_cent(
    world: SalesWorld,
) -> None:
    await world.open(OCTETS)
    await world.top_up(1_190, units=3 * MB, tax="19")
    assert await world.trial_balance() == {"1600": 1_190, "3530": -1_000, "3806": -190}
    await world.use(MB)
    await world.sales.post()
    assert (await world.trial_balance())["4410"] == -333
    for used in (2 * MB, 3 * MB):
        await world.prepaid.report("interim", used)
    await world.sales.post()
    assert await world.trial_balance() == {"1600": 1_190, "3806": -190, "4410": -1_000}


@pytest.mark.parametrize(
    ("unit", "bought", "column"),
    [("EUR", None, "balance"), (OCTETS, 3 * MB, "worth_minor"), (OCTETS, 3 * MB, "earned")],
)
async def test_a_balance_that_was_changed_past_the_program_is_found_in_the_night_with_where_to_look(
    world: SalesWorld, unit: str, bought: int | None, column: str
) -> None:
    await world.open(unit)
    await world.top_up(1_000, units=bought, tax=bought and "0")
    await world.use(MB)
    assert await world.control.nightly() == []
    good = world.prepaid.clock.now()
    await world.prepaid.later(days=1)
    changed = {
        "balance": "UPDATE billing_bridge_prepaid SET balance = balance {} 500",
        "worth_minor": "UPDATE billing_bridge_prepaid SET worth_minor = worth_minor {} 500",
        "earned": "UPDATE billing_bridge_prepaid_day SET earned_minor = earned_minor {} 500",
    }[column]
    await past_the_triggers(world.isp.database, changed.format("+"))
    (apart,) = await world.control.nightly()
    assert (apart.name, apart.code, apart.difference) == ("prepayments", "3530", Money(500, "EUR"))
    told = f"agreed last at {good:%Y-%m-%d %H:%M} UTC: compare the postings of account 3530 since with the rows"
    assert told in world.control.hint(apart)
    assert "headend prepaid" in world.control.hint(apart)
    await past_the_triggers(world.isp.database, changed.format("-"))


async def test_use_of_a_month_that_was_closed_meanwhile_is_earned_in_the_next_and_says_so(world: SalesWorld) -> None:
    await world.open()
    await world.top_up(1_000)
    await world.use(MB)
    await world.prepaid.later(days=22)
    await world.books.close(date(2026, 12, 1), reason="November is told", actor=ACTOR)
    await world.sales.post()
    newest = (await world.books.entries(limit=1))[0]
    assert (newest.booked_on, newest.regards_on) == (date(2026, 12, 1), date(2026, 11, 10))


async def test_a_top_up_that_cannot_be_leaves_neither_money_nor_balance(world: SalesWorld) -> None:
    await world.open()
    await world.top_up(1_000)
    with pytest.raises(PaymentMismatch):
        await world.top_up(2_000)
    with pytest.raises(NotPrepaid, match="none for money"):
        await world.top_up(1_000, "2", units=MB)
    with pytest.raises(WrongCurrency):
        await world.sales.top_up(SERVICE, TopUp(Money(1_000, "USD"), "bank", "3"), actor=ACTOR)
    await world.sales.close(SERVICE, pay_out=False, actor=ACTOR, reason="moved")
    with pytest.raises(RuleError, match="was closed"):
        await world.top_up(500, "4")
    assert await world.trial_balance() == {"1600": 1_000, "3530": -1_000}
    assert (await world.prepaid.amounts())[0] == 1_000


async def test_units_need_the_tax_that_was_paid_with_them_and_an_account_that_exists(world: SalesWorld) -> None:
    await world.open(OCTETS)
    with pytest.raises(RuleError, match="say tax_percent"):
        await world.top_up(1_000, units=MB)
    wanted = NewTerms(None, MB, 900, FinalAction.GARDEN)
    with pytest.raises(NotFound, match="no billing account"):
        await world.sales.open(ServiceId("7" * 32), AccountId("e" * 32), OCTETS, "EUR", wanted, actor=ACTOR)
    with pytest.raises(NotFound, match="no service"):
        await world.sales.open(ServiceId("x"), world.account_id, OCTETS, "EUR", wanted, actor=ACTOR)


class Selling:
    """A line that was sold by a flat rate, an order of a plan that bills its usage, and a balance to open for it."""

    def __init__(self, world: SalesWorld) -> None:
        isp, settings = world.isp, BillingSettings(zone=ZoneInfo("Europe/Berlin"))
        self.placement, self.database = isp.placement, isp.database
        self.prepaid = PrepaidService(
            isp.database, isp.clock, UsageLogReader(isp.database), isp.catalog, world.prepaid.access, settings
        )
        self.plans = self.prepaid.plans
        self.plans.ordered, isp.placement.refuse_tariff = versions_of_service, self.plans.refuse
        self.line: Subscription
        self.change: ModifyRequest

    async def begin(self, isp: Isp) -> None:
        self.line = (await isp.placement.place(await isp.add_request(), actor=ACTOR)).subscription
        async with isp.database.begin() as conn:
            await conn.execute(update(subscription).values(state="active"))
            await conn.execute(update(order).values(open_subscription_id=None))
        sold = replace(TERMS, plan=plan_of("9.90", included=MB))
        metered = (await isp.catalog.create_offering(Product("Metered"), sold, actor=ACTOR)).offering_id
        self.change = ModifyRequest(self.line.subscription_id, Offer(metered))

    async def open(self) -> PrepaidState:
        wanted = NewTerms(None, MB, 900, FinalAction.GARDEN)
        return await self.prepaid.open(self.line.service_id, self.line.account_id, OCTETS, "EUR", wanted, actor=ACTOR)

    async def place(self) -> Placed:
        return await self.placement.place(self.change, actor=ACTOR)


@pytest.fixture
async def selling(world: SalesWorld) -> Selling:
    made = Selling(world)
    await made.begin(world.isp)
    return made


@pytest.mark.parametrize("closed", [False, True])
async def test_a_prepaid_service_is_not_sold_a_plan_that_bills_usage(
    world: SalesWorld, selling: Selling, closed: bool
) -> None:
    isp, line = world.isp, selling.line
    await selling.open()
    if closed:
        await world.sales.close(line.service_id, pay_out=False, actor=ACTOR, reason="pays by bill")
        assert (await selling.place()).order.is_open
        with pytest.raises(NotPrepaid, match="bills usage too"):
            await selling.open()
        return
    for ask in (isp.placement.preview(selling.change), selling.place()):
        with pytest.raises(PaidTwice, match="close its balance first"):
            await ask
    flat = ModifyRequest(line.subscription_id, Offer(await isp.offering("Faster", 250)))
    assert (await isp.placement.place(flat, actor=ACTOR)).order.is_open


@pytest.mark.parametrize("first", ["order", "balance"])
async def test_an_order_and_a_balance_at_the_same_instant_do_not_pass_each_other(selling: Selling, first: str) -> None:
    """Two connections: the first has looked and has not committed when the second one comes."""
    looked, go_on = asyncio.Event(), asyncio.Event()
    refuse, ordered = selling.plans.refuse, versions_of_service

    async def refuse_and_wait(conn: AsyncConnection, service_id: ServiceId, tariff: TariffVersion) -> None:
        await refuse(conn, service_id, tariff)
        looked.set()
        await go_on.wait()

    async def look_and_wait(conn: AsyncConnection, service_id: str) -> set[OfferingVersionId]:
        found = await ordered(conn, service_id)
        looked.set()
        await go_on.wait()
        return found

    if first == "order":
        selling.placement.refuse_tariff = refuse_and_wait
    else:
        selling.plans.ordered = look_and_wait
    both: list[Coroutine[Any, Any, Any]] = [selling.place(), selling.open()]
    begun, other = both if first == "order" else reversed(both)
    earlier = asyncio.create_task(begun)
    async with asyncio.timeout(10):
        await looked.wait()
        later = asyncio.create_task(other)
        await waits_or_ends(selling.database, later)
        go_on.set()
        await earlier
        with pytest.raises(NotPrepaid if first == "order" else PaidTwice):
            await later


async def waits_or_ends(database: Database, task: asyncio.Task[Any]) -> None:
    """Until the task is through, or waits for somebody else's lock. SQLite has one writer: it waits there."""
    if database.is_sqlite:
        await asyncio.wait([task], timeout=0.05)
        return
    waiting = text(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND NOT l.granted AND l.locktype = 'advisory' AND l.objsubid = 2"
    )
    while not task.done():
        async with database.read() as conn:
            if await conn.scalar(waiting):
                return

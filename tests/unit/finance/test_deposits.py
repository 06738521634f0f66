"""Deposits are held apart from what is owed, and come back with the last line; late fees are charged once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.events import DunningStepTold, ServiceTerminated
from controller.domain.identity import AccountId, BillRunId, ChargeId, new_id
from controller.domain.money import Money
from controller.store.engine import Database
from erp.finance.books import BooksService
from erp.finance.deposits import DepositService
from erp.finance.errors import NotThatMuch, PaymentMismatch, UnknownDeposit, WrongCurrency
from erp.finance.late_fees import LateFees
from erp.finance.model import Invoice, Wanted
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.orders.items import ItemService
from erp.orders.model import Order, OrderState
from erp.orders.placement import AddRequest, DeleteRequest, Offer
from tests.support.charges import charge
from tests.support.isp import ACTOR, Isp, open_isp


class World:
    def __init__(self, isp: Isp) -> None:
        self.isp = isp
        self.finance = FinanceService(isp.database, isp.clock, isp.crm, FinanceSettings())
        self.deposits = DepositService(isp.database, isp.clock, isp.crm, self.finance.settlement)
        self.late_fees = LateFees(self.finance.corrections)
        self.items = ItemService(isp.database, isp.clock, crm=isp.crm, catalog=isp.catalog)
        self.books = BooksService(isp.database, isp.clock, isp.crm)
        self.account: AccountId

    async def line(self) -> Order:
        offer = Offer(await self.isp.offering(f"Fibre {new_id(self.isp.clock.now())}"))
        placed = await self.isp.fulfilment.place(AddRequest(self.account, offer), actor=ACTOR)
        return (await self.isp.until_state(placed.order.order_id, OrderState.COMPLETED)).order

    async def end(self, line: Order) -> None:
        placed = await self.isp.fulfilment.place(DeleteRequest(line.subscription_id), actor=ACTOR)
        await self.isp.until_state(placed.order.order_id, OrderState.COMPLETED)
        told = [e for e in await self.isp.events("service.terminated") if isinstance(e, ServiceTerminated)]
        for event in [*told, *told]:  # at least once
            async with self.isp.database.begin() as conn:
                await self.deposits.on_service_terminated(conn, event)

    async def invoice(self, net: int) -> Invoice:
        run = BillRunId(new_id(self.isp.clock.now()))
        found = replace(
            charge(0), charge_id=ChargeId(run), bill_run_id=run, account_id=self.account, net=Money(net, "EUR")
        )
        (invoice_id,) = await self.finance.issue(run, [found])
        return await self.finance.invoice(invoice_id)

    async def balance(self, code: str) -> int:
        return sum(row.balance.minor for row in await self.books.trial_balance() if row.code == code)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    async with open_isp(database, tmp_path) as isp:
        made = World(isp)
        made.account = (await isp.customer()).account.account_id
        yield made


DEPOSITS, RECEIVABLES, BANK = "3520", "1200", "1800"


async def test_a_deposit_is_a_liability_and_settles_nothing_until_it_is_released(world: World) -> None:
    held = await world.deposits.take(world.account, Money(5000, "EUR"), "bank", "router", actor=ACTOR)
    assert await world.deposits.take(world.account, Money(5000, "EUR"), "bank", "router", actor=ACTOR) == held
    invoice = await world.invoice(3000)
    assert (invoice.open_minor, await world.balance(DEPOSITS), await world.balance(BANK)) == (3570, -5000, 5000)
    given = await world.deposits.release(held.deposit_id, reason="moved out", actor=ACTOR)
    assert await world.deposits.release(held.deposit_id, reason="again", actor=ACTOR) == given
    assert (await world.finance.invoice(invoice.invoice_id)).open_minor == 0
    assert (await world.balance(DEPOSITS), await world.balance(RECEIVABLES)) == (0, -1430)
    assert given.payment_id is not None
    assert (await world.finance.payment(given.payment_id)).amount == Money(5000, "EUR")


async def test_the_end_of_the_last_line_gives_the_deposit_back_and_of_another_does_not(world: World) -> None:
    held = await world.deposits.take(world.account, Money(5000, "EUR"), "cash", "router", actor=ACTOR)
    first, second = await world.line(), await world.line()
    await world.end(first)
    assert (await world.deposits.deposits(world.account, None, 9))[0].payment_id is None
    await world.end(second)
    (found,) = await world.deposits.deposits(world.account, None, 9)
    assert (found.deposit_id, found.reason) == (held.deposit_id, "the last line of the account has ended")
    assert await world.balance(DEPOSITS) == 0
    assert len(await world.finance.payments(account_id=world.account, after=None, limit=9)) == 1


async def test_what_is_no_deposit_is_refused(world: World) -> None:
    with pytest.raises(NotThatMuch):
        await world.deposits.take(world.account, Money(0, "EUR"), "bank", "x", actor=ACTOR)
    with pytest.raises(WrongCurrency):
        await world.deposits.take(world.account, Money(100, "USD"), "bank", "x", actor=ACTOR)
    await world.deposits.take(world.account, Money(100, "EUR"), "bank", "x", actor=ACTOR)
    with pytest.raises(PaymentMismatch):
        await world.deposits.take(world.account, Money(200, "EUR"), "bank", "x", actor=ACTOR)
    with pytest.raises(UnknownDeposit):
        await world.deposits.release("0" * 32, reason="x", actor=ACTOR)


async def test_a_late_fee_is_charged_once_per_invoice_and_step_and_never_for_a_fee(world: World) -> None:
    late, other = await world.invoice(3000), await world.invoice(2000)

    async def told(invoice: Invoice, step: str, fee_minor: int = 500) -> None:
        now = world.isp.clock.now()
        event = DunningStepTold(
            event_id=new_id(now), at=now, actor="system:dunning", account_id=world.account,
            invoice_id=invoice.invoice_id, step=step, fee_minor=fee_minor, currency="EUR",
        )  # fmt: skip
        async with world.isp.database.begin() as conn:
            await world.late_fees.on_step_told(conn, event)

    for invoice, step in ((late, "reminder"), (late, "reminder"), (late, "last-notice"), (other, "reminder")):
        await told(invoice, step)
    await told(late, "friendly", 0)
    invoices = await world.finance.invoices(Wanted(account_ids=[world.account]), after=None, limit=99)
    fees = [i for i in invoices if i.invoice_id not in (late.invoice_id, other.invoice_id)]
    assert [(fee.net.minor, fee.tax.minor) for fee in fees] == [(500, 0)] * 3
    (line,) = await world.finance.lines(fees[0].invoice_id)
    assert line.item == "Late fee"
    await told(fees[0], "reminder")
    assert len(await world.finance.invoices(Wanted(account_ids=[world.account]), after=None, limit=99)) == 5

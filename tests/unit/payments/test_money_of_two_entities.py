"""Money that one legal entity got is nobody's of another's: bank lines, cards, cash, refunds, commissions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, BillRunId, EntityId, PaymentId
from controller.domain.money import Money
from controller.domain.ports import Secret
from erp.crm.entities import EntityFacts, EntityService
from erp.crm.model import Contact
from erp.finance.errors import OtherEntity
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from erp.payments.cards import WantedCharge
from erp.payments.refunds import WantedRefund
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.payments import Till, euro

OTHER = EntityFacts("Testnetz Austria GmbH", "Europe/Vienna", "EUR", "de_AT", "AT")
THEIRS, AUSTRIAN, SWISS = "DE12500105170648489890", "AT611904300234573201", "CH9300762011623852957"


async def second(till: Till) -> tuple[EntityId, AccountId]:
    """Another entity, and a customer of it."""
    made, _ = await EntityService(till.database, till.clock).create(OTHER, actor="user:anna")
    customer = await till.crm.create_customer(Contact("Anna"), actor="user:anna", entity_id=made.entity_id)
    return made.entity_id, customer.account.account_id


async def bank(till: Till, iban: str = IBAN, entity_id: EntityId | None = None) -> str:
    made = await till.room.bank.add_account(
        name="Testnetz", iban=iban, bic="", creditor_id="", currency="EUR", actor="user:t", entity_id=entity_id
    )
    return made.bank_account_id


async def refused(ask: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises(OtherEntity):
        await ask()


async def test_what_came_to_one_is_not_credited_to_a_customer_of_the_other(till: Till) -> None:
    entity_id, theirs = await second(till)
    await bank(till)
    statement = Stmt(
        "0.00", [Entry("12.00", [Tx(text="?", name="Anna")], on=date(2026, 10, 30))], on=date(2026, 10, 30)
    )
    await till.room.statements.read(camt("08", statement), "x", actor="user:t")
    (line,) = await till.room.bank.lines(state="open", statement_id=None, after=None, limit=9)
    await refused(lambda: till.room.bank.match(line.line_id, theirs, None, actor="user:t"))

    await till.gateway()
    till.stripe.paid(700, metadata={"account_id": theirs})
    await till.hear()
    (unknown,) = await till.room.booking.unknown_payers(9)
    await refused(lambda: till.room.booking.assign("stripe", unknown.intent_id, theirs, actor="user:t"))
    owed = await till.issue(theirs)
    wanted = WantedCharge("stripe", owed, "cus_1", "pm_1")
    await refused(lambda: till.room.cards.charge(wanted, actor="user:t"))

    desk = await till.room.cash.add_till("HQ", actor="user:t")
    shift = await till.room.cash.open(desk.till_id, euro("0.00"), reason="", actor="user:t")
    await refused(lambda: till.room.cash.receive(shift.shift_id, theirs, euro("5.00"), request="1", actor="user:t"))
    resale = ResaleService(till.database, till.clock, till.crm, FinanceSettings())
    ours = await till.account()
    await refused(lambda: resale.assign(theirs, ours, Decimal(10), actor="user:t"))
    posted = {b.code for b in await till.books.trial_balance() if b.entity_id == entity_id}
    assert posted == {"1200", "3806", "4400"}, "the invoice alone"


async def test_each_pays_its_refunds_from_its_own_bank_and_cash(till: Till) -> None:
    entity_id, theirs = await second(till)
    ours = await till.account()
    here, there = await bank(till), await bank(till, AUSTRIAN, entity_id)
    asked = {}
    for account in (ours, theirs):
        paid, _ = await till.pay(account, "50.00", f"t {account}")
        for way in ("bank", "cash"):
            wanted = WantedRefund(PaymentId(paid), euro("20.00"), way, "moved", "Erika", THEIRS)
            made = await till.room.refunds.request(wanted, actor="user:anna")
            await till.room.refunds.approve(made.refund_id, actor="user:bert")
            asked[account, way] = made.refund_id
    desk = await till.room.cash.add_till("AT", actor="user:t", entity_id=entity_id)
    shift = await till.room.cash.open(desk.till_id, euro("30.00"), reason="found", actor="user:t")
    await refused(lambda: till.room.cash.pay_out(shift.shift_id, asked[ours, "cash"], actor="user:t"))
    await till.room.cash.pay_out(shift.shift_id, asked[theirs, "cash"], actor="user:t")
    for account, from_ in ((theirs, there), (ours, here)):
        await till.room.transfers.make(from_, date(2026, 11, 3), actor="user:bert")
        assert (await till.room.refunds.get(asked[account, "bank"])).state == "sent"
        left = {(await till.room.refunds.get(asked[other, "bank"])).state for other in (ours, theirs)}
        assert left == ({"sent", "approved"} if account == theirs else {"sent"})
    with pytest.raises(RuleError, match="another legal entity"):
        await till.gateway()
        await till.room.gateways.put(
            "stripe", webhook_secret=Secret("whsec_another"), api_key=None, api_base="http://127.0.0.1:9",
            actor="user:t", entity_id=entity_id,
        )  # fmt: skip
    balances = await till.books.trial_balance()
    for whose in {b.entity_id for b in balances}:
        assert sum((b.balance for b in balances if b.entity_id == whose), Money.zero("EUR")) == euro("0.00")


async def test_lines_of_each_currency_find_the_invoices_of_that_currency(till: Till) -> None:
    """Two accounts at banks in one import: what is open in francs is no candidate for euros, nor the other way."""
    await bank(till)
    await till.room.bank.add_account(
        name="Testnetz", iban=SWISS, bic="", creditor_id="", currency="CHF", actor="user:t"
    )
    customer = await till.crm.create_customer(Contact("Urs"), actor="user:t", currency="CHF")
    abroad = customer.account.account_id
    (owed,) = await till.finance.issue(
        BillRunId("francs"), [replace(till.charge(abroad), net=Money.exact("30.00", "CHF"))]
    )
    here = await till.issue(await till.account())
    euros, swiss = [(await till.finance.invoice(i)).number for i in (here, owed)]
    day = date(2026, 10, 30)
    told = camt(
        "08",
        Stmt("0.00", [Entry("35.70", [Tx(text=euros)], ref="E1", on=day)], ident="eur", on=day),
        Stmt("0.00", [Entry("35.70", [Tx(text=swiss)], ref="C1", on=day)], ident="chf", on=day, iban=SWISS,
             currency="CHF"),
    )  # fmt: skip
    assert (await till.room.statements.read(told, "x", actor="user:t")).matched == 2
    assert [(await till.finance.invoice(i)).open_minor for i in (here, owed)] == [0, 0]

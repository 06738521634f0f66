"""Whatever comes and goes, and in which order: the rows of payments are their accounts; what was damaged is found."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, PaymentId
from erp.payments.refunds import WantedRefund
from erp.payments.sepa.mandates import WantedMandate
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.finance import manual, past_the_triggers
from tests.support.payments import Till, euro

THEIRS = "DE12500105170648489890"
STEPS = 60


class Walk:
    """Operations as they come; each may be refused, and then changes nothing."""

    def __init__(self, till: Till, seed: int) -> None:
        self.till, self.chance = till, random.Random(seed)
        self.accounts: list[AccountId] = []
        self.ours = self.desk = ""
        self.closing, self.day, self.step = Decimal(0), date(2026, 11, 20), 0

    async def begin(self) -> None:
        till = self.till
        till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
        await till.gateway()
        made = await till.room.bank.add_account(
            name="Testnetz GmbH", iban=IBAN, bic="", creditor_id="DE98ZZZ09999999999", currency="EUR", actor="user:t"
        )
        self.ours = made.bank_account_id
        self.desk = (await till.room.cash.add_till("HQ", actor="user:t")).till_id
        for n in range(3):
            self.accounts.append(await till.account(f"Customer {n}"))
        for n, account in enumerate(self.accounts[:2]):
            wanted = WantedMandate(account, f"M-{n}", "CORE", True, date(2026, 1, 31), THEIRS, "Debtor")
            await till.room.mandates.add(wanted, actor="user:t")

    async def once(self) -> None:
        self.step += 1
        await self.till.later(minutes=1)
        ways: Mapping[Callable[[], Awaitable[object]], int] = {
            self.issue: 4, self.card: 3, self.refunded: 1, self.disputed: 1, self.paid_out: 1, self.assigned: 1,
            self.statement: 3, self.matched: 2, self.unmatched: 1, self.booked: 1, self.collected: 2, self.rejected: 1,
            self.cash: 3, self.refund: 2, self.transferred: 1, self.by_hand: 1,
        }  # fmt: skip
        (way,) = self.chance.choices(list(ways), list(ways.values()))
        try:
            await way()
        except RuleError:
            pass  # refused as a whole

    @property
    def whose(self) -> AccountId:
        return self.chance.choice(self.accounts)

    async def issue(self) -> None:
        await self.till.issue(self.whose, f"{self.chance.randint(1, 90)}.00")

    async def card(self) -> None:
        who = {"metadata": {"account_id": self.whose}} if self.chance.random() < 0.7 else {}
        intent = self.till.stripe.paid(self.chance.randint(100, 9000), **who)
        await self.till.hear()
        if who and self.chance.random() < 0.3:
            self.till.stripe.refunded(intent, self.chance.randint(1, intent["amount"]))

    async def refunded(self) -> None:
        intents = list(self.till.stripe.intents.values())
        if intents:
            intent = self.chance.choice(intents)
            self.till.stripe.refunded(intent, intent["amount"])
        await self.till.hear()

    async def disputed(self) -> None:
        intents = list(self.till.stripe.intents.values())
        if intents:
            made = self.till.stripe.dispute(self.chance.choice(intents))
            await self.till.hear()
            self.till.stripe.close_dispute(made, self.chance.random() < 0.5)
        await self.till.hear()

    async def paid_out(self) -> None:
        amount = self.chance.randint(100, 3000)
        payout = {"id": f"po_{self.step}", "object": "payout", "amount": amount, "currency": "eur", "status": "paid"}
        self.till.stripe.tell("payout.paid", payout)
        if self.chance.random() < 0.3:
            self.till.stripe.tell("payout.failed", payout)
        await self.till.hear()

    async def assigned(self) -> None:
        for found in await self.till.room.booking.unknown_payers(1):
            await self.till.room.booking.assign(found.gateway, found.intent_id, self.whose, actor="user:t")

    async def statement(self) -> None:
        """A day of the bank: payments that name their invoice, strangers, charges, credits and returns of debits."""
        self.day += timedelta(days=1)
        entries = [Entry(f"{self.chance.randint(1, 60)}.00", [Tx(text="?", name="x")], ref=f"A{self.step}")]
        entries.append(Entry("-2.50", [Tx(text="fee")], ref=f"B{self.step}", code="ACMT/MDOP/CHRG"))
        for made in await self.till.room.sepa.collections(before=None, limit=2):
            for item in await self.till.room.sepa.items(made.collection_id):
                told = Tx(end_to_end=item.item_id, reason="AM04")
                ref = f"C{self.step}{item.item_id[-6:]}"
                if item.state == "paid" and self.chance.random() < 0.5:
                    entries.append(Entry(str(Decimal(item.amount_minor) / 100), [told], ref=ref))
                elif item.state == "paid":
                    entries.append(Entry(f"-{Decimal(item.amount_minor + 300) / 100}", [told], ref=ref))
        for found in await self.till.room.refunds.refunds(state="sent", before=None, limit=5):
            back = Tx(end_to_end=found.refund_id)
            entries.append(Entry(f"-{found.amount.amount}", [back], ref=f"D{self.step}{found.refund_id[-6:]}"))
        for payout in await self.till.room.fees.payouts(3):
            credit = Tx(text=f"STRIPE {payout.payout_id}")
            entries.append(Entry(str(payout.amount.amount), [credit], ref=f"E{self.step}{payout.payout_id}"))
        entries = [Entry(**{**vars(e), "on": self.day}) for e in entries]
        if self.day >= self.till.clock.now().date():
            self.till.clock.move_to(datetime.combine(self.day + timedelta(days=1), self.till.clock.now().timetz()))
        made = Stmt(str(self.closing), entries, ident=f"{self.day}", on=self.day)
        await self.till.room.statements.read(camt("08", made), "x", actor="user:t")
        self.closing += sum((Decimal(e.amount) for e in entries), Decimal(0))

    async def matched(self) -> None:
        for line in await self.till.room.bank.lines(state="open", statement_id=None, after=None, limit=1):
            await self.till.room.bank.match(line.line_id, self.whose, None, actor="user:t")

    async def unmatched(self) -> None:
        lines = await self.till.room.bank.lines(state="matched", statement_id=None, after=None, limit=50)
        for line in [line for line in lines if line.matched == "payment"][:1]:
            await self.till.room.bank.unmatch(line.line_id, reason="wrong", actor="user:t")

    async def booked(self) -> None:
        """Rent, tax, and cash that the bank says has come."""
        for line in await self.till.room.bank.lines(state="open", statement_id=None, after=None, limit=1):
            code = self.chance.choice(["6300", "3806", "1462", "3300"])
            await self.till.room.bank.book(line.line_id, code, reason="x", actor="user:t")

    async def collected(self) -> None:
        made = await self.till.room.sepa.collect(self.ours, date(2027, 6, 7), actor="user:t")
        if self.chance.random() < 0.8:
            await self.till.room.sepa.send(made.collection_id, actor="user:t")
        else:
            await self.till.room.sepa.drop(made.collection_id, actor="user:t", reason="x")

    async def rejected(self) -> None:
        for made in await self.till.room.sepa.collections(before=None, limit=1):
            for item in (await self.till.room.sepa.items(made.collection_id))[:1]:
                async with self.till.database.begin() as conn:
                    await self.till.room.sepa.reject(conn, item, "AM05", "user:t")

    async def cash(self) -> None:
        (found,) = await self.till.room.cash.tills()
        desk, amount = self.till.room.cash, euro(f"{self.chance.randint(1, 30)}.00")
        if found.shift_id is None:
            await desk.open(self.desk, found.holds + amount, reason="found", actor="user:t")
            return
        turn = self.chance.random()
        if turn < 0.5:
            await desk.receive(found.shift_id, self.whose, amount, request=f"r{self.step}", actor="user:t")
        elif turn < 0.8:
            moved = amount if turn < 0.65 else -amount
            await desk.transfer(found.shift_id, moved, request=f"r{self.step}", note="bank", actor="user:t")
        else:
            await desk.close(found.shift_id, found.holds, reason="", actor="user:t")

    async def cash_of(self, euros: int) -> None:
        (found,) = await self.till.room.cash.tills()
        assert found.shift_id is not None
        await self.till.room.cash.receive(
            found.shift_id, self.accounts[2], euro(f"{euros}.00"), request=f"c{euros}", actor="user:t"
        )

    async def sent(self) -> None:
        made = await self.till.room.sepa.collect(self.ours, date(2027, 6, 7), actor="user:t")
        await self.till.room.sepa.send(made.collection_id, actor="user:t")

    async def refund(self) -> None:
        way = self.chance.choice(["bank", "cash"])
        for paid in await self.till.finance.payments(account_id=None, after=None, limit=9, unapplied=True):
            wanted = WantedRefund(PaymentId(paid.payment_id), paid.unapplied, way, "x", "Erika", THEIRS)
            asked = await self.till.room.refunds.request(wanted, actor="user:t")
            if self.chance.random() < 0.2:
                await self.till.room.refunds.refuse(asked.refund_id, actor="user:u", reason="no")
                return
            await self.till.room.refunds.approve(asked.refund_id, actor="user:u")
            (found,) = await self.till.room.cash.tills()
            if way == "cash" and found.shift_id is not None:
                await self.till.room.cash.pay_out(found.shift_id, asked.refund_id, actor="user:t")
            return

    async def transferred(self) -> None:
        await self.till.room.transfers.make(self.ours, date(2027, 6, 7), actor="user:t")

    async def by_hand(self) -> None:
        code = self.chance.choice(["1460", "1461", "1462", "1600", "3520", "3806"])
        await manual(self.till, f"by hand {self.step}", code, "2900", f"{self.chance.randint(1, 9)}.00")


@pytest.mark.parametrize("seed", [1, 2])
async def test_after_a_random_walk_every_subledger_is_its_account(till: Till, seed: int) -> None:
    walk = Walk(till, seed)
    await walk.begin()
    for _ in range(STEPS):
        await walk.once()
        if walk.step % 6:
            continue
        apart = await till.control.look()
        assert [(c.name, c.subledger, c.by_hand, c.ledger) for c in apart] == [], f"step {walk.step}"
    moved = {c.name for c in await till.control.last() if c.subledger}
    assert {"gateway", "cash", "bank-imports", "bank-statements"} <= moved


DAMAGES = {
    "gateway": ("payments_card_payment", "amount_minor", ""),
    "unknown-payers": ("payments_card_payment", "amount_minor", " WHERE payment_id IS NULL"),
    "direct-debits": ("payments_collection_item", "amount_minor", ""),
    "money-in-transit": ("payments_payout", "amount_minor", ""),
    "bank-lines": ("payments_bank_line", "amount_minor", " WHERE state = 'open'"),
    "cash": ("payments_cash_receipt", "amount_minor", ""),
    "bank-imports": ("payments_bank_line", "amount_minor", " WHERE state = 'matched'"),
    "bank-statements": ("payments_statement", "closing_minor", ""),
}
"""A table, a column of it and which rows: seven more is written there, and taken back."""


async def test_a_row_of_payments_that_was_written_past_the_program_is_found(till: Till) -> None:
    walk = Walk(till, 1)
    await walk.begin()
    await walk.cash()
    await walk.cash_of(12)
    till.stripe.paid(5000, metadata={"account_id": walk.accounts[0]})
    till.stripe.paid(700)
    payout = {"id": "po_1", "object": "payout", "amount": 1000, "currency": "eur", "status": "paid"}
    till.stripe.tell("payout.paid", payout)
    await till.hear()
    await till.issue(walk.accounts[1], "30.00")
    await walk.sent()
    await walk.statement()
    till.stripe.tell("payout.paid", payout | {"id": "po_2", "amount": 500})
    await till.hear()
    for name, (table, column, rows) in DAMAGES.items():
        assert await till.control.look() == []
        await past_the_triggers(till.database, f"UPDATE {table} SET {column} = {column} + 7{rows}")
        assert name in {c.name for c in await till.control.look()}, name
        await past_the_triggers(till.database, f"UPDATE {table} SET {column} = {column} - 7{rows}")
    assert await till.control.look() == []


async def test_a_statement_that_was_never_imported_is_a_gap_between_balances(till: Till) -> None:
    walk = Walk(till, 2)
    await walk.begin()
    await walk.statement()
    walk.closing += 5
    await walk.statement()
    (gap,) = await till.control.look()
    assert (gap.name, gap.difference) == ("bank-statements", euro("-5.00"))
    till.is_sound = False

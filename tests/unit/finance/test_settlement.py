"""Payments matched, taken back, returned and written off: nothing edited, and the open items are the ledger's sum."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId, PaymentId
from controller.domain.money import Money
from controller.store import outbox
from erp.finance import receivables
from erp.finance.chart import BANK, GATEWAY
from erp.finance.errors import AlreadyTakenBack, NotThatMuch, PaymentMismatch, UnknownInvoice, WriteOffStands
from erp.finance.receipts import WRITE_OFF, Payment
from erp.finance.settlement import MoneyBack, MoneyIn
from tests.support.finance import NOW, Books


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def receive(books: Books, account: AccountId, amount: str, reference: str, **more: object) -> PaymentId:
    async with books.database.begin() as conn:
        came = MoneyIn(account, euro(amount), "card", reference, **more)  # type: ignore[arg-type]
        made, _ = await books.finance.settlement.receive_in(conn, came, actor="user:test")
    return made.payment_id


async def give_back(
    books: Books, payment_id: PaymentId, amount: str, reference: str, fee: str = "", kind: str = "chargeback"
) -> bool:
    back = MoneyBack(payment_id, euro(amount), kind, reference, GATEWAY, "disputed", euro(fee) if fee else None)
    async with books.database.begin() as conn:
        _, is_new = await books.finance.settlement.reverse_in(conn, back, actor="system:test")
    return is_new


async def balance(books: Books, code: str) -> int:
    found = {b.code: b.balance.minor for b in await books.books.trial_balance()}
    return found.get(code, 0)


async def open_of(books: Books, invoice_id: InvoiceId) -> int:
    return (await books.finance.invoice(invoice_id)).open_minor


async def assert_open_items_are_the_ledger(books: Books) -> None:
    entity = await books.crm.entity()
    async with books.database.read() as conn:
        found = await receivables.totals(conn, entity.entity_id, await books.books.today())
    assert sum(t.total.minor for t in found) == await balance(books, "1200")


async def test_a_payment_settles_the_invoices_its_payer_named_and_the_rest_waits(books: Books) -> None:
    account = await books.account()
    first, second = await books.issue(account), await books.issue(account)
    paid = await receive(books, account, "40.00", "a", apply=[(second, euro("35.70"))])
    assert (await open_of(books, first), await open_of(books, second)) == (3570, 0)
    assert (await books.finance.payment(paid)).unapplied == euro("4.30")
    assert [
        p.payment_id for p in await books.finance.payments(account_id=None, after=None, limit=5, unapplied=True)
    ] == [paid]
    await books.finance.settlement.apply(paid, first, euro("4.30"), actor="user:anna")
    assert await open_of(books, first) == 3140
    assert await books.finance.payments(account_id=None, after=None, limit=5, unapplied=True) == []


async def test_a_match_is_moved_to_another_invoice_by_rows_and_once(books: Books) -> None:
    account, other = await books.account(), await books.account()
    first = await books.issue(account)
    books.clock.move_to(NOW + timedelta(hours=1))
    second, foreign = await books.issue(account), await books.issue(other)
    paid = await receive(books, account, "35.70", "a")
    ((row,), _) = await books.finance.matches(paid)
    settlement = books.finance.settlement
    await settlement.unapply(row.allocation_id, actor="user:anna", reason="meant the second")
    await settlement.apply(paid, second, euro("35.70"), actor="user:anna")
    assert (await open_of(books, first), await open_of(books, second)) == (3570, 0)
    with pytest.raises(AlreadyTakenBack):
        await settlement.unapply(row.allocation_id, actor="user:anna", reason="again")
    with pytest.raises(NotThatMuch):
        await settlement.apply(paid, first, euro("0.01"), actor="user:anna")
    free = await receive(books, account, "50.00", "b", apply=[])
    with pytest.raises(NotThatMuch):
        await settlement.apply(free, first, euro("35.71"), actor="user:anna")
    with pytest.raises(UnknownInvoice):
        await settlement.apply(free, foreign, euro("1.00"), actor="user:anna")
    rows, _ = await books.finance.matches(paid)
    assert [r.amount_minor for r in rows] == [3570, -3570, 3570]
    for statement in ("UPDATE finance_allocation SET amount_minor = 1", "DELETE FROM finance_allocation"):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with books.database.begin() as conn:
                await conn.execute(text(statement))


async def test_a_chargeback_opens_the_invoice_again_with_its_fee_and_is_booked_once(books: Books) -> None:
    account = await books.account()
    first = await books.issue(account)
    books.clock.move_to(NOW + timedelta(hours=1))
    second = await books.issue(account)
    paid = await receive(books, account, "71.40", "pi_1", into=GATEWAY)
    assert [await give_back(books, paid, "50.00", "dp_1", "15.00") for _ in range(3)] == [True, False, False]
    assert (await open_of(books, first), await open_of(books, second)) == (1430, 3570)
    assert (await balance(books, "1460"), await balance(books, "6855")) == (7140 - 5000 - 1500, 1500)
    await assert_open_items_are_the_ledger(books)
    with pytest.raises(PaymentMismatch):
        await give_back(books, paid, "49.00", "dp_1")
    with pytest.raises(NotThatMuch):
        await give_back(books, paid, "21.41", "dp_2")
    assert await give_back(books, paid, "-50.00", "dp_1 won")
    assert (await open_of(books, first), await open_of(books, second)) == (0, 0)
    await assert_open_items_are_the_ledger(books)
    with pytest.raises(NotThatMuch):
        await give_back(books, paid, "-0.01", "dp_1 won again")
    async with books.database.read() as conn:
        told = [d.event.name for d in await outbox.recent(conn, 50)]
    assert told.count("payment.reversed") == 2


async def test_a_refund_after_a_credit_note_leaves_the_invoice_settled(books: Books) -> None:
    account = await books.account()
    bought = await books.issue(account)
    paid = await receive(books, account, "35.70", "a")
    await books.issue(account, "-30.00")
    await give_back(books, paid, "35.70", "re_1", kind="refund")
    assert await open_of(books, bought) == 0
    assert await balance(books, "1200") == 0
    await assert_open_items_are_the_ledger(books)


async def test_what_is_written_off_is_a_loss_less_its_tax_and_never_more_than_is_open(books: Books) -> None:
    account = await books.account()
    owed = await books.issue(account)
    await receive(books, account, "11.90", "part")
    tax_before = await balance(books, "3806")
    with pytest.raises(NotThatMuch):
        await books.finance.write_offs.write_off(owed, euro("23.81"), relieve_tax=True, reason="x", actor="user:anna")
    made = await books.finance.write_offs.write_off(owed, None, relieve_tax=True, reason="insolvent", actor="user:anna")
    assert (made.amount, made.kind, await open_of(books, owed)) == (euro("23.80"), "write-off", 0)
    assert (await balance(books, "6930"), await balance(books, "3806") - tax_before) == (2000, 380)
    assert await balance(books, "1200") == 0
    with pytest.raises(NotThatMuch):
        await books.finance.write_offs.write_off(owed, None, relieve_tax=True, reason="again", actor="user:anna")


async def test_a_write_off_sent_twice_under_its_reference_is_done_once(books: Books) -> None:
    account = await books.account()
    owed, other = [await books.issue(account) for _ in range(2)]

    async def give_up(invoice_id: InvoiceId, amount: str | None, reference: str | None) -> Payment:
        part = None if amount is None else euro(amount)
        return await books.finance.write_offs.write_off(
            invoice_id, part, relieve_tax=True, reason="insolvent", actor="user:anna", reference=reference
        )

    first, again = [await give_up(owed, "5.00", "w-1") for _ in range(2)]
    assert (first.payment_id, first.amount, await open_of(books, owed)) == (again.payment_id, euro("5.00"), 3070)
    for invoice_id, amount in ((other, "5.00"), (owed, "5.01")):
        with pytest.raises(PaymentMismatch, match="w-1 was booked as"):
            await give_up(invoice_id, amount, "w-1")
    rest = [await give_up(owed, None, "w-2") for _ in range(2)]
    assert ({made.payment_id for made in rest}, await open_of(books, owed)) == ({rest[0].payment_id}, 0)
    for _ in range(2):
        await give_up(other, "1.00", None)
    assert await open_of(books, other) == 3370, "without a reference each is its own"


async def test_a_write_off_becomes_no_money_that_could_settle_or_be_sent_back(books: Books) -> None:
    account = await books.account()
    owed = await books.issue(account)
    settlement = books.finance.settlement
    made = await books.finance.write_offs.write_off(owed, None, relieve_tax=True, reason="insolvent", actor="user:anna")
    rows, _ = await books.finance.matches(made.payment_id)
    with pytest.raises(WriteOffStands):
        await settlement.unapply(rows[0].allocation_id, actor="user:anna", reason="he paid after all")
    with pytest.raises(WriteOffStands):
        await give_back(books, made.payment_id, "1.00", "r", "", "refund")
    assert (await open_of(books, owed), await balance(books, "1200")) == (0, 0)


async def test_a_write_off_taken_back_leaves_the_books_as_they_were(books: Books) -> None:
    account = await books.account()
    owed, other = [await books.issue(account) for _ in range(2)]
    before = {b.code: b.balance for b in await books.books.trial_balance() if b.balance}
    give_up, take_back = books.finance.write_offs.write_off, books.finance.write_offs.take_back
    made = await give_up(owed, None, relieve_tax=True, reason="insolvent", actor="user:anna", reference="w-1")
    for _ in range(2):  # told twice, done once
        back = await take_back(made.payment_id, reason="it was another customer", actor="user:bob")
        assert (back.applied, back.reversed, back.unapplied) == ((), euro("35.70"), euro("0.00"))
    assert {b.code: b.balance for b in await books.books.trial_balance() if b.balance} == before
    assert (await open_of(books, owed), await open_of(books, other)) == (3570, 3570)
    await assert_open_items_are_the_ledger(books)
    with pytest.raises(PaymentMismatch, match="under another reference"):
        await give_up(owed, None, relieve_tax=True, reason="insolvent", actor="user:anna", reference="w-1")
    again = await give_up(owed, euro("5.00"), relieve_tax=False, reason="rounding", actor="user:anna")
    paid = await receive(books, account, "56.40", "late", apply=[(other, euro("35.70"))])
    await take_back(again.payment_id, reason="it was paid", actor="user:bob")
    assert await open_of(books, owed) == 3570 - 2070, "what waited settles it at once"
    with pytest.raises(RuleError, match="money that came"):
        await take_back(paid, reason="x", actor="user:bob")
    await assert_open_items_are_the_ledger(books)


@pytest.mark.parametrize("seed", range(3))
async def test_open_items_are_the_ledger_after_every_step_of_any_interleaving(books: Books, seed: int) -> None:
    """Invoices, credits, payments, matches, their reversal, refunds asked for and refused, money that goes back and
    write-offs in random order."""
    chance = random.Random(seed)
    accounts = [await books.account(f"Customer {n}") for n in range(2)]
    invoices: list[InvoiceId] = []
    payments: list[PaymentId] = []
    refused = done = 0
    for n in range(50):
        amount = Money(chance.randrange(1, 6000), "EUR")
        try:
            match chance.randrange(11):
                case 0 | 1:
                    invoices.append(await books.issue(chance.choice(accounts), str(amount.amount)))
                case 2:
                    await books.issue(chance.choice(accounts), str(-amount.amount))
                case 3:
                    apply = chance.choice([None, []])
                    payments.append(
                        await receive(
                            books, chance.choice(accounts), str(amount.amount), f"{n}", into=BANK, apply=apply
                        )
                    )
                case 4 if payments:
                    kind, sign = chance.choice(["refund", "chargeback"]), chance.choice([1, 1, -1])
                    await give_back(books, chance.choice(payments), str(sign * amount.amount), f"{n}", "", kind)
                case 5 if payments:
                    rows, _ = await books.finance.matches(chance.choice(payments))
                    row = chance.choice(rows)
                    await books.finance.settlement.unapply(row.allocation_id, actor="user:anna", reason="moved")
                case 6 if payments and invoices:
                    paid, owed = chance.choice(payments), chance.choice(invoices)
                    await books.finance.settlement.apply(paid, owed, amount, actor="user:anna")
                case 7 if invoices:
                    await books.finance.write_offs.write_off(
                        chance.choice(invoices), amount, relieve_tax=n % 2 == 0, reason="lost", actor="user:anna"
                    )
                case 10:
                    known = await books.finance.payments(account_id=None, after=None, limit=500)
                    lost = chance.choice([p.payment_id for p in known if p.kind == WRITE_OFF])
                    await books.finance.write_offs.take_back(lost, reason="found", actor="user:anna")
                case 8 if payments:
                    async with books.database.begin() as conn:
                        await books.finance.settlement.reservations.reserve_in(
                            conn, chance.choice(payments), amount, f"r{n % 4}", actor="user:anna", reason="asked"
                        )
                case 9:
                    async with books.database.begin() as conn:
                        await books.finance.settlement.reservations.release_in(
                            conn, f"r{n % 4}", actor="user:anna", reason="refused"
                        )
            done += 1
        except (RuleError, IndexError):
            refused += 1
        await assert_open_items_are_the_ledger(books)
        for found in await books.finance.payments(account_id=None, after=None, limit=500):
            assert found.unapplied.minor >= 0
    assert done > 15
    assert refused > 0
    assert sum(b.balance.minor for b in await books.books.trial_balance()) == 0

"""A credit note is undone like anything else: by a document that takes it back, after which all is as before it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

from controller.domain.events import ReceivablesChanged
from controller.domain.identity import AccountId, BillRunId, InvoiceId, InvoiceLineId, new_id
from controller.domain.money import Money
from controller.store.outbox import outbox
from erp.finance import correction_routes
from erp.finance.adjustments import Adjustment
from erp.finance.chart import BANK
from erp.finance.document import render
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import of_content
from erp.finance.errors import OverCredit
from erp.finance.model import Invoice
from erp.finance.recognition import Promise
from erp.finance.settlement import MoneyBack
from erp.finance.tables import invoice_line
from erp.finance.words import LANGUAGES, texts_of
from tests.support.api import api_client
from tests.support.en16931 import faults
from tests.support.finance import NOW, Books

BY = "user:anna"


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def void(books: Books, made: InvoiceId) -> Invoice:
    return await books.corrections.void(made, reason="credited by mistake", actor=BY)


async def part(books: Books, made: InvoiceId, net: str, reference: str, place: int = 0) -> Invoice:
    line = (await books.finance.lines(made))[place]
    return await books.corrections.credit(
        made, {line.line_id: euro(net)}, reason="outage", reference=reference, actor=BY
    )


async def balances(books: Books) -> dict[str, int]:
    return {b.code: b.balance.minor for b in await books.books.trial_balance() if b.balance}


async def open_of(books: Books, made: InvoiceId) -> int:
    return (await books.finance.invoice(made)).left.minor


async def test_a_credit_note_taken_back_leaves_the_books_as_they_were(books: Books) -> None:
    """Half of the line is of December: its deferred revenue is planned again, too."""
    charge = books.charge(await books.account(), "30.00", days=(date(2026, 11, 16), date(2026, 12, 16)))
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [charge])
    before = await balances(books)
    plan = [(m.month, m.planned) for m in await books.revenue.months()]
    note = await void(books, made)
    assert (await balances(books), await open_of(books, made)) == ({}, 0)
    back = await void(books, note.invoice_id)
    assert (back.kind, back.number, back.total) == ("debit-note", "INV-2026-000002", euro("35.70"))
    assert await balances(books) == before == {"1200": 3570, "4400": -1500, "3900": -1500, "3806": -570}
    assert [(m.month, m.planned) for m in await books.revenue.months()] == plan
    left = [await open_of(books, i) for i in (made, note.invoice_id, back.invoice_id)]
    assert left == [3570, 0, 0], "the invoice is owed again, on its day; the two notes settle each other"
    again = await void(books, note.invoice_id)
    assert again.invoice_id == back.invoice_id, "told twice, done once"


async def test_what_a_credit_note_settled_elsewhere_is_owed_again_and_dunning_is_told(books: Books) -> None:
    account = await books.account()
    paid = await books.issue(account)
    await books.pay(account, "35.70", "t1")
    note = await void(books, paid)
    later = await books.issue(account, "20.00")
    assert (await open_of(books, later), await open_of(books, note.invoice_id)) == (0, -1190)
    await void(books, note.invoice_id)
    assert (await open_of(books, later), await open_of(books, paid)) == (2380, 0)
    async with books.database.read() as conn:
        told = list(await conn.scalars(select(outbox.c.name)))
    assert ReceivablesChanged.name in told


async def test_what_was_refunded_for_a_credit_note_is_owed_again(books: Books) -> None:
    """The credit note took its payment's place, and the money went back to the customer."""
    account = await books.account()
    made = await books.issue(account)
    payment_id, _ = await books.pay(account, "35.70", "t1")
    note = await void(books, made)
    async with books.database.begin() as conn:
        back = MoneyBack(payment_id, euro("35.70"), "refund", "r1", BANK, "asked for")  # type: ignore[arg-type]
        await books.finance.settlement.reverse_in(conn, back, actor=BY)
    assert (await open_of(books, made), await open_of(books, note.invoice_id)) == (0, 0)
    await void(books, note.invoice_id)
    assert (await open_of(books, made), (await balances(books))["1200"]) == (3570, 3570)


async def test_what_is_open_again_is_settled_by_what_waits(books: Books) -> None:
    account = await books.account()
    made = await books.issue(account)
    note = await void(books, made)
    await books.pay(account, "10.00", "t1")
    await void(books, note.invoice_id)
    assert await open_of(books, made) == 2570


async def test_a_credit_note_is_taken_back_in_parts_and_its_line_credited_again(books: Books) -> None:
    made = await books.issue(await books.account())
    first = await part(books, made, "20.00", "a")
    back = await part(books, first.invoice_id, "-5.00", "b")
    assert (back.kind, back.total, await open_of(books, made)) == ("debit-note", euro("5.95"), 1785)
    with pytest.raises(OverCredit, match=r"-15\.00 EUR are left of -20\.00 EUR, not -15\.01 EUR"):
        await part(books, first.invoice_id, "-15.01", "c")
    with pytest.raises(OverCredit, match=r"15\.00 EUR are left of 30\.00 EUR, not 15\.01 EUR"):
        await part(books, made, "15.01", "d")
    assert (await part(books, made, "15.00", "e")).total == euro("-17.85")
    rest = await void(books, first.invoice_id)
    assert (rest.total, await open_of(books, made)) == (euro("17.85"), 1785)
    with pytest.raises(OverCredit, match="credit what it charges again on INV-2026-000001"):
        await void(books, back.invoice_id)


async def test_a_void_taken_back_may_be_followed_by_another(books: Books) -> None:
    made = await books.issue(await books.account())
    notes = []
    for _ in range(3):
        note = await void(books, made)
        assert (await void(books, made)).invoice_id == note.invoice_id
        notes.append(note.number)
        await void(books, note.invoice_id)
    assert notes == ["CN-2026-000001", "CN-2026-000002", "CN-2026-000003"]
    assert (await balances(books))["1200"] == 3570


@pytest.mark.parametrize("net", ["-10.00", "10.00"])
async def test_an_adjustment_either_way_is_undone_by_its_void(books: Books, net: str) -> None:
    account = await books.account()
    other = await books.issue(account)
    wanted = Adjustment(account, euro(net), Decimal(19), "Goodwill", "outage", "g1")
    made = await books.corrections.adjust(wanted, actor=BY)
    undone = await void(books, made.invoice_id)
    assert (undone.kind, undone.total) == ("debit-note" if net[0] == "-" else "credit-note", -made.total)
    assert await balances(books) == {"1200": 3570, "4400": -3000, "3806": -570}
    assert await open_of(books, other) == 3570


async def test_what_is_billed_on_a_contract_is_billed_on_it_again(books: Books) -> None:
    account = await books.account()
    charge = books.charge(account, "30.00")
    contract = await books.revenue.sign(
        account_id=account,
        reference="c1",
        price=euro("30.00"),
        signed_on=date(2026, 11, 1),
        promises=[Promise("Line", "revenue-recurring", 3000, date(2026, 11, 1), date(2026, 12, 1))],
        subscription_id=charge.subscription_id,
        actor=BY,
    )
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [charge])
    note = await void(books, made)
    assert (await books.revenue.contract(contract.contract_id))[0].billed_minor == 0
    await void(books, note.invoice_id)
    assert (await books.revenue.contract(contract.contract_id))[0].billed_minor == 3000


async def test_the_debit_note_names_what_it_takes_back_on_paper_and_in_the_e_invoice(books: Books) -> None:
    note = await void(books, await books.issue(await books.account()))
    back = await void(books, note.invoice_id)
    content = await books.finance.content(back.invoice_id)
    told = of_content(content)
    assert (told.type_code, told.preceding, told.note) == ("383", (note.number,), "credited by mistake")
    assert (told.prepaid, told.due) == (Decimal("35.70"), Decimal("0.00"))
    assert faults("ubl-invoice", ubl.render(told)) == []
    assert faults("cii", cii.render(told)) == []
    assert content["lines"][0]["net_minor"] == 3000
    for language in LANGUAGES:
        assert "{number}" in texts_of(language)["takes-back"]
        assert render(content | {"locale": language}).startswith(b"%PDF")


@pytest.mark.parametrize(
    ("net", "tax", "of"), [(2001, 380, "credit"), (2000, 381, "credit"), (-1, 0, "credit"), (-1, 0, "back")]
)
async def test_the_database_refuses_to_take_back_more_than_a_credit(books: Books, net: int, tax: int, of: str) -> None:
    """Thirty were credited, and ten of that taken back: twenty are left, and nothing takes back what takes back."""
    made = await books.issue(await books.account())
    note = await void(books, made)
    back = await part(books, note.invoice_id, "-10.00", "a")
    (credit_line,), (back_line,) = [await books.finance.lines(i) for i in (note.invoice_id, back.invoice_id)]
    async with books.database.read() as conn:
        row = (await conn.execute(select(invoice_line).where(invoice_line.c.line_id == back_line.line_id))).one()
    new = dict(row._mapping) | {"line_id": "f" * 32, "charge_id": "f" * 32, "position": 2}
    # On a document that is none of the chain, so that nothing but the amounts and the chain are at fault.
    on = await books.issue((await books.finance.invoice(made)).account_id)
    new |= {"invoice_id": on, "credits_line_id": (credit_line if of == "credit" else back_line).line_id}
    with pytest.raises(DBAPIError, match="more is credited than the line says"):
        async with books.database.begin() as conn:
            await conn.execute(insert(invoice_line).values(new | {"net_minor": net, "tax_minor": tax}))
    async with books.database.begin() as conn:
        kept = {"net_minor": 2000, "tax_minor": 380, "credits_line_id": credit_line.line_id}
        await conn.execute(insert(invoice_line).values(new | kept))


async def test_the_database_counts_only_credits_that_stand(books: Books) -> None:
    made = await books.issue(await books.account())
    note = await void(books, made)
    await part(books, note.invoice_id, "-10.00", "a")
    (credit_line,) = await books.finance.lines(note.invoice_id)
    async with books.database.read() as conn:
        row = (await conn.execute(select(invoice_line).where(invoice_line.c.line_id == credit_line.line_id))).one()
    new = dict(row._mapping) | {"line_id": "f" * 32, "charge_id": "f" * 32, "position": 2}
    with pytest.raises(DBAPIError, match="more is credited"):
        async with books.database.begin() as conn:
            await conn.execute(insert(invoice_line).values(new | {"net_minor": -1001, "tax_minor": -190}))
    async with books.database.begin() as conn:
        await conn.execute(insert(invoice_line).values(new | {"net_minor": -1000, "tax_minor": -190}))


@pytest.mark.parametrize("seed", range(2))
async def test_any_order_of_credits_and_voids_leaves_what_is_left_standing(books: Books, seed: int) -> None:
    """Lines of both signs, credited, voided and taken back, whole or in part: nothing is lost or doubled."""
    chance = random.Random(seed)
    account = await books.account()
    made = await books.issue(account, "30.00", "-7.51", "0.02")
    lines = {line.line_id: line for line in await books.finance.lines(made)}
    documents = [made]
    refused = 0
    for n in range(14):
        of = chance.choice(documents)
        try:
            if chance.random() < 0.5:
                found = await void(books, of)
            else:
                line = chance.choice(await books.finance.lines(of))
                some = chance.randrange(1, abs(line.net.minor) + 3) * (1 if line.net.minor > 0 else -1)
                wanted = {line.line_id: Money(some, "EUR")}
                found = await books.corrections.credit(of, wanted, reason="x", reference=f"r{n}", actor=BY)
            if found.invoice_id not in documents:
                documents.append(found.invoice_id)
        except OverCredit:
            refused += 1
        await assert_what_stands(books, account, documents, lines)
    assert len(documents) > 4


async def assert_what_stands(
    books: Books, account: AccountId, documents: list[InvoiceId], lines: Mapping[InvoiceLineId, object]
) -> None:
    """By the lines alone: line balances, receivables, revenue and tax."""
    written = [line for i in documents for line in await books.finance.lines(i)]
    net, tax = [sum(getattr(line, of).minor for line in written) for of in ("net", "tax")]
    found = await balances(books)
    assert found.get("4400", 0) + found.get("3900", 0) == -net
    assert (found.get("3806", 0), found.get("1200", 0)) == (-tax, net + tax)
    items = await books.books.open_items(account, date(2026, 11, 1))
    assert sum(item.open.minor for item in items) == net + tax
    by_line = {line.line_id: line for line in written}
    for creditable in await books.corrections.creditable(documents[0]):
        line = creditable.line
        credits = [w for w in written if w.credits_line_id == line.line_id]
        ids = {w.line_id for w in credits}
        chain = [line, *credits, *(w for w in written if w.credits_line_id in ids)]
        assert creditable.left.minor == sum(w.net.minor for w in chain)
        assert creditable.gross_left.minor == sum(w.net.minor + w.tax.minor for w in chain)
        sign = 1 if line.net.minor > 0 else -1
        assert 0 <= sign * creditable.left.minor <= sign * line.net.minor
        assert line.line_id in lines
    assert len(by_line) == len(written)


async def test_a_credit_note_is_taken_back_over_http(books: Books) -> None:
    made = await books.issue(await books.account())
    async with api_client(correction_routes.endpoints(books.corrections), clock=books.clock) as api:
        note = (await api.post(f"/invoices/{made}/void", json={"reason": "wrong customer"})).json()
        (line,) = (await api.get(f"/invoices/{note['invoice_id']}/creditable")).json()["lines"]
        assert line["left"]["amount"] == "-30.00"
        body = {"reference": "r", "reason": "it was right", "lines": [{"line_id": line["line_id"], "net": "-10.00"}]}
        back = await api.post(f"/invoices/{note['invoice_id']}/credit-notes", json=body)
        assert (back.status_code, back.json()["kind"], back.json()["net"]["amount"]) == (201, "debit-note", "10.00")
        rest = await api.post(f"/invoices/{note['invoice_id']}/void", json={"reason": "it was right"})
        assert (rest.status_code, rest.json()["net"]["amount"]) == (201, "20.00")
        (line,) = (await api.get(f"/invoices/{rest.json()['invoice_id']}/creditable")).json()["lines"]
        assert line["left"]["amount"] == "0.00"
        refused = await api.post(f"/invoices/{rest.json()['invoice_id']}/void", json={"reason": "x"})
        assert (refused.status_code, refused.json()["code"]) == (422, OverCredit.code)
        assert "INV-2026-000001" in refused.json()["detail"]

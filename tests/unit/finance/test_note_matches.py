"""What a credit note settles is moved by people: taken back by a row, matched with another invoice, never beyond it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from controller.domain.errors import RuleError
from controller.domain.events import ReceivablesChanged
from controller.domain.money import Money
from controller.store import audit
from controller.store.outbox import outbox
from erp.finance import note_routes
from erp.finance.errors import AlreadyTakenBack, NotThatMuch, UnknownAllocation, UnknownInvoice
from tests.support.api import api_client
from tests.support.finance import Books

BY = "user:anna"


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def test_the_match_of_a_credit_note_is_moved_to_another_invoice_by_rows_and_once(books: Books) -> None:
    account = await books.account()
    first = await books.issue(account)
    note = await books.issue(account, "-10.00")
    second = await books.issue(account)
    moves = books.finance.note_matches
    (row,) = await moves.matches(note)
    assert (row.invoice_id, row.amount_minor) == (first, 1190)
    found = await moves.take_back(row.allocation_id, reason="meant the second", actor=BY)
    assert (found.left, (await books.finance.invoice(first)).open_minor) == (euro("-11.90"), 3570)
    with pytest.raises(AlreadyTakenBack):
        await moves.take_back(row.allocation_id, reason="x", actor=BY)
    with pytest.raises(NotThatMuch, match=r"11\.90 EUR of .* settle nothing yet, not 11\.91 EUR"):
        await moves.apply(note, second, euro("11.91"), actor=BY)
    found = await moves.apply(note, second, euro("11.90"), actor=BY)
    assert [(await books.finance.invoice(i)).open_minor for i in (first, second)] == [3570, 2380]
    assert found.left == euro("0.00")
    items = {b.code: b.balance.minor for b in await books.books.trial_balance()}
    assert items["1200"] == 3570 * 2 - 1190, "the books do not move"
    async with books.database.read() as conn:
        told = [r["actor"] for r in await audit.about(conn, f"invoice:{note}", "credit-note.unapply")]
        names = list(await conn.scalars(select(outbox.c.name)))
    assert (told, names.count(ReceivablesChanged.name)) == ([BY], 2)


async def test_what_does_not_fit_is_refused(books: Books) -> None:
    account, other = await books.account(), await books.account("Other")
    owed, strange = await books.issue(account, "5.00"), await books.issue(other)
    paid, _ = await books.pay(account, "5.95", "t1")
    note = await books.issue(account, "-10.00")
    moves = books.finance.note_matches
    for invoice_id, amount, refusal in (
        (strange, euro("1.00"), UnknownInvoice),
        (owed, Money(100, "USD"), UnknownInvoice),
        (owed, euro("0.01"), NotThatMuch),
        (owed, euro("-1.00"), NotThatMuch),
    ):
        with pytest.raises(refusal):
            await moves.apply(note, invoice_id, amount, actor=BY)
    with pytest.raises(NotThatMuch):  # an invoice is no credit
        await moves.apply(owed, owed, euro("1.00"), actor=BY)
    (row,) = (await books.finance.matches(paid))[0]  # type: ignore[arg-type]
    with pytest.raises(UnknownAllocation):
        await moves.take_back(row.allocation_id, reason="x", actor=BY)


async def test_what_takes_a_credit_note_back_stays_settled_by_it(books: Books) -> None:
    account = await books.account()
    note = await books.corrections.void(await books.issue(account), reason="x", actor=BY)
    back = await books.corrections.void(note.invoice_id, reason="y", actor=BY)
    rows = await books.finance.note_matches.matches(note.invoice_id)
    (row,) = [r for r in rows if r.invoice_id == back.invoice_id]
    with pytest.raises(RuleError, match="takes CN-2026-000001 back"):
        await books.finance.note_matches.take_back(row.allocation_id, reason="x", actor=BY)


async def test_matches_of_a_credit_note_over_http(books: Books) -> None:
    account = await books.account()
    owed = await books.issue(account)
    note = await books.issue(account, "-10.00")
    async with api_client(note_routes.endpoints(books.finance), clock=books.clock) as api:
        found = (await api.get(f"/invoices/{note}/allocations")).json()
        (row,) = found["allocations"]
        assert (row["number"], row["standing"], found["unapplied"]["amount"]) == ("INV-2026-000001", True, "0.00")
        path = f"/credit-allocations/{row['allocation_id']}/reverse"
        taken = await api.post(path, json={"reason": "another invoice"})
        assert (taken.status_code, taken.json()["unapplied"]["amount"]) == (200, "11.90")
        body = {"invoice_id": owed, "amount": {"amount": "4.00", "currency": "EUR"}}
        made = await api.post(f"/invoices/{note}/allocations", json=body)
        assert (made.status_code, made.json()["unapplied"]["amount"]) == (201, "7.90")
        assert [a["standing"] for a in made.json()["allocations"]] == [False, False, True]

"""A payment that was booked by hand is undone: what it settled is owed again, and nothing of it is left anywhere."""

from __future__ import annotations

import pytest

from controller.domain.identity import PaymentId
from controller.domain.money import Money
from erp.finance import settlement_routes
from erp.finance.chart import BANK, GATEWAY
from erp.finance.errors import NotByHand, NotThatMuch, WriteOffStands
from erp.finance.settlement import MoneyBack, MoneyIn
from tests.support.api import api_client
from tests.support.finance import Books

BY = "user:anna"


def euro(amount: str) -> Money:
    return Money.exact(amount, "EUR")


async def test_a_payment_booked_by_hand_is_void_once_and_the_books_are_as_before(books: Books) -> None:
    account = await books.account()
    owed = await books.issue(account)
    before = {b.code: b.balance for b in await books.books.trial_balance() if b.balance}
    paid, _ = await books.pay(account, "40.00", "t1")
    assert (await books.finance.invoice(owed)).open_minor == 0
    for _ in range(2):
        found = await books.finance.settlement.void(PaymentId(paid), reason="another customer", actor=BY)
        assert (found.applied, found.unapplied, found.reversed) == ((), euro("0.00"), euro("40.00"))
    assert (await books.finance.invoice(owed)).open_minor == 3570
    assert {b.code: b.balance for b in await books.books.trial_balance() if b.balance} == before


async def test_of_what_was_refunded_in_part_the_rest_is_void(books: Books) -> None:
    account = await books.account()
    paid, _ = await books.pay(account, "40.00", "t1")
    settlement = books.finance.settlement
    async with books.database.begin() as conn:
        await settlement.reservations.reserve_in(conn, PaymentId(paid), euro("5.00"), "r1", actor=BY, reason="asked")
    with pytest.raises(NotThatMuch, match="refuse the refund first"):
        await settlement.void(PaymentId(paid), reason="x", actor=BY)
    async with books.database.begin() as conn:
        back = MoneyBack(PaymentId(paid), euro("5.00"), "refund", "r1", BANK, "asked", held="r1")
        await settlement.reverse_in(conn, back, actor=BY)
    found = await settlement.void(PaymentId(paid), reason="x", actor=BY)
    assert (found.kept, [b.balance.minor for b in await books.books.trial_balance() if b.balance]) == (euro("0.00"), [])


async def test_what_was_told_elsewhere_is_undone_there(books: Books) -> None:
    account = await books.account()
    owed = await books.issue(account)
    async with books.database.begin() as conn:
        came = MoneyIn(account, euro("5.00"), "stripe", "pi_1", into=GATEWAY)
        card, _ = await books.finance.settlement.receive_in(conn, came, actor="system:test")
    lost = await books.finance.write_offs.write_off(owed, None, relieve_tax=True, reason="x", actor=BY)
    for payment_id, refusal in ((card.payment_id, NotByHand), (lost.payment_id, WriteOffStands)):
        with pytest.raises(refusal):
            await books.finance.settlement.void(payment_id, reason="x", actor=BY)


async def test_a_payment_is_void_over_http(books: Books) -> None:
    account = await books.account()
    paid, _ = await books.pay(account, "40.00", "t1")
    async with api_client(settlement_routes.endpoints(books.finance), clock=books.clock) as api:
        assert (await api.post(f"/payments/{paid}/void", json={})).status_code == 422
        made = await api.post(f"/payments/{paid}/void", json={"reason": "never came"})
        assert (made.status_code, made.json()["reversed"]["amount"]) == (200, "40.00")
        assert [(r["kind"], r["reason"]) for r in made.json()["reversals"]] == [("void", "never came")]
        assert (await api.post(f"/payments/{'0' * 32}/void", json={"reason": "x"})).status_code == 404

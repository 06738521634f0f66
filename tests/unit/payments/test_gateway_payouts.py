"""What a gateway keeps and pays out: its fees are booked once, and a payout is what its transactions make."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.http_server import serving
from tests.support.payments import Till


async def test_payouts_leave_the_gateway_once_and_come_back_when_they_fail(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    till.stripe.paid(5000, metadata={"account_id": account})
    payout = {"id": "po_1", "object": "payout", "amount": 4000, "currency": "eur", "status": "paid"}
    failed = till.stripe.tell("payout.failed", payout)
    paid = till.stripe.tell("payout.paid", payout)
    for event in (till.stripe.events[0], failed):
        await till.deliver(event)
    await till.room.inbox.drain()
    assert (await till.balance("1462"), dict(await till.told())["payout.failed"]) == (0, "waiting")
    await till.deliver(paid)
    assert await till.room.inbox.drain() == 2
    assert (await till.balance("1460"), await till.balance("1462")) == (5000, 0)


async def test_fees_are_booked_once_and_a_payout_is_what_its_transactions_make(till: Till) -> None:
    """Two payments, one of which no event told the fee of, a dispute and a monthly fee; then the bank's line."""

    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        account = await till.account()
        first, second = [till.stripe.paid(n, metadata={"account_id": account}) for n in (5000, 3000)]
        till.stripe.settle(first, 150)
        silent = till.stripe.settle(second, 95)
        till.stripe.events.remove(silent)
        till.stripe.dispute(till.stripe.paid(1000, metadata={"account_id": account}), fee=1500)
        till.stripe._moved(-200, "eur", 0, kind="stripe_fee")
        await till.hear()
        await till.hear()
        assert (await till.balance("6855"), await till.balance("1460")) == (1500, 5000 + 3000 + 1000 - 1000 - 1500)
        till.stripe.faults.extend(["500", "429"])
        assert await till.room.fees.resume() == 1
        assert await till.room.fees.resume() == 0
        assert await till.balance("6855") == 1500 + 150
        till.stripe.pay_out(int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()))
        await till.hear()
        assert await till.room.fees.resume() == 1
        (payout,) = await till.room.fees.payouts(9)
        # The payment of 10.00 that is disputed never moved the balance in this account of the gateway's.
        assert (payout.amount.minor, payout.state) == (4850 + 2905 - 2500 - 200, "sent")
        assert (payout.checked, payout.difference.minor) == ("agrees", 0)
        assert await till.balance("6855") == 1500 + 150 + 95 + 200
        assert await till.balance("1462") == payout.amount.minor
        assert await till.balance("1460") == 1000, "what was told as paid and is not in the payout"
        await till.room.fees.resume()
        assert await till.balance("6855") == 1945
    await till.assert_sound()


@pytest.mark.parametrize("listed", [True, False])
async def test_a_fee_that_no_event_of_its_dispute_listed_is_left_to_a_person(till: Till, listed: bool) -> None:
    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        paid = till.stripe.paid(9000, metadata={"account_id": await till.account()})
        till.stripe.settle(paid, 0)
        dispute = till.stripe.dispute(paid | {"amount": 1000}, fee=1500)
        till.stripe.moved[dispute["balance_transactions"][0]["id"]]["source"] = dispute["id"]
        if not listed:
            till.stripe.events[-1]["data"]["object"] = dispute | {"balance_transactions": []}
        till.stripe.pay_out(int(datetime(2026, 11, 20, tzinfo=UTC).timestamp()))
        await till.hear()
        await till.hear()
        await till.room.fees.resume()
    async with till.database.read() as conn:
        query = text("SELECT state, detail FROM payments_balance_transaction WHERE fee_minor = 1500")
        ((state, detail),) = (await conn.execute(query)).all()
    assert await till.balance("6855") == (1500 if listed else 0)
    words = "booked with its dispute" if listed else f"dispute {dispute['id']}: book its 15.00 EUR by hand"
    assert (state, words in detail) == ("known" if listed else "by-hand", True)


@pytest.mark.parametrize("line_first", [True, False])
async def test_the_line_of_the_bank_takes_a_payout_from_what_is_on_its_way(till: Till, line_first: bool) -> None:
    till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
    await till.gateway()
    await till.room.bank.add_account(
        name="Testnetz GmbH", iban=IBAN, bic="", creditor_id="", currency="EUR", actor="user:test"
    )
    on = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())
    payout = {"id": "po_1", "object": "payout", "amount": 4000, "currency": "eur", "arrival_date": on}
    paid = till.stripe.tell("payout.paid", payout)
    lines = [Entry("40.00", [Tx(name="STRIPE PAYMENTS EUROPE")], ref="R1"), Entry("40.00", [Tx(name="A")], ref="R2")]

    async def statement() -> None:
        await till.room.statements.read(camt("08", Stmt("0.00", lines)), "1", actor="user:anna")

    if line_first:
        await statement()
        assert await till.balance("1463") == -8000
    await till.deliver(paid)
    await till.room.inbox.drain()
    if not line_first:
        await statement()
    await till.room.statements.look()
    (found,) = await till.room.fees.payouts(9)
    assert (found.state, await till.balance("1462"), await till.balance("1463")) == ("arrived", 0, -4000)
    (line, _) = await till.room.bank.line(str(found.line_id))
    assert (line.party, line.matched, line.subject) == ("STRIPE PAYMENTS EUROPE", "payout", "po_1")
    await till.assert_sound()


async def test_an_answer_that_is_no_balance_transaction_books_nothing_and_is_asked_again(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        paid = till.stripe.paid(5000, metadata={"account_id": await till.account()})
        till.stripe.settle(paid, 150)
        await till.hear()
        (moved,) = till.stripe.moved.values()
        for wrong in ({"fee": "150"}, {"fee": None}, {"fee": 1.5}, {"currency": 7}, {"amount": 10**18}):
            right = dict(moved)
            moved.update(wrong)
            assert await till.room.fees.resume() == 0
            moved.update(right)
            assert await till.balance("6855") == 0
        assert await till.room.fees.resume() == 1
        assert await till.balance("6855") == 150

"""Refunds by the gateway: approved by another, sent once under their id, booked once, undone when not delivered."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from controller.domain.errors import RuleError
from controller.domain.identity import PaymentId
from controller.store import audit
from erp.finance.chart import GATEWAY
from erp.finance.errors import NotThatMuch
from erp.finance.payment_tables import allocation, reservation
from erp.finance.settlement import MoneyBack
from erp.payments.errors import GatewayDeclined, GatewayUnsure, NeedsAnother, WrongState
from erp.payments.refunds import WantedRefund
from tests.support.http_server import serving
from tests.support.payments import Till, euro


@pytest.mark.parametrize("event_first", [True, False])
async def test_a_refund_is_approved_by_another_sent_once_and_booked_once(till: Till, event_first: bool) -> None:
    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        account = await till.account()
        intent = till.stripe.paid(10_000, metadata={"account_id": account})
        await till.hear()
        (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
        refunds = till.room.refunds
        wanted = WantedRefund(payment.payment_id, euro("60.00"), "gateway", "cancelled")
        asked = await refunds.request(wanted, actor="user:anna")
        with pytest.raises(NeedsAnother):
            await refunds.approve(asked.refund_id, actor="user:anna")
        with pytest.raises(NotThatMuch):
            await refunds.request(wanted, actor="user:anna")
        if event_first:
            till.stripe.faults.extend(["lost", "500", "500", "500", "500"])
            with pytest.raises(GatewayUnsure):
                await refunds.approve(asked.refund_id, actor="user:bert")
            assert (await refunds.get(asked.refund_id)).state == "sent"
            await till.hear()
            assert await refunds.resume() == 0, "its event has said it"
        else:
            await refunds.approve(asked.refund_id, actor="user:bert")
            await till.hear()
        assert (await refunds.get(asked.refund_id)).state == "done"
        with pytest.raises(WrongState):
            await refunds.approve(asked.refund_id, actor="user:bert")
        assert (await till.finance.payment(payment.payment_id)).kept == euro("40.00")
        assert len(till.stripe.refunds) == 1
        small = await refunds.request(
            WantedRefund(payment.payment_id, euro("40.00"), "gateway", "rest"), actor="user:anna"
        )
        till.stripe.refunds["other"] = {"payment_intent": intent["id"], "amount": 4000}
        with pytest.raises(GatewayDeclined):
            await refunds.approve(small.refund_id, actor="user:anna")
        assert (await refunds.get(small.refund_id)).state == "refused"
    await till.assert_sound()


@pytest.mark.parametrize("failed_first", [True, False])
async def test_a_refund_that_could_not_be_delivered_is_the_customers_again(till: Till, failed_first: bool) -> None:
    await till.gateway()
    account = await till.account()
    intent = till.stripe.paid(5000, metadata={"account_id": account})
    till.stripe.refunded(intent, 2000)
    refund = {"id": "re_1", "payment_intent": intent["id"], "amount": 2000, "currency": "eur", "status": "failed"}
    till.stripe.tell("refund.failed", refund)
    paid, refunded, failed = till.stripe.events
    for event in [failed, paid, refunded, failed] if failed_first else [paid, refunded, failed]:
        await till.deliver(event)
        await till.room.inbox.drain()
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    assert (payment.unapplied, {state for _, state in await till.told()}) == (euro("50.00"), {"booked"})
    await till.assert_sound()


@pytest.mark.parametrize(
    "told_by", [["charge.refund.updated"], ["refund.updated", "refund.failed", "charge.refund.updated"]]
)
async def test_every_version_of_the_api_tells_once_that_a_refund_failed(till: Till, told_by: list[str]) -> None:
    """Until 2024-10-28 charge.refund.updated alone, from then on three events, each with the refund's status."""
    await till.gateway()
    account = await till.account()
    intent = till.stripe.paid(5000, metadata={"account_id": account})
    till.stripe.refunded(intent, 2000)
    refund = {"id": "re_1", "payment_intent": intent["id"], "amount": 2000, "currency": "eur", "status": "succeeded"}
    till.stripe.tell("charge.refund.updated", refund)
    await till.hear()
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    assert payment.unapplied == euro("30.00"), "an update alone gives nothing back"
    for kind in told_by:
        till.stripe.tell(kind, refund | {"status": "failed"})
    await till.hear()
    assert (await till.finance.payment(payment.payment_id)).unapplied == euro("50.00")
    await till.assert_sound()


async def test_what_is_refunded_again_after_it_could_not_be_delivered_is_booked_again(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    intent = till.stripe.paid(5000, metadata={"account_id": account})
    till.stripe.refunded(intent, 2000)
    refund = {"id": "re_1", "payment_intent": intent["id"], "amount": 2000, "currency": "eur", "status": "failed"}
    till.stripe.tell("refund.failed", refund)
    await till.hear()
    till.stripe.refunded(intent, 2000)
    await till.hear()
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    assert (payment.unapplied, await till.balance("1460")) == (euro("30.00"), 3000)
    await till.assert_sound()


async def test_a_refund_never_opens_an_invoice(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    invoice = await till.issue(account)
    till.stripe.paid(3570, metadata={"account_id": account})
    await till.hear()
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    wanted = WantedRefund(
        payment.payment_id, euro("10.00"), "bank", "goodwill", "Erika Beispiel", "DE02120300000000202051"
    )
    with pytest.raises(NotThatMuch, match="credit the invoice first"):
        await till.room.refunds.request(wanted, actor="user:anna")
    await till.issue(account, "-10.00")
    made = await till.room.refunds.request(wanted, actor="user:anna")
    assert (made.state, made.iban) == ("requested", "DE02120300000000202051")
    assert (await till.room.refunds.refuse(made.refund_id, actor="user:bert", reason="no")).state == "refused"
    assert await till.open_of(invoice) == 0


def by_bank(payment_id: PaymentId, amount: str) -> WantedRefund:
    return WantedRefund(payment_id, euro(amount), "bank", "goodwill", "Erika Beispiel", "DE02120300000000202051")


async def test_what_a_refund_was_asked_for_is_spent_by_nothing_else(till: Till) -> None:
    account = await till.account()
    paid, _ = await till.pay(account, "40.00", "t1")
    payment_id, refunds = PaymentId(paid), till.room.refunds
    asked = await refunds.request(by_bank(payment_id, "25.00"), actor="user:anna")
    with pytest.raises(NotThatMuch, match=r"15\.00 EUR can be given back"):
        await refunds.request(by_bank(payment_id, "15.01"), actor="user:anna")
    invoice = await till.issue(account)
    assert await till.open_of(invoice) == 3570 - 1500, "the invoice gets what nobody waits for"
    found = await till.finance.payment(payment_id)
    assert (found.unapplied, found.reserved) == (euro("0.00"), euro("25.00"))
    with pytest.raises(NotThatMuch):
        await till.finance.settlement.apply(payment_id, invoice, euro("0.01"), actor="user:anna")
    assert await till.finance.payments(account_id=account, after=None, limit=9, unapplied=True) == []
    await refunds.refuse(asked.refund_id, actor="user:bert", reason="no")
    assert await till.open_of(invoice) == 0, "what is free again settles what was waiting for it"
    found = await till.finance.payment(payment_id)
    assert (found.unapplied, found.reserved) == (euro("4.30"), euro("0.00"))
    await till.assert_sound()


async def test_a_refund_that_a_credit_note_covers_takes_its_cover_at_once(till: Till) -> None:
    account = await till.account()
    invoice = await till.issue(account)
    paid, _ = await till.pay(account, "35.70", "t1")
    await till.issue(account, "-10.00")
    refunds = till.room.refunds
    asked = await refunds.request(by_bank(PaymentId(paid), "10.00"), actor="user:anna")
    later = await till.issue(account, "10.00")
    assert [await till.open_of(i) for i in (invoice, later)] == [0, 1000], "1.90 of the credit note was left"
    await refunds.approve(asked.refund_id, actor="user:bert")
    ours = await our_account(till)
    await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    assert [await till.open_of(i) for i in (invoice, later)] == [0, 1000]
    found = await till.finance.payment(PaymentId(paid))
    assert (found.reversed, found.reserved, found.unapplied) == (euro("10.00"), euro("0.00"), euro("0.00"))
    await till.assert_sound()


async def test_a_chargeback_takes_what_was_reserved_and_no_refund_of_it_is_sent(till: Till) -> None:
    account = await till.account()
    paid, _ = await till.pay(account, "40.00", "t1")
    payment_id, refunds = PaymentId(paid), till.room.refunds
    approved = await refunds.request(by_bank(payment_id, "30.00"), actor="user:anna")
    await refunds.approve(approved.refund_id, actor="user:bert")
    asked = await refunds.request(by_bank(payment_id, "5.00"), actor="user:anna")
    with pytest.raises(NotThatMuch, match="refuse the refund first"):
        await give_back(till, payment_id, "40.00", "void")
    await give_back(till, payment_id, "40.00", "chargeback")
    with pytest.raises(NotThatMuch):
        await refunds.approve(asked.refund_id, actor="user:bert")
    other, _ = await till.pay(account, "7.00", "t2")
    sent = await refunds.request(by_bank(PaymentId(other), "7.00"), actor="user:anna")
    await refunds.approve(sent.refund_id, actor="user:bert")
    made = await till.room.transfers.make(await our_account(till), date(2026, 11, 23), actor="user:bert")
    assert [r.refund_id for r in made.refused] == [approved.refund_id]
    states = [(await refunds.get(r.refund_id)).state for r in (approved, sent)]
    assert states == ["refused", "sent"]
    await till.assert_sound()


async def test_where_the_money_of_every_refund_is_gone_there_is_no_file_and_they_stay_refused(till: Till) -> None:
    account = await till.account()
    paid, _ = await till.pay(account, "40.00", "t1")
    refunds, ours = till.room.refunds, await our_account(till)
    approved = [await refunds.request(by_bank(PaymentId(paid), amount), actor="user:anna") for amount in ("30", "10")]
    for one in approved:
        await refunds.approve(one.refund_id, actor="user:bert")
    await give_back(till, PaymentId(paid), "40.00", "chargeback")
    with pytest.raises(RuleError, match=r"they are refused \(.*30\.00 EUR to .*ask again"):
        await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    found = [await refunds.get(one.refund_id) for one in approved]
    assert [(one.state, one.detail != "") for one in found] == [("refused", True)] * 2
    async with till.database.read() as conn:
        told = [await audit.about(conn, f"refund:{one.refund_id}", "refund.refuse", limit=1) for one in approved]
    assert [row[0]["actor"] for row in told] == ["user:bert"] * 2
    with pytest.raises(RuleError, match="no refund by bank is approved"):
        await till.room.transfers.make(ours, date(2026, 11, 23), actor="user:bert")
    await till.assert_sound()


async def test_a_refund_that_nobody_approves_ends_and_its_credit_is_free(till: Till) -> None:
    account = await till.account()
    paid, _ = await till.pay(account, "40.00", "t1")
    asked = await till.room.refunds.request(by_bank(PaymentId(paid), "40.00"), actor="user:anna")
    await till.later(days=30)
    await till.room.resume()
    assert (await till.room.refunds.get(asked.refund_id)).state == "requested"
    await till.later(minutes=1)
    await till.room.resume()
    ended = await till.room.refunds.get(asked.refund_id)
    assert (ended.state, ended.detail) == ("refused", "not approved within 30 days: ask again")
    assert (await till.finance.payment(PaymentId(paid))).unapplied == euro("40.00")


async def test_the_database_refuses_to_spend_a_credit_twice(till: Till) -> None:
    account = await till.account()
    paid, _ = await till.pay(account, "40.00", "t1")
    await till.room.refunds.request(by_bank(PaymentId(paid), "25.00"), actor="user:anna")
    credit_note = await till.issue(account, "-10.00")
    taken_back, other = await till.issue(account, "10.00"), await till.issue(account, "100.00")
    assert await till.open_of(taken_back) == 0
    assert await till.open_of(other) == 11900 - 1500
    row = {"invoice_id": other, "at": till.clock.now(), "applied_on": till.clock.now().date(), "amount_minor": 1}
    held = {"reference": "other", "at": till.clock.now(), "actor": "sql", "reason": "", "amount_minor": 1}
    for statement, message in (
        (insert(allocation).values(row | {"payment_id": paid}), "more is spent than the payment has"),
        (insert(allocation).values(row | {"credit_note_id": credit_note}), "more is spent than the credit note has"),
        (insert(reservation).values(held | {"payment_id": paid}), "more is spent than the payment has"),
    ):
        with pytest.raises(IntegrityError, match=message):
            async with till.database.begin() as conn:
                await conn.execute(statement)


async def give_back(till: Till, payment_id: PaymentId, amount: str, kind: str) -> None:
    till.is_sound = False  # no event of the gateway's tells of it
    async with till.database.begin() as conn:
        back = MoneyBack(payment_id, euro(amount), kind, "cb", GATEWAY, "disputed")
        await till.finance.settlement.reverse_in(conn, back, actor="system:test")


async def our_account(till: Till) -> str:
    made = await till.room.bank.add_account(
        name="Testnetz GmbH", iban="DE02120300000000202051", bic="BYLADEM1001", currency="EUR",
        creditor_id="", actor="user:test",
    )  # fmt: skip
    return made.bank_account_id

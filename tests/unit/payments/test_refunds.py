"""Refunds by the gateway: approved by another, sent once under their id, booked once, undone when not delivered."""

from __future__ import annotations

from typing import Any

import pytest

from erp.finance.errors import NotThatMuch
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

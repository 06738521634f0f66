"""Sums as Stripe writes them: in three currencies not of the minor unit that ISO 4217 has."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from controller.domain.money import Money
from controller.domain.ports import Secret
from erp.payments.errors import GatewayDeclined, GatewayUnsure
from erp.payments.gateway import ChargeCard, RefundPayment
from erp.payments.stripe import amounts, events
from erp.payments.stripe.client import StripeGateway
from tests.support.payments import no_pause

# (what Stripe writes, its currency, the same here): its page "Supported currencies", with the special cases of it.
WRITTEN = [
    (1999, "eur", Money(1999, "EUR")),
    (500, "jpy", Money(500, "JPY")),
    (5120, "kwd", Money(5120, "KWD")),
    (500000, "isk", Money(5000, "ISK")),
    (500, "ugx", Money(5, "UGX")),
    (5000, "mga", Money(500000, "MGA")),
    (104500, "huf", Money(104500, "HUF")),
]


@pytest.mark.parametrize(("written", "currency", "money"), WRITTEN)
def test_an_event_is_of_the_sum_that_was_paid_whatever_its_currency(written: int, currency: str, money: Money) -> None:
    paid = {"id": "pi_1", "object": "payment_intent", "amount": written, "amount_received": written}
    told: dict[str, Any] = {"type": "payment_intent.succeeded", "created": 1793512800}
    told["data"] = {"object": {**paid, "currency": currency}}
    found = events.fact(told)
    assert isinstance(found, events.Paid)
    assert found.amount == money


@pytest.mark.parametrize(("written", "currency", "money"), WRITTEN)
async def test_a_card_is_charged_and_refunded_what_is_owed_whatever_its_currency(
    written: int, currency: str, money: Money
) -> None:
    asked: list[tuple[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        form = parse_qs(request.content.decode())
        asked.append((form["amount"][0], form.get("currency", [currency])[0]))
        return httpx2.Response(200, json={"id": "pi_1", "status": "succeeded"})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        stripe = StripeGateway(client, "http://stripe", Secret("k"), sleep=no_pause)
        await stripe.charge(ChargeCard("key", money, "cus_1", "pm_1", "a", "Invoice"))
        await stripe.refund(RefundPayment("key", "pi_1", money))
    assert asked == [(str(written), currency)] * 2


async def test_what_moved_the_balance_is_read_in_the_same_way() -> None:
    moved = {"id": "txn_1", "type": "charge", "amount": 500000, "fee": 17500, "currency": "isk", "source": "ch_1"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=moved))
    async with httpx2.AsyncClient(transport=transport) as client:
        stripe = StripeGateway(client, "http://stripe", Secret("k"), sleep=no_pause)
        found = await stripe.transaction("txn_1")
        assert (found.amount, found.fee) == (Money(5000, "ISK"), Money(175, "ISK"))
        moved["fee"] = 17550
        with pytest.raises(GatewayUnsure, match="17550"):
            await stripe.transaction("txn_1")


def test_what_cannot_be_written_or_read_exactly_is_refused_not_rounded() -> None:
    assert amounts.read(-300, "isk") == Money(-3, "ISK")
    with pytest.raises(GatewayDeclined):
        amounts.written(Money(20, "MGA"))
    for wrong in (4010, True, "100", 10**15, 1.0):
        with pytest.raises(ValueError, match=r"decimals|integer"):
            amounts.read(wrong, "isk")

"""A card that a customer left with a gateway is charged once, through every fault, for the invoice that it was for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import InvoiceId
from controller.domain.ports import Secret
from erp.payments import card_rows
from erp.payments.cards import WantedCharge
from erp.payments.errors import GatewayUnsure, NoGateway
from erp.payments.stripe.client import StripeGateway
from erp.payments.tables import card_attempt
from lab.stripe import DECLINING
from tests.support.http_server import serving
from tests.support.payments import WEBHOOK_SECRET, Till, euro


async def card(till: Till, method: str = "pm_card_visa") -> tuple[Any, InvoiceId]:
    account = await till.account()
    invoice = await till.issue(account)
    made = await till.room.cards.charge(
        WantedCharge("stripe", invoice, f"cus_{account[-9:]}", method), actor="user:anna"
    )
    return made, invoice


async def test_a_charge_that_is_asked_for_twice_is_made_once(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    account = await till.account()
    invoice = await till.issue(account)
    wanted = WantedCharge("stripe", invoice, "cus_9", "pm_card_visa", euro("10.00"), "form-1")

    async def charge(wanted: WantedCharge) -> str:
        return (await till.room.cards.charge(wanted, actor="user:anna")).attempt_id

    with serving(app) as url:
        await till.gateway(url)
        first, again = await asyncio.gather(charge(wanted), charge(wanted))
        assert first == again
        with pytest.raises(Conflict, match="another charge"):
            await charge(replace(wanted, amount=euro("11.00")))
        with pytest.raises(RuleError, match=r"35\.70 EUR .* are open, 10\.00 EUR of it are being charged"):
            await charge(replace(wanted, amount=euro("25.71"), reference=None))
        await charge(replace(wanted, amount=None, reference=None))  # the rest
        with pytest.raises(RuleError, match="being charged"):
            await charge(replace(wanted, amount=None, reference="form-2"))
        await till.hear()
        other = await till.issue(await till.account())
        with pytest.raises(RuleError, match="the invoice is not"):
            await charge(replace(wanted, invoice_id=other, reference=None))
    assert (await till.open_of(invoice), len(till.stripe.intents)) == (0, 2)
    (card,) = await till.room.cards.saved(account)
    assert (card.customer, card.method, card.state) == ("cus_9", "pm_card_visa", "paid")


async def test_a_charge_settles_the_invoice_that_it_was_for_and_not_an_older_one(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    account = await till.account()
    older = await till.issue(account)
    await till.later(minutes=1)
    invoice = await till.issue(account)
    wanted = WantedCharge("stripe", invoice, "cus_9", "pm_card_visa")
    with serving(app) as url:
        await till.gateway(url)
        await till.room.cards.charge(wanted, actor="user:anna")
        await till.hear()
        assert (await till.open_of(older), await till.open_of(invoice)) == (3570, 0)
        await till.room.cards.charge(replace(wanted, invoice_id=older), actor="user:anna")
        await till.pay(account, "10.00", "t1")  # meanwhile by transfer: less is open than the card is charged
        await till.hear()
    assert await till.open_of(older) == 0
    await till.assert_sound()


@pytest.mark.parametrize("is_lost", [False, True])
async def test_an_event_that_comes_before_the_gateways_answer_is_that_of_the_charge(
    till: Till, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    real = StripeGateway.charge

    async def slow(gateway: StripeGateway, wanted: Any) -> Any:
        try:
            return await real(gateway, wanted)
        finally:
            await till.hear()
            if is_lost:
                raise GatewayUnsure("no answer")

    async def app() -> Any:
        return till.stripe.app

    monkeypatch.setattr(StripeGateway, "charge", slow)
    account = await till.account()
    older = await till.issue(account)
    await till.later(minutes=1)
    invoice = await till.issue(account)
    with serving(app) as url:
        await till.gateway(url)
        for method, state in ((DECLINING, "failed"), ("pm_card_visa", "paid")):
            made = await till.room.cards.charge(WantedCharge("stripe", invoice, "cus_9", method), actor="user:anna")
            assert (made.state, made.intent_id) == (state, list(till.stripe.intents)[-1])
    assert (await till.open_of(older), await till.open_of(invoice)) == (3570, 0)


@pytest.mark.parametrize("order", ["event", "answer"])
async def test_an_event_and_the_answer_that_are_written_side_by_side_lose_nothing(
    till: Till, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    real, heard = card_rows.change, []

    async def change(*told: Any) -> None:
        if order == "answer":
            await real(*told)
        heard.append(asyncio.create_task(till.hear()))
        await asyncio.wait(heard, timeout=0.3)  # SQLite has one writer: it waits there
        if order == "event":
            await real(*told)

    async def app() -> Any:
        return till.stripe.app

    monkeypatch.setattr(card_rows, "change", change)
    with serving(app) as url:
        await till.gateway(url)
        made, invoice = await card(till)
        await heard[0]
    assert ((await till.room.cards.attempt(made.attempt_id)).state, await till.open_of(invoice)) == ("paid", 0)


async def test_a_mistyped_customer_of_a_gateway_is_nobodys_until_its_money_has_come(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        for method, state in ((DECLINING, "failed"), ("pm_card_visa", "pending")):
            invoice = await till.issue(await till.account())
            made = await till.room.cards.charge(WantedCharge("stripe", invoice, "cus_9", method), actor="user:anna")
            assert made.state == state
        await till.hear()
        assert await till.open_of(invoice) == 0
        another = await till.issue(await till.account())
        with pytest.raises(RuleError, match="the invoice is not"):
            await till.room.cards.charge(WantedCharge("stripe", another, "cus_9", "pm_card_visa"), actor="user:anna")


async def test_a_gateway_without_a_key_is_refused_and_nothing_is_noted(till: Till) -> None:
    secret = Secret(WEBHOOK_SECRET)
    await till.room.gateways.put("stripe", webhook_secret=secret, api_key=None, api_base="http://x", actor="user:test")
    account = await till.account()
    invoice = await till.issue(account)
    with pytest.raises(NoGateway, match="no API key"):
        await till.room.cards.charge(WantedCharge("stripe", invoice, "cus_9", "pm_1"), actor="user:anna")
    assert await till.room.cards.saved(account) == []


@pytest.mark.parametrize("faults", [[], ["429", "500"], ["conflict", "503"], ["lost"], ["lost", "500", "lost"]])
async def test_a_card_is_charged_once_through_every_fault(till: Till, faults: list[str]) -> None:
    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        till.stripe.faults.extend(faults)
        made, invoice = await card(till)
        assert (made.state, till.stripe.requests) == ("pending", len(faults) + 1)
    assert await till.open_of(invoice) == 3570, "booked by the event alone"
    await till.hear()
    assert (await till.open_of(invoice), len(till.stripe.intents)) == (0, 1)
    assert (await till.room.cards.attempt(made.attempt_id)).state == "paid"


async def test_a_charge_without_an_answer_is_unsure_and_asked_again_under_its_key(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    await till.gateway()
    made, invoice = await card(till)
    assert made.state == "unsure"
    with serving(app) as url:
        await till.gateway(url)
        till.stripe.faults.append("lost")
        assert await till.room.cards.resume() == 0, "it may be in flight"
        await till.later(minutes=3)
        assert await till.room.cards.resume() == 1
        again = await till.room.cards.attempt(made.attempt_id)
        assert (again.state, again.attempt_id, len(till.stripe.intents)) == ("pending", made.attempt_id, 1)
        await till.hear()
        declined, other = await card(till, DECLINING)
        assert (declined.state, declined.detail) == ("failed", "insufficient_funds")
        await till.hear()
    assert (await till.open_of(invoice), await till.open_of(other)) == (0, 3570)


async def test_a_charge_without_an_answer_is_not_asked_for_again_when_its_key_may_be_forgotten(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    await till.gateway()
    made, invoice = await card(till)
    with serving(app) as url:
        await till.gateway(url)
        await till.later(hours=23)
        assert await till.room.cards.resume() == 1
        left = await till.room.cards.repeat(made.attempt_id)
        assert (left.state, till.stripe.requests) == ("failed", 0)
        assert "dashboard" in left.detail
    intent = till.stripe.paid(3570, metadata={"account_id": made.account_id, "attempt_id": made.attempt_id})
    await till.hear()
    paid = await till.room.cards.attempt(made.attempt_id)
    assert (paid.state, paid.intent_id, await till.open_of(invoice)) == ("paid", intent["id"], 0)


async def test_a_charge_without_an_answer_is_not_asked_for_again_when_less_is_open(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    await till.gateway()
    made, _ = await card(till)
    await till.pay(made.account_id, "0.01", "t1")
    with serving(app) as url:
        await till.gateway(url)
        await till.later(minutes=3)
        assert await till.room.cards.resume() == 1
        left = await till.room.cards.repeat(made.attempt_id)
    assert (left.state, till.stripe.requests) == ("failed", 0)
    assert "less than that is open" in left.detail


async def test_a_charge_that_is_not_asked_for_again_holds_nothing_of_what_is_still_open(till: Till) -> None:
    async def app() -> Any:
        return till.stripe.app

    await till.gateway()
    made, invoice = await card(till)
    await till.pay(made.account_id, "20.00", "t1")
    with serving(app) as url:
        await till.gateway(url)
        rest = await till.room.cards.charge(WantedCharge("stripe", invoice, "cus_9", "pm_card_visa"), actor="user:anna")
        await till.hear()
    assert (rest.amount, await till.open_of(invoice), len(till.stripe.intents)) == (euro("15.70"), 0, 1)
    assert (await till.room.cards.attempt(made.attempt_id)).state == "failed"


async def test_a_charge_whose_answer_may_be_on_its_way_holds_its_amount_though_less_is_open(till: Till) -> None:
    await till.gateway()
    made, invoice = await card(till)
    async with till.database.begin() as conn:
        await conn.execute(update(card_attempt).values(state="asked"))
    await till.pay(made.account_id, "20.00", "t1")
    again = WantedCharge("stripe", invoice, "cus_9", "pm_1")
    with pytest.raises(RuleError, match="are being charged"):
        await till.room.cards.charge(again, actor="user:anna")
    assert (await till.room.cards.repeat(made.attempt_id)).state == "asked"
    await till.later(minutes=3)
    assert (await till.room.cards.charge(again, actor="user:anna")).amount == euro("15.70")

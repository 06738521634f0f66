"""What a gateway tells is booked once, whatever comes twice, late or in another order, and asked of it once."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from controller.domain.ports import Secret
from erp.payments.errors import (
    GatewayUnsure,
    NoGateway,
    NotAnEvent,
    SignatureRefused,
    WrongState,
)
from erp.payments.stripe import signature
from erp.payments.stripe.client import StripeGateway
from tests.support.finance import NOW
from tests.support.http_server import serving
from tests.support.payments import API_KEY, WEBHOOK_SECRET, Till, euro, no_pause


def test_the_signature_is_the_published_one() -> None:
    """As `openssl dgst -sha256 -hmac whsec_a` has it of the time, a point and the body."""
    right = "4c59a4b4dfb480c01c3267d6800f5c0b2a5c68df4c8f495f04f003aa01264308"
    header = signature.sign(b'{"id": 1}', "whsec_a", NOW)
    assert header == f"t=1793512800,v1={right}"
    signature.verify(b'{"id": 1}', header, ["whsec_b", "whsec_a"], NOW)
    several = f"{header},v1={'0' * 64},v0=abc"
    signature.verify(b'{"id": 1}', several, ["whsec_a"], NOW + timedelta(minutes=5))


@pytest.mark.parametrize(
    "header",
    [
        "", "t=1", "v1=00", "t=x,v1=00", "t=1,t=1,v1=00", f"t={int(NOW.timestamp())},v0={'0' * 64}",
        f"t={int(NOW.timestamp())},v1=é", f"t={int(NOW.timestamp())},v1={'0' * 64}", "t=99999999999999999999,v1=00",
        "," * 5000,
    ],
)  # fmt: skip
def test_what_nobody_with_the_secret_signed_is_refused(header: str) -> None:
    with pytest.raises(SignatureRefused):
        signature.verify(b"{}", header, ["whsec_a"], NOW)


def test_an_old_or_altered_request_is_refused() -> None:
    header = signature.sign(b"{}", "whsec_a", NOW)
    for body, at in ((b"{ }", NOW), (b"{}", NOW + timedelta(seconds=301)), (b"{}", NOW - timedelta(seconds=301))):
        with pytest.raises(SignatureRefused):
            signature.verify(body, header, ["whsec_a"], at)


async def test_an_event_delivered_five_times_at_once_books_once(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    invoice = await till.issue(account)
    till.stripe.paid(3570, metadata={"account_id": account})
    (event,) = till.stripe.events
    new = await asyncio.gather(*(till.deliver(event) for _ in range(5)))
    assert sorted(new) == [False] * 4 + [True]
    await asyncio.gather(*(till.room.inbox.drain() for _ in range(3)))
    assert await till.deliver(event) is False
    await till.room.inbox.drain()
    assert await till.open_of(invoice) == 0
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    assert (payment.method, payment.amount) == ("stripe", euro("35.70"))
    assert (await till.balance("1460"), await till.balance("1800")) == (3570, 0)
    (told,) = await till.room.inbox.events(state=None, before=None, limit=5)
    assert (told.state, told.deliveries) == ("booked", 6)
    assert "client_secret" not in told.body
    await till.assert_sound()


async def test_every_order_of_a_payments_life_ends_in_the_same_books(till: Till) -> None:
    """Paid, refunded in two steps, disputed, won: in shuffled order, some of it twice, with stops between."""
    await till.gateway()
    books = set()
    chance = random.Random(7)
    for _ in range(6):
        account = await till.account()
        invoice = await till.issue(account)
        start = len(till.stripe.events)
        intent = till.stripe.paid(10_000, metadata={"account_id": account})
        till.stripe.refunded(intent, 1_000)
        till.stripe.refunded(intent, 2_500)
        dispute = till.stripe.dispute(intent | {"amount": 5_000})
        till.stripe.close_dispute(dispute, won=True)
        events = till.stripe.events[start:]
        chance.shuffle(events)
        for event in [*events, *chance.sample(events, 2)]:
            await till.deliver(event)
            if chance.random() < 0.5:
                await till.room.inbox.drain()
        await till.room.inbox.drain()
        (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
        books.add((await till.open_of(invoice), payment.kept.minor, payment.unapplied.minor))
        await till.assert_sound()
    assert books == {(0, 7_500, 7_500 - 3_570)}
    assert {state for _, state in await till.told()} <= {"booked", "stale"}
    assert await till.balance("6855") == 6 * 1500


async def test_a_lost_dispute_opens_the_invoice_and_costs_its_fee_once(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    invoice = await till.issue(account)
    intent = till.stripe.paid(3570, metadata={"account_id": account})
    dispute = till.stripe.dispute(intent)
    till.stripe.close_dispute(dispute, won=False)
    for event, _ in itertools.product(till.stripe.events, range(2)):
        await till.deliver(event)
        await till.room.inbox.drain()
    assert await till.open_of(invoice) == 3570
    assert (await till.balance("1460"), await till.balance("6855")) == (-1500, 1500)
    (found,) = await till.room.booking.disputes(10)
    assert (found.status, found.final, str(found.withdrawn)) == ("lost", True, "35.70 EUR")
    await till.assert_sound()


async def test_a_refund_before_its_payment_waits_for_it(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    intent = till.stripe.paid(3570, metadata={"account_id": account})
    till.stripe.refunded(intent, 570)
    paid, refunded = till.stripe.events
    await till.deliver(refunded)
    await till.room.inbox.drain()
    assert await till.told() == [("charge.refunded", "waiting")]
    await till.deliver(paid)
    await till.room.inbox.drain()
    (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
    assert payment.kept == euro("30.00")


async def test_a_payment_of_nobody_stands_under_unknown_payers_until_somebody_says_whose_it_is(till: Till) -> None:
    await till.gateway()
    account = await till.account()
    invoice = await till.issue(account)
    first = till.stripe.paid(3000, customer="cus_1", receipt_email="erika@example.net")
    till.stripe.refunded(first, 100)
    till.stripe.tell(
        "checkout.session.completed", {"id": "cs_1", "payment_intent": "pi_none", "payment_status": "paid"}
    )
    for event in till.stripe.events:
        await till.deliver(event)
    await till.room.inbox.drain()
    (unknown,) = await till.room.booking.unknown_payers(10)
    assert (unknown.payer, await till.balance("3510")) == ("erika@example.net", -3000)
    assert await till.told() == [
        ("payment_intent.succeeded", "booked"),
        ("charge.refunded", "waiting"),
        ("checkout.session.completed", "waiting"),
    ]
    await till.room.booking.assign("stripe", unknown.intent_id, account, actor="user:anna")
    await till.room.inbox.drain()
    with pytest.raises(WrongState):
        await till.room.booking.assign("stripe", unknown.intent_id, account, actor="user:anna")
    assert (await till.open_of(invoice), await till.balance("3510")) == (670, 0)
    second = till.stripe.paid(670, customer="cus_1")
    await till.deliver(till.stripe.events[-1])
    await till.room.inbox.drain()
    assert (await till.open_of(invoice), second["customer"]) == (0, "cus_1")
    await till.assert_sound()


async def test_a_checkout_session_says_whose_payment_it_was_before_or_after_it(till: Till) -> None:
    await till.gateway()
    for order in ((0, 1), (1, 0)):
        account = await till.account()
        intent = till.stripe.paid(1000)
        session = {
            "id": "cs_2",
            "payment_intent": intent["id"],
            "payment_status": "paid",
            "client_reference_id": account,
        }
        till.stripe.tell("checkout.session.completed", session)
        for n in order:
            await till.deliver(till.stripe.events[-2:][n])
            await till.room.inbox.drain()
        (payment,) = await till.finance.payments(account_id=account, after=None, limit=10)
        assert payment.unapplied == euro("10.00")
    assert await till.balance("3510") == 0


async def test_unknown_types_are_kept_and_counted_and_what_is_no_event_is_refused(till: Till) -> None:
    await till.gateway()
    till.stripe.tell("customer.tax_id.created", {"id": "txi_1"})
    await till.deliver(till.stripe.events[0])
    await till.room.inbox.drain()
    assert await till.room.inbox.counts() == [("stripe", "customer.tax_id.created", "unknown", 1)]
    for wrong in (
        b"",
        b"[]",
        b"{}",
        b'{"object":"event"}',
        b'{"a":' * 2000,
        b'{"id":1,"object":"event","data":{"object":{}}}',
    ):
        header = signature.sign(wrong, WEBHOOK_SECRET, till.clock.now())
        with pytest.raises(NotAnEvent):
            await till.room.inbox.receive("stripe", wrong, header)
    with pytest.raises(NoGateway):
        await till.room.inbox.receive("other", b"{}", header)


async def test_an_event_that_lacks_its_sums_fails_visibly_and_is_handled_again_on_demand(till: Till) -> None:
    await till.gateway()
    till.stripe.tell(
        "charge.refunded", {"id": "ch_1", "payment_intent": "pi_1", "amount_refunded": "12", "currency": "eur"}
    )
    till.stripe.tell(
        "payment_intent.succeeded", {"id": "pi_2", "object": "payment_intent", "amount": 5, "currency": "euro"}
    )
    for event in till.stripe.events:
        await till.deliver(event)
    await till.room.inbox.drain()
    assert [state for _, state in await till.told()] == ["failed", "failed"]
    again = await till.room.inbox.retry(1, actor="user:anna")
    assert (again.state, again.attempts) == ("failed", 2)


async def test_a_rolled_secret_holds_beside_the_new_one_for_a_day(till: Till) -> None:
    await till.gateway()
    await till.room.gateways.put(
        "stripe", webhook_secret=Secret("whsec_new"), api_key=None, api_base="http://127.0.0.1:9", actor="user:anna"
    )
    till.stripe.tell("a.b", {"id": "x"})
    assert await till.deliver(till.stripe.events[0])
    till.stripe.webhook_secret = "whsec_new"
    assert await till.deliver(till.stripe.tell("a.b", {"id": "y"}))
    await till.later(hours=25)
    till.stripe.webhook_secret = WEBHOOK_SECRET
    with pytest.raises(SignatureRefused):
        await till.deliver(till.stripe.tell("a.b", {"id": "z"}))
    assert till.room.gateways.api_key(await till.room.gateways.get("stripe")).reveal() == API_KEY


async def test_an_answer_that_never_ends_is_left_in_time_and_one_that_is_too_large_is_not_read() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(1000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with httpx2.AsyncClient(timeout=5, trust_env=False) as client, asyncio.timeout(20):
            slow = StripeGateway(client, f"http://127.0.0.1:{port}", Secret("k"), sleep=no_pause, patience_s=0.2)
            with pytest.raises(GatewayUnsure, match="TimeoutError"):
                await slow.transaction("txn_1")
    finally:
        server.close()
    large = httpx2.MockTransport(lambda _: httpx2.Response(200, content=b" " * 6_000_000))
    async with httpx2.AsyncClient(transport=large) as client:
        with pytest.raises(GatewayUnsure, match="larger than"):
            await StripeGateway(client, "http://stripe", Secret("k"), sleep=no_pause).transaction("txn_1")


async def test_what_fails_keeps_nothing_else_from_being_gone_on_with(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refund waits for a gateway that lost its key; a charge is asked for all the same."""

    async def no_key() -> int:
        raise NoGateway("gateway stripe has no API key")

    async def app() -> Any:
        return till.stripe.app

    with serving(app) as url:
        await till.gateway(url)
        paid = till.stripe.paid(5000, metadata={"account_id": await till.account()})
        till.stripe.settle(paid, 150)
        await till.hear()
        monkeypatch.setattr(till.room.refunds, "resume", no_key)
        no_key.__qualname__ = "RefundService.resume"
        await till.room.resume()
    assert await till.balance("6855") == 150


async def test_secrets_are_sealed_and_bodies_keep_none(till: Till) -> None:
    await till.gateway()
    await till.deliver(till.stripe.tell("payment_intent.created", till.stripe.paid(5) | {"status": "new"}))
    async with till.database.read() as conn:
        rows = [str(row) for row in (await conn.exec_driver_sql("SELECT * FROM payments_gateway")).all()]
        bodies = (await conn.exec_driver_sql("SELECT body FROM payments_event")).scalars().all()
    assert WEBHOOK_SECRET not in "".join(rows)
    assert API_KEY not in "".join(rows)
    assert json.loads(bodies[0])["id"]
    assert all("secret" not in body for body in bodies)

"""Gateways, card payments and refunds over HTTP, and the address to which gateways send their webhooks."""

from __future__ import annotations

from controller.domain.identity import AccountId, InvoiceId, PaymentId
from controller.domain.ports import Secret
from controller.http.content import read_body
from controller.http.endpoint import PUBLIC, Call, Endpoint, Page, PageQuery
from controller.http.problem import Problem
from controller.store.metadata import to_micros
from erp.payments.answers import (
    AssignIn,
    AttemptOut,
    AttemptQuery,
    CardPaymentOut,
    ChargeIn,
    DisputeOut,
    EventCountOut,
    EventCountsOut,
    EventOut,
    EventQuery,
    GatewayIn,
    GatewayOut,
    GatewaysOut,
    ReasonIn,
    RefundIn,
    RefundOut,
    RefundQuery,
    SavedCardOut,
    SavedCardsOut,
    StoredOut,
    amount_of,
)
from erp.payments.cards import WantedCharge
from erp.payments.errors import GatewayUnsure, NotAnEvent, SignatureRefused
from erp.payments.refunds import WantedRefund
from erp.payments.room import PaymentsRoom

READ, WRITE = "finance:read", "finance:write"


def endpoints(room: PaymentsRoom) -> list[Endpoint]:
    return [
        *_webhooks(room),
        *_gateways(room),
        *_unknown(room),
        *_disputes(room),
        *_charging(room),
        *_charges(room),
        *_refunds(room),
    ]


def _webhooks(room: PaymentsRoom) -> list[Endpoint]:
    async def webhook(call: Call) -> StoredOut:
        body = await read_body(call.request, room.settings.webhook_octets)
        header = call.request.headers.get("stripe-signature", "")
        try:
            return StoredOut(new=await room.inbox.receive(call.path["name"], body, header))
        except (SignatureRefused, NotAnEvent) as error:
            raise Problem(400, str(error), code=error.code) from None

    return [
        Endpoint(
            "POST",
            "/payment-gateways/{name}/webhook",
            scope=PUBLIC,
            handler=webhook,
            summary="Where a gateway sends its events, signed by its published scheme; answered once they are stored",
            returns=StoredOut,
            problems=(413,),
        )
    ]


def _gateways(room: PaymentsRoom) -> list[Endpoint]:
    async def gateways(_call: Call) -> GatewaysOut:
        return GatewaysOut(gateways=[GatewayOut.of(g) for g in await room.gateways.all()])

    async def put(call: Call) -> GatewayOut:
        body = call.body_as(GatewayIn)
        name = call.path["name"]
        if not (name.isascii() and name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 32):
            raise Problem(422, "A gateway's name is a-z, 0-9 and '-', at most 32 characters.", code="gateway-name")
        key = Secret(body.api_key.get_secret_value()) if body.api_key else None
        secret = Secret(body.webhook_secret.get_secret_value())
        made = await room.gateways.put(
            name, webhook_secret=secret, api_key=key, api_base=body.api_base, actor=call.actor, entity_id=body.entity
        )
        return GatewayOut.of(made)

    async def events(call: Call) -> Page:
        query = call.query_as(EventQuery)
        found = await room.inbox.events(state=query.state, before=query.last(int), limit=query.rows)
        return Page.of(found, query, lambda e: (e.event_key,), EventOut.of)

    async def counts(_call: Call) -> EventCountsOut:
        found = await room.inbox.counts()
        return EventCountsOut(counts=[EventCountOut(gateway=g, type=t, state=s, events=n) for g, t, s, n in found])

    async def retry(call: Call) -> EventOut:
        return EventOut.of(await room.inbox.retry(call.path_int("event_key"), actor=call.actor))

    return [
        Endpoint(
            "GET", "/payment-gateways", scope=READ, handler=gateways, summary="Payment gateways", returns=GatewaysOut
        ),
        Endpoint(
            "PUT",
            "/payment-gateways/{name}",
            scope="admin:write",
            handler=put,
            summary="Add a gateway, or change its key and secrets",
            body=GatewayIn,
            returns=GatewayOut,
        ),
        Endpoint(
            "GET",
            "/payment-events",
            scope=READ,
            handler=events,
            summary="What gateways told and what became of it, newest first",
            query=EventQuery,
            returns=EventOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/payment-event-counts",
            scope=READ,
            handler=counts,
            summary="How many events of each type were told, by what became of them",
            returns=EventCountsOut,
        ),
        Endpoint(
            "POST",
            "/payment-events/{event_key}/retry",
            scope=WRITE,
            handler=retry,
            summary="Handle an event again that failed or waits",
            returns=EventOut,
        ),
    ]


def _unknown(room: PaymentsRoom) -> list[Endpoint]:
    async def unknown(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await room.booking.unknown_payers(query.rows, query.last_key(int, str, str))
        return Page.of(found, query, lambda p: (to_micros(p.paid_at), p.gateway, p.intent_id), CardPaymentOut.of)

    async def assign(call: Call) -> CardPaymentOut:
        account_id = AccountId(call.body_as(AssignIn).account_id)
        found = await room.booking.assign(call.path["gateway"], call.path["intent_id"], account_id, actor=call.actor)
        await room.inbox.drain()
        return CardPaymentOut.of(found)

    return [
        Endpoint(
            "GET",
            "/unknown-card-payments",
            scope=READ,
            handler=unknown,
            summary="Card payments that nobody is known to have made, oldest first",
            query=PageQuery,
            returns=CardPaymentOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/unknown-card-payments/{gateway}/{intent_id}/assign",
            scope=WRITE,
            handler=assign,
            summary="Say whose a card payment was; later ones of the same gateway customer are theirs, too",
            body=AssignIn,
            returns=CardPaymentOut,
        ),
    ]


def _disputes(room: PaymentsRoom) -> list[Endpoint]:
    async def disputes(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await room.booking.disputes(query.rows, query.last_key(int, int, str, str))
        return Page.of(
            found, query, lambda d: (int(d.final), to_micros(d.told_at), d.gateway, d.dispute_id), DisputeOut.of
        )

    return [
        Endpoint(
            "GET",
            "/payment-disputes",
            scope=READ,
            handler=disputes,
            summary="Disputes of card payments, open ones first",
            query=PageQuery,
            returns=DisputeOut,
            paged=True,
        ),
    ]


def _charging(room: PaymentsRoom) -> list[Endpoint]:
    async def charge(call: Call) -> AttemptOut:
        body = call.body_as(ChargeIn)
        invoice_id = InvoiceId(body.invoice_id)
        amount = amount_of(body.amount)
        wanted = WantedCharge(body.gateway, invoice_id, body.customer, body.method, amount, body.reference)
        return AttemptOut.of(await room.cards.charge(wanted, actor=call.actor))

    async def saved(call: Call) -> SavedCardsOut:
        return SavedCardsOut(cards=[SavedCardOut.of(c) for c in await room.cards.saved(call.path["account_id"])])

    async def repeat(call: Call) -> AttemptOut:
        return AttemptOut.of(await room.cards.repeat(call.path["attempt_id"]))

    return [
        Endpoint(
            "POST",
            "/card-charges",
            scope=WRITE,
            handler=charge,
            summary="Charge a card that a customer left with a gateway; once, however often the gateway is asked",
            body=ChargeIn,
            returns=AttemptOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/accounts/{account_id}/saved-cards",
            scope=READ,
            handler=saved,
            summary="Cards that an account left with gateways, as far as they were charged or told before",
            returns=SavedCardsOut,
        ),
        Endpoint(
            "POST",
            "/card-charges/{attempt_id}/repeat",
            scope=WRITE,
            handler=repeat,
            summary="Ask again for one whose answer did not come, under the same key",
            returns=AttemptOut,
        ),
    ]


def _charges(room: PaymentsRoom) -> list[Endpoint]:
    async def attempts(call: Call) -> Page:
        query = call.query_as(AttemptQuery)
        found = await room.cards.attempts(
            account_id=query.account_id, invoice_id=query.invoice_id, state=query.state, before=query.last(str),
            limit=query.rows,
        )  # fmt: skip
        return Page.of(found, query, lambda a: (a.attempt_id,), AttemptOut.of)

    async def attempt(call: Call) -> AttemptOut:
        return AttemptOut.of(await room.cards.attempt(call.path["attempt_id"]))

    return [
        Endpoint(
            "GET",
            "/card-charges",
            scope=READ,
            handler=attempts,
            summary="Cards that were to be charged, newest first, and what came of it",
            query=AttemptQuery,
            returns=AttemptOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/card-charges/{attempt_id}",
            scope=READ,
            handler=attempt,
            summary="What came of charging a card",
            returns=AttemptOut,
        ),
    ]


def _refunds(room: PaymentsRoom) -> list[Endpoint]:
    async def refunds(call: Call) -> Page:
        query = call.query_as(RefundQuery)
        found = await room.refunds.refunds(state=query.state, before=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda r: (r.refund_id,), RefundOut.of)

    async def request(call: Call) -> RefundOut:
        body = call.body_as(RefundIn)
        wanted = WantedRefund(
            PaymentId(body.payment_id), body.amount.money(), body.way, body.reason, body.creditor, body.iban
        )
        return RefundOut.of(await room.refunds.request(wanted, actor=call.actor))

    async def refund(call: Call) -> RefundOut:
        return RefundOut.of(await room.refunds.get(call.path["refund_id"]))

    async def approve(call: Call) -> RefundOut:
        try:
            return RefundOut.of(await room.refunds.approve(call.path["refund_id"], actor=call.actor))
        except GatewayUnsure as error:
            raise Problem(503, f"{error}. It is asked again under the same key.", code="gateway-unsure") from None

    async def refuse(call: Call) -> RefundOut:
        reason = call.body_as(ReasonIn).reason
        return RefundOut.of(await room.refunds.refuse(call.path["refund_id"], actor=call.actor, reason=reason))

    return [
        Endpoint(
            "GET",
            "/refunds",
            scope=READ,
            handler=refunds,
            summary="Refunds, newest first",
            query=RefundQuery,
            returns=RefundOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/refunds",
            scope=WRITE,
            handler=request,
            summary="Ask for a refund of what is unapplied, or covered by a credit note",
            body=RefundIn,
            returns=RefundOut,
            status=201,
        ),
        Endpoint("GET", "/refunds/{refund_id}", scope=READ, handler=refund, summary="One refund", returns=RefundOut),
        Endpoint(
            "POST",
            "/refunds/{refund_id}/approve",
            scope=WRITE,
            handler=approve,
            summary="Approve a refund; by gateway it is sent at once. Above a limit, not by who asked for it",
            returns=RefundOut,
            problems=(503,),
        ),
        Endpoint(
            "POST",
            "/refunds/{refund_id}/refuse",
            scope=WRITE,
            handler=refuse,
            summary="Refuse a refund that was not sent",
            body=ReasonIn,
            returns=RefundOut,
        ),
    ]

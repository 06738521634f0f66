"""Mandates, direct debit files and transfer files over HTTP."""

from __future__ import annotations

from starlette.responses import Response

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from erp.payments import settings_routes
from erp.payments.answers import ReasonIn
from erp.payments.bank.answers import (
    CollectIn,
    CollectionDetailOut,
    CollectionOut,
    EndMandateIn,
    ItemOut,
    MandateIn,
    MandateOut,
    MandateQuery,
    ReportOut,
    TransferIn,
    TransferOut,
)
from erp.payments.bank.routes import READ, WRITE, XML_BODY, read_xml
from erp.payments.room import PaymentsRoom
from erp.payments.sepa.files import Party
from erp.payments.sepa.mandates import WantedMandate
from erp.payments.sepa.request import drawn, payload


def endpoints(room: PaymentsRoom) -> list[Endpoint]:
    return [
        *settings_routes.endpoints(room.entity_settings),
        *_mandates(room),
        *_making(room),
        *_at_the_bank(room),
        *_transfers(room),
        *_requests(room),
    ]


def _mandates(room: PaymentsRoom) -> list[Endpoint]:
    async def mandates(call: Call) -> Page:
        query = call.query_as(MandateQuery)
        found = await room.mandates.all(account_id=query.account_id, after=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda m: (m.mandate_id,), MandateOut.of)

    async def add(call: Call) -> MandateOut:
        body = call.body_as(MandateIn)
        wanted = WantedMandate(
            AccountId(body.account_id),
            body.reference,
            body.scheme,
            body.recurrent,
            body.signed_on,
            body.iban,
            body.debtor,
            body.bic,
        )
        return MandateOut.of(await room.mandates.add(wanted, actor=call.actor))

    async def end(call: Call) -> MandateOut:
        body, mandate_id = call.body_as(EndMandateIn), call.path["mandate_id"]
        last = body.after_last_collection
        return MandateOut.of(await room.mandates.end(mandate_id, actor=call.actor, reason=body.reason, after_last=last))

    return [
        Endpoint(
            "GET",
            "/mandates",
            scope=READ,
            handler=mandates,
            summary="SEPA direct debit mandates",
            query=MandateQuery,
            returns=MandateOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/mandates",
            scope=WRITE,
            handler=add,
            summary="Add a mandate",
            body=MandateIn,
            returns=MandateOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/mandates/{mandate_id}/end",
            scope=WRITE,
            handler=end,
            summary="End a mandate: nothing more is collected by it, or one last time",
            body=EndMandateIn,
            returns=MandateOut,
        ),
    ]


def _making(room: PaymentsRoom) -> list[Endpoint]:
    async def collections(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await room.sepa.collections(before=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda c: (c.collection_id,), CollectionOut.of)

    async def collect(call: Call) -> CollectionOut:
        body = call.body_as(CollectIn)
        made = await room.sepa.collect(body.bank_account_id, body.collect_on, body.form, actor=call.actor)
        return CollectionOut.of(made)

    async def collection(call: Call) -> CollectionDetailOut:
        found = await room.sepa.collection(call.path["collection_id"])
        items = await room.sepa.items(found.collection_id)
        entries = [ItemOut.of(item, found.total.currency) for item in items]
        return CollectionDetailOut(entries=entries, **CollectionOut.of(found).model_dump())

    async def content(call: Call) -> Response:
        found = await room.sepa.collection(call.path["collection_id"])
        return _attachment(found.content.encode(), f"direct-debits-{found.collect_on}-{found.collection_id[-6:]}.xml")

    return [
        Endpoint(
            "GET",
            "/direct-debits",
            scope=READ,
            handler=collections,
            summary="Direct debit files, newest first",
            query=PageQuery,
            returns=CollectionOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/direct-debits",
            scope=WRITE,
            handler=collect,
            summary="Make a direct debit file of what is due by a day and in no other file",
            body=CollectIn,
            returns=CollectionOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/direct-debits/{collection_id}",
            scope=READ,
            handler=collection,
            summary="A direct debit file with its items",
            returns=CollectionDetailOut,
        ),
        Endpoint(
            "GET",
            "/direct-debits/{collection_id}/file",
            scope=READ,
            handler=content,
            summary="The pain.008 itself, the same octets every time",
            media_type="application/xml",
        ),
    ]


def _at_the_bank(room: PaymentsRoom) -> list[Endpoint]:
    async def send(call: Call) -> CollectionOut:
        return CollectionOut.of(await room.sepa.send(call.path["collection_id"], actor=call.actor))

    async def drop(call: Call) -> CollectionOut:
        reason = call.body_as(ReasonIn).reason
        return CollectionOut.of(await room.sepa.drop(call.path["collection_id"], actor=call.actor, reason=reason))

    async def report(call: Call) -> ReportOut:
        raw = await read_xml(call, room.settings.bank_file_octets)
        return ReportOut(rejected=await room.sepa.report(raw, actor=call.actor))

    return [
        Endpoint(
            "POST",
            "/direct-debits/{collection_id}/send",
            scope=WRITE,
            handler=send,
            summary="Say that the file went to the bank: its payments are booked as on their way",
            returns=CollectionOut,
        ),
        Endpoint(
            "POST",
            "/direct-debits/{collection_id}/drop",
            scope=WRITE,
            handler=drop,
            summary="Give up a file that was not sent",
            body=ReasonIn,
            returns=CollectionOut,
        ),
        Endpoint(
            "POST",
            "/payment-status-reports",
            scope=WRITE,
            handler=report,
            summary="Import a pain.002: what the bank rejected is open again",
            returns=ReportOut,
            problems=(413, 415),
            extra=XML_BODY,
        ),
    ]


def _transfers(room: PaymentsRoom) -> list[Endpoint]:
    async def transfer(call: Call) -> TransferOut:
        body = call.body_as(TransferIn)
        made = await room.transfers.make(body.bank_account_id, body.execute_on, actor=call.actor)
        return TransferOut(file_id=made.file_id, refused=[r.refund_id for r in made.refused])

    async def content(call: Call) -> Response:
        file_id = call.path["file_id"]
        return _attachment(await room.transfers.content(file_id), f"refunds-{file_id[-6:]}.xml")

    return [
        Endpoint(
            "POST",
            "/refund-transfers",
            scope=WRITE,
            handler=transfer,
            summary="Make a pain.001 of every approved refund by bank",
            body=TransferIn,
            returns=TransferOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/refund-transfers/{file_id}/file",
            scope=READ,
            handler=content,
            summary="The pain.001 itself, the same octets every time",
            media_type="application/xml",
        ),
    ]


def _requests(room: PaymentsRoom) -> list[Endpoint]:
    async def request(call: Call) -> Response:
        owed = await room.finance.invoice(InvoiceId(call.path["invoice_id"]))
        accounts = [p.account for p in await room.bank.positions() if p.account.entity_id == owed.entity_id]
        if not accounts:
            raise RuleError("add a bank account first: nobody knows where to pay", code="payment-request")
        creditor = Party(accounts[0].name, accounts[0].iban, accounts[0].bic)
        text = payload(creditor, Money(owed.open_minor, owed.total.currency), owed.number)
        return Response(drawn(text), media_type="image/svg+xml")

    return [
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/payment-code",
            scope=READ,
            handler=request,
            summary="The code that a banking program scans to pay what is open of an invoice (EPC069-12)",
            media_type="image/svg+xml",
        )
    ]


def _attachment(content: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/xml", headers=headers)

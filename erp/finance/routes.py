"""Invoices and payments over HTTP."""

from __future__ import annotations

from base64 import b64encode

from starlette.responses import Response

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId
from controller.http.endpoint import Call, Endpoint, Page
from controller.http.models import MoneyOut
from controller.store.metadata import to_micros
from erp.finance.answers import (
    InvoiceFilter,
    InvoiceOut,
    InvoiceQuery,
    InvoiceTotalOut,
    InvoiceTotalsOut,
    InvoiceWithLinesOut,
    LineOut,
    PaymentIn,
    PaymentOut,
    PaymentQuery,
)
from erp.finance.service import FinanceService


def endpoints(finance: FinanceService) -> list[Endpoint]:
    return [*_documents(finance), *_papers(finance), *_payments(finance)]


def _documents(finance: FinanceService) -> list[Endpoint]:
    async def invoices(call: Call) -> Page:
        query = call.query_as(InvoiceQuery)
        after = query.last_key(int, str)
        found = await finance.invoices(query.wanted(), after=after, limit=query.rows)
        return Page.of(found, query, lambda i: (to_micros(i.issued_at), str(i.invoice_id)), InvoiceOut.of)

    async def totals(call: Call) -> InvoiceTotalsOut:
        found = await finance.totals(call.query_as(InvoiceFilter).wanted())
        return InvoiceTotalsOut(
            totals=[InvoiceTotalOut(count=t.count, total=MoneyOut.of(t.total), open=MoneyOut.of(t.open)) for t in found]
        )

    async def invoice(call: Call) -> InvoiceWithLinesOut:
        found = await finance.invoice(InvoiceId(call.path["invoice_id"]))
        lines = await finance.lines(found.invoice_id)
        return InvoiceWithLinesOut(**InvoiceOut.of(found).model_dump(), lines=[LineOut.of(line) for line in lines])

    return [
        Endpoint(
            "GET",
            "/invoices",
            scope="finance:read",
            handler=invoices,
            summary="Invoices and credit notes, newest first",
            query=InvoiceQuery,
            returns=InvoiceOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/invoice-totals",
            scope="finance:read",
            handler=totals,
            summary="What the invoices that fit come to, by currency",
            query=InvoiceFilter,
            returns=InvoiceTotalsOut,
        ),
        Endpoint(
            "GET",
            "/invoices/{invoice_id}",
            scope="finance:read",
            handler=invoice,
            summary="One document with its lines",
            returns=InvoiceWithLinesOut,
        ),
    ]


def _papers(finance: FinanceService) -> list[Endpoint]:
    async def pdf(call: Call) -> Response:
        found = await finance.invoice(InvoiceId(call.path["invoice_id"]))
        document, sha256 = await finance.pdf(found.invoice_id)
        headers = {
            "Content-Disposition": f'inline; filename="{found.number}.pdf"',
            "Repr-Digest": f"sha-256=:{b64encode(sha256).decode()}:",  # RFC 9530 section 3
        }
        return Response(document, media_type="application/pdf", headers=headers)

    async def ubl(call: Call) -> Response:
        number, xml = await finance.ubl(InvoiceId(call.path["invoice_id"]))
        headers = {"Content-Disposition": f'attachment; filename="{number}.xml"'}
        return Response(xml, media_type="application/xml", headers=headers)

    async def factur_x(call: Call) -> Response:
        number, found = await finance.factur_x(InvoiceId(call.path["invoice_id"]))
        headers = {"Content-Disposition": f'inline; filename="{number}.pdf"'}
        return Response(found, media_type="application/pdf", headers=headers)

    return [
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/ubl",
            scope="finance:read",
            handler=ubl,
            summary="The document as EN 16931 e-invoice in UBL 2.1",
            media_type="application/xml",
        ),
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/factur-x",
            scope="finance:read",
            handler=factur_x,
            summary="The document as Factur-X: the PDF with the EN 16931 e-invoice inside",
            media_type="application/pdf",
        ),
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/pdf",
            scope="finance:read",
            handler=pdf,
            summary="The document as PDF, the same octets every time",
            media_type="application/pdf",
        ),
    ]


def _payments(finance: FinanceService) -> list[Endpoint]:
    async def receive(call: Call) -> PaymentOut:
        body = call.body_as(PaymentIn)
        amount = body.amount.money()
        if amount.minor <= 0:
            raise RuleError("a payment is a positive amount", code="payment-amount")
        made, _ = await finance.receive(
            account_id=AccountId(body.account_id),
            amount=amount,
            method=body.method,
            reference=body.reference,
            received_at=body.received_at,
            actor=call.actor,
        )
        return PaymentOut.of(made)

    async def payments(call: Call) -> Page:
        query = call.query_as(PaymentQuery)
        found = await finance.payments(
            account_id=query.account_id,
            after=query.last_key(int, str),
            limit=query.rows,
            unapplied=query.unapplied,
        )
        return Page.of(found, query, lambda p: (to_micros(p.recorded_at), str(p.payment_id)), PaymentOut.of)

    return [
        Endpoint(
            "POST",
            "/payments",
            scope="finance:write",
            handler=receive,
            summary="Book a payment; it settles the oldest open invoices",
            body=PaymentIn,
            returns=PaymentOut,
            status=201,
        ),
        Endpoint(
            "GET",
            "/payments",
            scope="finance:read",
            handler=payments,
            summary="Payments, newest first",
            query=PaymentQuery,
            returns=PaymentOut,
            paged=True,
        ),
    ]

"""Receipts of prepaid credit over HTTP."""

from __future__ import annotations

from base64 import b64encode
from datetime import date

from starlette.responses import Response

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, MoneyOut, Out
from erp.finance.vouchers import Receipt, Receipts


class ReceiptQuery(PageQuery):
    account_id: IdText | None = None
    service_id: IdText | None = None


class ReceiptOut(Out):
    """The document of a top-up (`receipt`), or of credit that was given back (`refund`, below zero)."""

    receipt_id: str
    number: str
    kind: str
    account_id: str
    service_id: str
    reference: str
    issued_at: Instant
    issued_on: date
    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut

    @classmethod
    def of(cls, found: Receipt) -> ReceiptOut:
        return cls(
            receipt_id=found.receipt_id, number=found.number, kind=found.kind, account_id=found.account_id,
            service_id=found.service_id, reference=found.reference, issued_at=found.issued_at,
            issued_on=found.issued_on, net=MoneyOut.of(found.net), tax=MoneyOut.of(found.tax),
            total=MoneyOut.of(found.total),
        )  # fmt: skip


def endpoints(receipts: Receipts) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(ReceiptQuery)
        found = await receipts.page(
            account_id=query.account_id, service_id=query.service_id, before=query.last(str), limit=query.rows
        )
        return Page.of(found, query, lambda one: (one.receipt_id,), ReceiptOut.of)

    async def show(call: Call) -> ReceiptOut:
        return ReceiptOut.of(await receipts.show(call.path["receipt_id"]))

    async def pdf(call: Call) -> Response:
        found, drawn, sha256 = await receipts.pdf(call.path["receipt_id"])
        headers = {
            "Content-Disposition": f'inline; filename="{found.number}.pdf"',
            "Repr-Digest": f"sha-256=:{b64encode(sha256).decode()}:",  # RFC 9530 section 3
        }
        return Response(drawn, media_type="application/pdf", headers=headers)

    return [
        Endpoint(
            "GET",
            "/receipts",
            scope="finance:read",
            handler=index,
            summary="Receipts and refunds of prepaid credit, newest first",
            query=ReceiptQuery,
            returns=ReceiptOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/receipts/{receipt_id}",
            scope="finance:read",
            handler=show,
            summary="One receipt",
            returns=ReceiptOut,
        ),
        Endpoint(
            "GET",
            "/receipts/{receipt_id}/pdf",
            scope="finance:read",
            handler=pdf,
            summary="A receipt as PDF, the same octets every time",
            media_type="application/pdf",
        ),
    ]

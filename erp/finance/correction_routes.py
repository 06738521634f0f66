"""Credit notes, voids and adjustments over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, MoneyIn, MoneyOut, Out
from erp.finance.adjustments import Adjustment
from erp.finance.answers import InvoiceOut
from erp.finance.books_answers import Day
from erp.finance.corrections import VOID, CorrectionService, lines_of
from erp.finance.crediting import Creditable

Amount = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,3})?$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[\x21-\x7e]+$")]


class CreditLineIn(In):
    """Of a line its net amount, or without one all that is left."""

    line_id: IdText
    net: Amount | None = None


class CreditNoteIn(In):
    """The same reference for the same document is the same credit note."""

    reference: Reference
    reason: Reason
    lines: Annotated[list[CreditLineIn], Field(min_length=1, max_length=1000)]


class VoidIn(In):
    reason: Reason


class AdjustmentIn(In):
    """What is charged, or negative given, beside all lines. With `tax_included` the tax is in `net`."""

    account_id: IdText
    net: MoneyIn
    tax_percent: Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)]
    tax_category: Literal["S", "Z", "E", "AE", "K", "G", "O", "L", "M"] = "S"
    tax_included: bool = False
    item: Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
    reason: Reason
    reference: Reference
    first_on: Day | None = None
    subscription_id: IdText | None = None


class CreditableOut(Out):
    """`left` is what of the line's net may still be credited; of a credit, below zero, what of it may be taken back."""

    line_id: str
    position: int
    item: str
    net: MoneyOut
    left: MoneyOut

    @classmethod
    def of(cls, found: Creditable) -> CreditableOut:
        line = found.line
        return cls(
            line_id=line.line_id,
            position=line.position,
            item=line.item,
            net=MoneyOut.of(line.net),
            left=MoneyOut.of(Money.zero(line.net.currency) if found.root else found.left),
        )


class CreditablesOut(Out):
    lines: list[CreditableOut]


def endpoints(corrections: CorrectionService) -> list[Endpoint]:
    return [*_crediting(corrections), *_adjusting(corrections)]


def _crediting(corrections: CorrectionService) -> list[Endpoint]:
    async def creditable(call: Call) -> CreditablesOut:
        found = await corrections.creditable(InvoiceId(call.path["invoice_id"]))
        return CreditablesOut(lines=[CreditableOut.of(c) for c in found])

    async def credit(call: Call) -> InvoiceOut:
        body, invoice_id = call.body_as(CreditNoteIn), InvoiceId(call.path["invoice_id"])
        if body.reference == VOID:
            raise RuleError(f"{VOID} is the reference of the void itself", code="reference-taken")
        found = await corrections.creditable(invoice_id)
        currency = found[0].line.net.currency
        parts = [
            (line.line_id, None if line.net is None else MoneyIn(amount=line.net, currency=currency).money())
            for line in body.lines
        ]
        made = await corrections.credit(
            invoice_id, lines_of(parts), reason=body.reason, reference=body.reference, actor=call.actor
        )
        return InvoiceOut.of(made)

    async def void(call: Call) -> InvoiceOut:
        reason = call.body_as(VoidIn).reason
        return InvoiceOut.of(
            await corrections.void(InvoiceId(call.path["invoice_id"]), reason=reason, actor=call.actor)
        )

    return [
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/creditable",
            scope="finance:read",
            handler=creditable,
            summary="What of each line may still be credited",
            returns=CreditablesOut,
        ),
        Endpoint(
            "POST",
            "/invoices/{invoice_id}/credit-notes",
            scope="finance:write",
            handler=credit,
            summary="Credit lines of a document, or take back those of a credit note; never more than they say",
            body=CreditNoteIn,
            returns=InvoiceOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/invoices/{invoice_id}/void",
            scope="finance:write",
            handler=void,
            summary="Take back all that is left of a document, by a credit note; of a credit note by a debit note",
            body=VoidIn,
            returns=InvoiceOut,
            status=201,
        ),
    ]


def _adjusting(corrections: CorrectionService) -> list[Endpoint]:
    async def adjust(call: Call) -> InvoiceOut:
        body = call.body_as(AdjustmentIn)
        net = body.net.money()
        if not net:
            raise RuleError("an adjustment is an amount", code="adjustment-of-nothing")
        if body.tax_percent and body.tax_category not in ("S", "L", "M"):
            raise RuleError(f"what is of category {body.tax_category} bears no tax", code="tax-category")
        made = await corrections.adjust(
            Adjustment(
                AccountId(body.account_id),
                net,
                body.tax_percent,
                body.item,
                body.reason,
                body.reference,
                body.tax_category,
                body.tax_included,
                body.first_on,
                body.subscription_id or "",
            ),
            actor=call.actor,
        )
        return InvoiceOut.of(made)

    return [
        Endpoint(
            "POST",
            "/adjustments",
            scope="finance:write",
            handler=adjust,
            summary="Charge or give something that belongs to no offering, by a document of its own",
            body=AdjustmentIn,
            returns=InvoiceOut,
            status=201,
        ),
    ]

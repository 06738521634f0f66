"""What finance is asked and answers over HTTP: documents and payments as JSON."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.domain.money import Money
from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.finance.model import Invoice, InvoiceLine, Wanted
from erp.finance.receipts import Payment


class InvoiceFilter(BaseModel):
    """`q` is part of the number, `account_id` may be repeated, and `overdue` is open past its due day."""

    q: Annotated[str, Field(max_length=40)] = ""
    state: Literal["open", "overdue", "unapplied", "paid"] | None = None
    account_id: Annotated[tuple[IdText, ...], Field(max_length=500)] = ()
    bill_run_id: IdText | None = None

    model_config = ConfigDict(extra="forbid")

    def wanted(self) -> Wanted:
        return Wanted(self.account_id, self.bill_run_id, self.q.strip(), self.state)


class InvoiceQuery(PageQuery, InvoiceFilter):
    pass


class InvoiceTotalOut(Out):
    """What some invoices come to in one currency."""

    count: int
    total: MoneyOut
    open: MoneyOut


class InvoiceTotalsOut(Out):
    totals: list[InvoiceTotalOut]


class InvoiceOut(Out):
    """An issued document. `kind` is invoice, credit-note or debit-note; `open` is what is still to be paid.

    Of a credit note, `open` is what settles nothing yet, below zero like its total.
    """

    invoice_id: str
    number: str
    kind: str
    account_id: str
    customer_id: str
    bill_run_id: str
    issued_at: Instant
    issued_on: date
    due_on: date
    net: MoneyOut
    tax: MoneyOut
    total: MoneyOut
    open: MoneyOut
    content_sha256: str

    @classmethod
    def of(cls, found: Invoice) -> InvoiceOut:
        return cls(
            invoice_id=found.invoice_id,
            number=found.number,
            kind=found.kind,
            account_id=found.account_id,
            customer_id=found.customer_id,
            bill_run_id=found.bill_run_id,
            issued_at=found.issued_at,
            issued_on=found.issued_on,
            due_on=found.due_on,
            net=MoneyOut.of(found.net),
            tax=MoneyOut.of(found.tax),
            total=MoneyOut.of(found.total),
            open=MoneyOut.of(found.left),
            content_sha256=found.content_sha256.hex(),
        )


class LineOut(Out):
    """A line. Days are [first_on, until_on) in the entity's zone; `agreed` is what was charged, tax included or not."""

    line_id: str
    position: int
    charge_id: str
    subscription_id: str
    service_id: str
    version_id: str
    kind: str
    item: str
    description: str
    first_on: date
    until_on: date
    quantity: str
    unit: str
    unit_price: str
    net: MoneyOut
    tax_percent: str
    tax: MoneyOut
    adjustment: bool
    part: int
    exemption: str
    tax_category: str
    tax_included: bool
    agreed: MoneyOut
    credits_line_id: str | None

    @classmethod
    def of(cls, line: InvoiceLine) -> LineOut:
        return cls(
            line_id=line.line_id,
            position=line.position,
            charge_id=line.charge_id,
            subscription_id=line.subscription_id,
            service_id=line.service_id,
            version_id=line.version_id,
            kind=line.kind,
            item=line.item,
            description=line.description,
            first_on=line.first_on,
            until_on=line.until_on,
            quantity=f"{line.quantity:f}",
            unit=line.unit,
            unit_price=f"{line.unit_price:f}",
            net=MoneyOut.of(line.net),
            tax_percent=f"{line.tax_percent:f}",
            tax=MoneyOut.of(line.tax),
            adjustment=line.adjustment,
            part=line.part,
            exemption=line.exemption,
            tax_category=line.tax_category,
            tax_included=line.tax_included,
            agreed=MoneyOut.of(Money(line.agreed_minor, line.net.currency)),
            credits_line_id=line.credits_line_id,
        )


class InvoiceWithLinesOut(InvoiceOut):
    lines: list[LineOut]


class PaymentIn(In):
    """Money received. The same method and reference again is the same payment."""

    account_id: IdText
    amount: MoneyIn
    method: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")] = "bank-transfer"
    reference: Annotated[str, StringConstraints(min_length=1, max_length=140, strip_whitespace=True)]
    received_at: Instant | None = None


class AppliedOut(Out):
    invoice_id: str
    amount: MoneyOut


class PaymentOut(Out):
    """`unapplied` waits for the next invoice, `reserved` to be refunded; `reversed` went back.

    `kind` is payment or write-off.
    """

    payment_id: str
    account_id: str
    amount: MoneyOut
    method: str
    reference: str
    received_at: Instant
    recorded_at: Instant
    applied: list[AppliedOut]
    unapplied: MoneyOut
    reserved: MoneyOut
    reversed: MoneyOut
    kind: str

    @classmethod
    def of(cls, made: Payment) -> PaymentOut:
        return cls(
            payment_id=made.payment_id,
            account_id=made.account_id,
            amount=MoneyOut.of(made.amount),
            method=made.method,
            reference=made.reference,
            received_at=made.received_at,
            recorded_at=made.recorded_at,
            applied=[AppliedOut(invoice_id=i, amount=MoneyOut.of(m)) for i, m in made.applied],
            unapplied=MoneyOut.of(made.unapplied),
            reserved=MoneyOut.of(made.reserved),
            reversed=MoneyOut.of(made.reversed),
            kind=made.kind,
        )


class PaymentQuery(PageQuery):
    """With `unapplied`, only those of which something settles nothing yet."""

    account_id: IdText | None = None
    unapplied: bool = False

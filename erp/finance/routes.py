"""Invoices, payments and the books over HTTP."""

from __future__ import annotations

from base64 import b64encode
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import Response

from controller.domain.errors import RuleError
from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from controller.http import cursor
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from controller.store.metadata import to_micros
from erp.finance.journal import CHART, AccountBalance, Entry
from erp.finance.ledger import Payment
from erp.finance.model import Invoice, InvoiceLine, Wanted
from erp.finance.service import FinanceService


class InvoiceFilter(BaseModel):
    """`q` is part of the number, `account_id` may be repeated, and `overdue` is open past its due day."""

    q: Annotated[str, Field(max_length=40)] = ""
    state: Literal["open", "overdue", "paid"] | None = None
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
    """An issued document. `kind` is invoice or credit-note; `open` is what is still to be paid."""

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


class LineOut(Out):
    """A line. Days are [first_on, until_on) in the entity's zone."""

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
    """`unapplied` waits for the next invoice."""

    payment_id: str
    account_id: str
    amount: MoneyOut
    method: str
    reference: str
    received_at: Instant
    recorded_at: Instant
    applied: list[AppliedOut]
    unapplied: MoneyOut


class PaymentQuery(PageQuery):
    account_id: IdText | None = None


class PostingOut(Out):
    """A positive amount is a debit, a negative one a credit."""

    code: str
    name: str
    amount: MoneyOut


class EntryOut(Out):
    entry_id: str
    entity_id: str
    posted_at: Instant
    booked_on: date
    description: str
    source: str
    postings: list[PostingOut]


class AccountBalanceOut(Out):
    entity_id: str
    code: str
    name: str
    kind: str
    debit: MoneyOut
    credit: MoneyOut
    balance: MoneyOut


class TrialBalanceOut(Out):
    """`totals` are the sums of all balances per currency: zero, or the books are broken."""

    accounts: list[AccountBalanceOut]
    totals: list[MoneyOut]


def endpoints(finance: FinanceService) -> list[Endpoint]:
    async def invoices(call: Call) -> Page:
        query = call.query_as(InvoiceQuery)
        after = _after(query)
        found = await finance.invoices(query.wanted(), after=after, limit=query.limit + 1)
        page, following = cursor.cut(found, query.limit, lambda i: (to_micros(i.issued_at), str(i.invoice_id)))
        return Page([_invoice(i) for i in page], following)

    async def totals(call: Call) -> InvoiceTotalsOut:
        found = await finance.totals(call.query_as(InvoiceFilter).wanted())
        return InvoiceTotalsOut(
            totals=[InvoiceTotalOut(count=t.count, total=MoneyOut.of(t.total), open=MoneyOut.of(t.open)) for t in found]
        )

    async def invoice(call: Call) -> InvoiceWithLinesOut:
        found = await finance.invoice(InvoiceId(call.path["invoice_id"]))
        lines = await finance.lines(found.invoice_id)
        return InvoiceWithLinesOut(**_invoice(found).model_dump(), lines=[_line(line) for line in lines])

    async def pdf(call: Call) -> Response:
        found = await finance.invoice(InvoiceId(call.path["invoice_id"]))
        document, sha256 = await finance.pdf(found.invoice_id)
        headers = {
            "Content-Disposition": f'inline; filename="{found.number}.pdf"',
            "Repr-Digest": f"sha-256=:{_base64(sha256)}:",  # RFC 9530 section 3
        }
        return Response(document, media_type="application/pdf", headers=headers)

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
        return _payment(made)

    async def payments(call: Call) -> Page:
        query = call.query_as(PaymentQuery)
        found = await finance.payments(account_id=query.account_id, after=_after(query), limit=query.limit + 1)
        page, following = cursor.cut(found, query.limit, lambda p: (to_micros(p.recorded_at), str(p.payment_id)))
        return Page([_payment(p) for p in page], following)

    async def entries(call: Call) -> Page:
        query = call.query_as(PageQuery)
        found = await finance.journal_entries(after=_after(query), limit=query.limit + 1)
        page, following = cursor.cut(found, query.limit, lambda e: (to_micros(e.posted_at), e.entry_id))
        return Page([_entry(e) for e in page], following)

    async def trial_balance(call: Call) -> TrialBalanceOut:
        found = await finance.trial_balance()
        totals: dict[str, Money] = {}
        for account in found:
            currency = account.balance.currency
            totals[currency] = totals.get(currency, Money.zero(currency)) + account.balance
        return TrialBalanceOut(
            accounts=[_balance(account) for account in found], totals=[MoneyOut.of(m) for m in totals.values()]
        )

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
        Endpoint(
            "GET",
            "/invoices/{invoice_id}/pdf",
            scope="finance:read",
            handler=pdf,
            summary="The document as PDF, the same octets every time",
            media_type="application/pdf",
        ),
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
        Endpoint(
            "GET",
            "/journal-entries",
            scope="finance:read",
            handler=entries,
            summary="The journal, newest first",
            query=PageQuery,
            returns=EntryOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/trial-balance",
            scope="finance:read",
            handler=trial_balance,
            summary="Debits, credits and balance of every account",
            returns=TrialBalanceOut,
        ),
    ]


def _after(query: PageQuery) -> tuple[int, str] | None:
    if query.after is None:
        return None
    micros, key = cursor.decode(query.after, int, str)
    return micros, key


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _invoice(found: Invoice) -> InvoiceOut:
    return InvoiceOut(
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
        open=MoneyOut.of(Money(found.open_minor, found.total.currency)),
        content_sha256=found.content_sha256.hex(),
    )


def _line(line: InvoiceLine) -> LineOut:
    return LineOut(
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
    )


def _payment(made: Payment) -> PaymentOut:
    return PaymentOut(
        payment_id=made.payment_id,
        account_id=made.account_id,
        amount=MoneyOut.of(made.amount),
        method=made.method,
        reference=made.reference,
        received_at=made.received_at,
        recorded_at=made.recorded_at,
        applied=[AppliedOut(invoice_id=i, amount=MoneyOut.of(m)) for i, m in made.applied],
        unapplied=MoneyOut.of(made.unapplied),
    )


def _entry(entry: Entry) -> EntryOut:
    return EntryOut(
        entry_id=entry.entry_id,
        entity_id=entry.entity_id,
        posted_at=entry.posted_at,
        booked_on=entry.booked_on,
        description=entry.description,
        source=entry.source,
        postings=[PostingOut(code=p.code, name=CHART[p.code][0], amount=MoneyOut.of(p.amount)) for p in entry.postings],
    )


def _balance(found: AccountBalance) -> AccountBalanceOut:
    return AccountBalanceOut(
        entity_id=found.entity_id,
        code=found.code,
        name=found.name,
        kind=found.kind,
        debit=MoneyOut.of(found.debit),
        credit=MoneyOut.of(found.credit),
        balance=MoneyOut.of(found.balance),
    )

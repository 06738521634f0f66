"""One document about to be written: its rows, its journal entry, its event. Pure.

Made by the service once the parties are known and the number is taken; nothing here decides an amount.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from controller.domain.charge import Charge
from controller.domain.clock import local_date
from controller.domain.events import InvoiceIssued
from controller.domain.identity import AccountId, BillRunId, InvoiceId, new_id
from controller.domain.money import Money
from erp.crm.model import Customer, Entity
from erp.finance.chart import Chart
from erp.finance.content import Said, content_of, fingerprint
from erp.finance.contracts import earning_row
from erp.finance.deferral import Deferred, after
from erp.finance.journal import Entry, Posting
from erp.finance.model import CREDIT_NOTE, DEBIT_NOTE, REVENUE, Draft
from erp.finance.recognition import Slice


@dataclass(frozen=True, slots=True)
class Addressed:
    """A document without a number: what it will say, and between whom."""

    document: Draft
    seller: Entity
    buyer: Customer
    taxed: tuple[Charge, ...] = ()
    """The charges, in the parts that are taxed alike, before tax was taken out of a price."""
    credits: tuple[str, ...] = ()
    """For each line of what takes back another document, the line that it takes back."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else the document says: see content.content_of."""
    settles: str = ""
    """The document that it takes back, and settles before any other, or is settled by."""

    @property
    def key(self) -> tuple[AccountId, str]:
        """Account and currency, of which a bill run makes one document."""
        return self.buyer.account.account_id, self.document.total.currency


@dataclass(frozen=True, slots=True)
class Drafted:
    """A document as it would be issued now; `sha256` covers `content` but for what the issue adds."""

    account_id: AccountId
    charges: int
    agreed: Money
    """The sum of its charges, with the tax in those whose price includes it."""
    net: Money
    tax: Money
    content: dict[str, Any]
    sha256: bytes

    @property
    def total(self) -> Money:
        return self.net + self.tax


@dataclass(frozen=True, slots=True)
class Differing:
    """A document that would not come to what was proved, and was not issued."""

    account_id: AccountId
    currency: str
    net: Money
    tax: Money


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document of which all is made that needs no number: the lock of the books is held for the rest alone."""

    addressed: Addressed
    invoice_id: InvoiceId
    issued_on: date
    """The day on the paper, in the seller's zone."""
    said: Said
    lines: tuple[tuple[Any, ...], ...]
    """Rows of LINE_COLUMNS."""
    waiting: tuple[tuple[Slice, ...], ...]
    """Of each line what is earned after the month of issue, unless it was sold under a contract."""

    @property
    def document(self) -> Draft:
        return self.addressed.document

    @property
    def seller(self) -> Entity:
        return self.addressed.seller

    @property
    def buyer(self) -> Customer:
        return self.addressed.buyer


@dataclass(frozen=True, slots=True)
class Booked:
    """One document with what it posts; an entry without postings is none."""

    prepared: Prepared
    entry_id: str | None
    postings: tuple[Posting, ...]
    deferred: Deferred
    chart: Chart


@dataclass(frozen=True, slots=True)
class Issue:
    """One document about to be written."""

    booked: Booked
    number: str
    series: str
    sequence: int

    @property
    def prepared(self) -> Prepared:
        return self.booked.prepared

    @property
    def invoice_id(self) -> InvoiceId:
        return self.booked.prepared.invoice_id

    @property
    def document(self) -> Draft:
        return self.booked.prepared.addressed.document


def drafted(found: Addressed, today: date, *, iban: str) -> Drafted:
    """What the document says before it has a number. `today` is not in the fingerprint."""
    document, content = found.document, _content(found, today, iban)
    account_id = found.buyer.account.account_id
    agreed = Money.sum(document.agreed, document.net.currency)
    charges = len({c.charge_id for c in document.charges})
    return Drafted(account_id, charges, agreed, document.net, document.tax, content, fingerprint(content))


def prepared(found: Addressed, now: datetime, *, iban: str) -> Prepared:
    """Everything of a document of the instant `now` but its number, its entry and what settles it."""
    issued_on = local_date(now, found.seller.zone_info)
    invoice_id = InvoiceId(new_id(now))
    said = Said.of(_content(found, issued_on, iban))
    lines = line_rows(found, invoice_id, now)
    return Prepared(found, invoice_id, issued_on, said, lines, after(found.document.charges, issued_on))


def _content(found: Addressed, today: date, iban: str) -> dict[str, Any]:
    return content_of(
        found.document,
        number="",
        issued_on=today,
        due_on=today,
        seller=found.seller,
        buyer=found.buyer,
        iban=iban,
        **found.about,
    )


def invoice_row(
    issue: Issue, bill_run_id: BillRunId, now: datetime, *, due_on: date, prepaid_minor: int
) -> dict[str, Any]:
    """The row of `finance_invoice`, with the content and its digest. Credits had paid `prepaid_minor` already."""
    found = issue.prepared
    document, buyer = found.document, found.buyer
    content, sha256 = found.said.issued(
        number=issue.number,
        issued_on=found.issued_on.isoformat(),
        due_on=due_on.isoformat(),
        prepaid_minor=prepaid_minor,
    )
    return {
        "invoice_id": found.invoice_id,
        "entity_id": found.seller.entity_id,
        "series": issue.series,
        "sequence": issue.sequence,
        "number": issue.number,
        "kind": document.kind,
        "account_id": buyer.account.account_id,
        "customer_id": buyer.customer_id,
        "bill_run_id": bill_run_id,
        "entry_id": issue.booked.entry_id,
        "issued_at": now,
        "issued_on": found.issued_on,
        "due_on": due_on,
        "currency": document.total.currency,
        "net_minor": document.net.minor,
        "tax_minor": document.tax.minor,
        "total_minor": document.total.minor,
        "content": content,
        "content_sha256": sha256,
        "draft_sha256": found.said.fingerprint,
    }


def entry_of(issue: Issue, now: datetime) -> Entry:
    assert issue.booked.entry_id is not None
    what = {CREDIT_NOTE: "Credit note", DEBIT_NOTE: "Debit note"}.get(issue.document.kind, "Invoice")
    return Entry(
        issue.booked.entry_id,
        issue.prepared.seller.entity_id,
        now,
        issue.prepared.issued_on,
        f"{what} {issue.number}",
        f"invoice:{issue.invoice_id}",
        issue.booked.postings,
        regards_on=_regards(issue.document.charges, issue.prepared.issued_on),
    )


def _regards(charges: Sequence[Charge], issued_on: date) -> date | None:
    """The first day of an earlier month that it corrects, by usage that came late or a price: it counts where it is."""
    first = min([c.first_on for c in charges if c.adjustment], default=issued_on)
    return first if first < issued_on.replace(day=1) else None


LINE_COLUMNS = (
    "line_id", "invoice_id", "position", "charge_id", "part", "subscription_id", "service_id", "version_id", "kind",
    "item", "description", "first_on", "until_on", "quantity", "unit", "unit_price", "net_minor", "tax_percent",
    "tax_minor", "exemption", "exemption_code", "tax_category", "tax_included", "adjustment", "agreed_minor",
    "credits_line_id",
)  # fmt: skip


def line_rows(found: Addressed, invoice_id: InvoiceId, now: datetime) -> tuple[tuple[Any, ...], ...]:
    """Rows of LINE_COLUMNS."""
    parts: Counter[str] = Counter()
    rows = []
    document = found.document
    for position, (charge, tax, agreed) in enumerate(
        zip(document.charges, document.taxes, document.agreed, strict=True), 1
    ):
        parts[charge.charge_id] += 1
        credited = found.credits[position - 1] if found.credits else None
        row = (
            new_id(now), invoice_id, position, charge.charge_id, parts[charge.charge_id], charge.subscription_id,
            charge.service_id, charge.version_id, charge.kind.value, charge.item or charge.description,
            charge.description, charge.first_on, charge.until_on, charge.quantity, charge.unit, charge.unit_price,
            charge.net.minor, charge.tax_percent, tax.minor, charge.exemption, charge.exemption_code,
            charge.tax_category, charge.tax_included, charge.adjustment, agreed.minor, credited,
        )  # fmt: skip
        rows.append(row)
    return tuple(rows)


def levy_rows(found: Prepared) -> list[dict[str, Any]]:
    """The taxes of its lines that are no VAT."""
    return [
        {
            "line_id": found.lines[levy.place][0],
            "code": levy.code,
            "name": levy.name,
            "authority": levy.authority,
            "rate": levy.rate,
            "base_minor": levy.base.minor,
            "tax_minor": levy.tax.minor,
        }
        for levy in found.document.levies
    ]


def earning_rows(issue: Issue) -> list[dict[str, Any]]:
    """What of its lines is earned in later months."""
    document = issue.document
    return [
        earning_row(
            issue.prepared.seller.entity_id,
            document.net.currency,
            issue.booked.chart.code(REVENUE[document.charges[place].kind]),
            piece,
            piece.minor,
            line_id=issue.prepared.lines[place][0],
        )
        for place, piece in issue.booked.deferred.later
    ]


def issued(issue: Issue, now: datetime, actor: str) -> InvoiceIssued:
    return InvoiceIssued(
        event_id=new_id(now),
        at=now,
        actor=actor,
        invoice_id=issue.invoice_id,
        number=issue.number,
        account_id=issue.prepared.buyer.account.account_id,
        total_minor=issue.document.total.minor,
        currency=issue.document.total.currency,
    )

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
from controller.domain.identity import AccountId, BillRunId, InvoiceId, InvoiceLineId, new_id
from controller.domain.money import Money
from erp.crm.model import Customer, Entity
from erp.finance.chart import Chart
from erp.finance.content import canonical, content_of, fingerprint
from erp.finance.contracts import earning_row
from erp.finance.deferral import Deferred
from erp.finance.journal import Entry, Posting
from erp.finance.model import CREDIT_NOTE, DEBIT_NOTE, REVENUE, Draft


@dataclass(frozen=True, slots=True)
class Addressed:
    """A document without a number: what it will say, and between whom."""

    document: Draft
    seller: Entity
    buyer: Customer
    taxed: tuple[Charge, ...] = ()
    """The charges, in the parts that are taxed alike, before tax was taken out of a price."""
    credits: tuple[str, ...] = ()
    """For each line of a credit note, the line that it takes back."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else the document says: see content.content_of."""
    settles: str = ""
    """The invoice that a credit note settles before any other."""

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
class Issue:
    """One document about to be written."""

    invoice_id: InvoiceId
    entry_id: str | None
    postings: tuple[Posting, ...]
    deferred: Deferred
    number: str
    series: str
    sequence: int
    document: Draft
    seller: Entity
    buyer: Customer
    chart: Chart
    credits: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    settles: str = ""

    def issued_on(self, now: datetime) -> date:
        """The day on the paper, in the seller's zone."""
        return local_date(now, self.seller.zone_info)


def drafted(found: Addressed, today: date, *, iban: str) -> Drafted:
    """What the document says before it has a number. `today` is not in the fingerprint."""
    document = found.document
    content = content_of(
        document,
        number="",
        issued_on=today,
        due_on=today,
        seller=found.seller,
        buyer=found.buyer,
        iban=iban,
        **found.about,
    )
    account_id = found.buyer.account.account_id
    agreed = Money.sum(document.agreed, document.net.currency)
    charges = len({c.charge_id for c in document.charges})
    return Drafted(account_id, charges, agreed, document.net, document.tax, content, fingerprint(content))


def invoice_row(issue: Issue, bill_run_id: BillRunId, now: datetime, *, due_on: date, iban: str) -> dict[str, Any]:
    """The row of `finance_invoice`, with the content and its digest."""
    document, seller, buyer = issue.document, issue.seller, issue.buyer
    issued_on = issue.issued_on(now)
    said = content_of(
        document,
        number=issue.number,
        issued_on=issued_on,
        due_on=due_on,
        seller=seller,
        buyer=buyer,
        iban=iban,
        **issue.about,
    )
    content, sha256 = canonical(said)
    return {
        "invoice_id": issue.invoice_id,
        "entity_id": seller.entity_id,
        "series": issue.series,
        "sequence": issue.sequence,
        "number": issue.number,
        "kind": document.kind,
        "account_id": buyer.account.account_id,
        "customer_id": buyer.customer_id,
        "bill_run_id": bill_run_id,
        "entry_id": issue.entry_id,
        "issued_at": now,
        "issued_on": issued_on,
        "due_on": due_on,
        "currency": document.total.currency,
        "net_minor": document.net.minor,
        "tax_minor": document.tax.minor,
        "total_minor": document.total.minor,
        "content": content,
        "content_sha256": sha256,
        "draft_sha256": fingerprint(said),
    }


def entry_of(issue: Issue, now: datetime) -> Entry:
    assert issue.entry_id is not None
    what = {CREDIT_NOTE: "Credit note", DEBIT_NOTE: "Debit note"}.get(issue.document.kind, "Invoice")
    return Entry(
        issue.entry_id,
        issue.seller.entity_id,
        now,
        local_date(now, issue.seller.zone_info),
        f"{what} {issue.number}",
        f"invoice:{issue.invoice_id}",
        issue.postings,
    )


def line_rows(issue: Issue, now: datetime) -> list[dict[str, Any]]:
    parts: Counter[str] = Counter()
    rows = []
    document = issue.document
    for position, (charge, tax, agreed) in enumerate(
        zip(document.charges, document.taxes, document.agreed, strict=True), 1
    ):
        parts[charge.charge_id] += 1
        rows.append(
            _line_row(issue, charge, tax, position, parts[charge.charge_id], now)
            | {"agreed_minor": agreed.minor, "credits_line_id": issue.credits[position - 1] if issue.credits else None}
        )
    return rows


def levy_rows(issue: Issue, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The taxes of its lines that are no VAT."""
    return [
        {
            "line_id": lines[levy.place]["line_id"],
            "code": levy.code,
            "name": levy.name,
            "authority": levy.authority,
            "rate": levy.rate,
            "base_minor": levy.base.minor,
            "tax_minor": levy.tax.minor,
        }
        for levy in issue.document.levies
    ]


def _line_row(issue: Issue, charge: Charge, tax: Money, position: int, part: int, now: datetime) -> dict[str, Any]:
    return {
        "line_id": InvoiceLineId(new_id(now)),
        "invoice_id": issue.invoice_id,
        "position": position,
        "charge_id": charge.charge_id,
        "part": part,
        "subscription_id": charge.subscription_id,
        "service_id": charge.service_id,
        "version_id": charge.version_id,
        "kind": charge.kind.value,
        "item": charge.item or charge.description,
        "description": charge.description,
        "first_on": charge.first_on,
        "until_on": charge.until_on,
        "quantity": charge.quantity,
        "unit": charge.unit,
        "unit_price": charge.unit_price,
        "net_minor": charge.net.minor,
        "tax_percent": charge.tax_percent,
        "tax_minor": tax.minor,
        "exemption": charge.exemption,
        "exemption_code": charge.exemption_code,
        "tax_category": charge.tax_category,
        "tax_included": charge.tax_included,
        "adjustment": charge.adjustment,
    }


def earning_rows(issue: Issue, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What of its lines is earned in later months."""
    document = issue.document
    return [
        earning_row(
            issue.seller.entity_id,
            document.net.currency,
            issue.chart.code(REVENUE[document.charges[place].kind]),
            piece,
            piece.minor,
            line_id=lines[place]["line_id"],
        )
        for place, piece in issue.deferred.later
    ]


def issued(issue: Issue, now: datetime, actor: str) -> InvoiceIssued:
    return InvoiceIssued(
        event_id=new_id(now),
        at=now,
        actor=actor,
        invoice_id=issue.invoice_id,
        number=issue.number,
        account_id=issue.buyer.account.account_id,
        total_minor=issue.document.total.minor,
        currency=issue.document.total.currency,
    )

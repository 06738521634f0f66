"""Invoices as values: lines, tax, totals and what they post. Pure.

Tax is computed once per rate group (EN 16931: sum of the net amounts × rate, rounded) and then allocated to the lines
of the group by largest remainder. So every document total is the sum of its lines, net and tax, by construction; no
cent appears or is lost between lines, groups and total.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, BillRunId, ChargeId, CustomerId, EntityId, InvoiceId, InvoiceLineId
from controller.domain.money import Money

INVOICE, CREDIT_NOTE = "invoice", "credit-note"


@dataclass(frozen=True, slots=True)
class TaxGroup:
    """All lines of one rate, or of one reason why there is none."""

    percent: Decimal
    net: Money
    tax: Money
    exemption: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a document will say: charges, the tax of each, and the sums."""

    charges: tuple[Charge, ...]
    taxes: tuple[Money, ...]
    groups: tuple[TaxGroup, ...]
    net: Money
    tax: Money

    @property
    def total(self) -> Money:
        return self.net + self.tax

    @property
    def kind(self) -> str:
        """A document that owes the customer money is a credit note."""
        return CREDIT_NOTE if self.total.minor < 0 else INVOICE


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    line_id: InvoiceLineId
    invoice_id: InvoiceId
    position: int
    charge_id: ChargeId
    subscription_id: str
    service_id: str
    version_id: str
    kind: str
    item: str
    description: str
    first_on: date
    until_on: date
    quantity: Decimal
    unit: str
    unit_price: Decimal
    net: Money
    tax_percent: Decimal
    tax: Money
    adjustment: bool
    part: int = 1
    """A charge whose tax changes within its days stands on a line for each part of them."""
    exemption: str = ""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An issued document. `open_minor` is what is still to be settled: total less allocations (0 for credit notes)."""

    invoice_id: InvoiceId
    entity_id: EntityId
    number: str
    kind: str
    account_id: AccountId
    customer_id: CustomerId
    bill_run_id: BillRunId
    issued_at: datetime
    issued_on: date
    due_on: date
    net: Money
    tax: Money
    total: Money
    allocated_minor: int
    content_sha256: bytes

    @property
    def open_minor(self) -> int:
        return max(0, self.total.minor - self.allocated_minor)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which invoices: all that is given must fit. `number` is part of one; `state` open, overdue or paid."""

    account_ids: Collection[str] = ()
    bill_run_id: str | None = None
    number: str = ""
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """Of some invoices in one currency: how many, what they are over, and what of it is still open."""

    count: int
    total: Money
    open: Money


def draft(charges: Sequence[Charge], rounding: str) -> Draft:
    """The document of one account in one currency. Raises ValueError without a charge."""
    if not charges:
        raise ValueError("a document needs a charge")
    currency = charges[0].net.currency
    taxes: list[Money] = [Money.zero(currency)] * len(charges)
    groups = []
    for percent, exemption in sorted({(c.tax_percent, c.exemption) for c in charges}):
        members = [i for i, c in enumerate(charges) if (c.tax_percent, c.exemption) == (percent, exemption)]
        nets = [charges[i].net for i in members]
        tax, parts = tax_by_line(nets, percent, rounding)
        groups.append(TaxGroup(percent, sum(nets, Money.zero(currency)), tax, exemption))
        for i, part in zip(members, parts, strict=True):
            taxes[i] = part
    net = sum((c.net for c in charges), Money.zero(currency))
    return Draft(tuple(charges), tuple(taxes), tuple(groups), net, sum(taxes, Money.zero(currency)))


def tax_by_line(nets: Sequence[Money], percent: Decimal, rounding: str) -> tuple[Money, list[Money]]:
    """Tax of a rate group, and its allocation to the lines by largest remainder (ties: the earlier line).

    Every line gets its exact tax rounded down, and the minor units still missing go to the largest fractions. Works
    alike for credits, where rounding down means away from zero.
    """
    currency = nets[0].currency
    exact = [n.amount * percent / 100 for n in nets]
    tax = Money.rounded(sum(exact, Decimal(0)), currency, rounding)
    floors = [Money.rounded(e, currency, ROUND_FLOOR) for e in exact]
    missing = tax.minor - sum(f.minor for f in floors)
    order = sorted(range(len(nets)), key=lambda i: (floors[i].amount - exact[i], i))
    raised = set(order[:missing])
    return tax, [Money(f.minor + (i in raised), currency) for i, f in enumerate(floors)]


def split_by_account(charges: Sequence[Charge]) -> Mapping[tuple[AccountId, str], list[Charge]]:
    """Charges per document: one for each account and currency, in order of appearance."""
    found: dict[tuple[AccountId, str], list[Charge]] = {}
    for charge in charges:
        found.setdefault((charge.account_id, charge.net.currency), []).append(charge)
    return found


@dataclass(frozen=True, slots=True)
class Open:
    """Something of an account that is not settled: an invoice, or a credit (payment, credit note) with a remainder."""

    key: str
    minor: int


def settle(invoices: Sequence[Open], credits: Sequence[Open]) -> list[tuple[str, str, int]]:
    """Match credits with invoices, both oldest first: (invoice, credit, minor units)."""
    found = []
    owed, left = [i.minor for i in invoices], [c.minor for c in credits]
    i = c = 0
    while i < len(owed) and c < len(left):
        part = min(owed[i], left[c])
        if part:
            found.append((invoices[i].key, credits[c].key, part))
        owed[i] -= part
        left[c] -= part
        i, c = i + (owed[i] == 0), c + (left[c] == 0)
    return found


REVENUE = {
    ChargeKind.RECURRING: "revenue-recurring",
    ChargeKind.USAGE: "revenue-usage",
    ChargeKind.ONE_OFF: "revenue-one-off",
}
"""Role of the revenue account of each kind of charge."""

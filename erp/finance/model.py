"""Invoices as values: lines, tax, totals and what they post. Pure.

Tax is computed once for each rate of a document and way of pricing, and then allocated to the lines by largest
remainder, so every total is the sum of its lines, net and tax, by construction; no cent appears or is lost.

    net prices         tax = Σ net × rate, rounded              total = Σ net + tax            (EN 16931, BR-CO-17)
    tax included       tax = Σ price × rate ÷ (100 + rate)      total = Σ price, to the cent   net is the rest
    spared by a certificate, tax included                       total = net = Σ price less that tax

Levies (communications taxes) are other taxes than VAT: computed by an adapter, each rounded once over its lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, BillRunId, ChargeId, CustomerId, EntityId, InvoiceId, InvoiceLineId
from controller.domain.money import Money

INVOICE, CREDIT_NOTE, DEBIT_NOTE = "invoice", "credit-note", "debit-note"
CLAIMS = (INVOICE, DEBIT_NOTE)
"""Documents by which the customer owes something."""
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class TaxGroup:
    """All lines of one rate, or of one reason why there is none."""

    percent: Decimal
    net: Money
    tax: Money
    exemption: str = ""
    category: str = "S"
    code: str = ""


@dataclass(frozen=True, slots=True)
class Levy:
    """A tax that is no VAT, on the line at `place` of a document: "Federal USF, 34.4 % of 30.00"."""

    place: int
    code: str
    name: str
    authority: str
    tax: Money
    base: Money
    rate: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a document will say: charges (their net now without tax), the tax of each, and the sums.

    `agreed` is what each charge came in with, tax included or not; `taxes` has VAT and levies of a line together.
    """

    charges: tuple[Charge, ...]
    taxes: tuple[Money, ...]
    groups: tuple[TaxGroup, ...]
    net: Money
    tax: Money
    agreed: tuple[Money, ...]
    levies: tuple[Levy, ...] = ()
    total: Money = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.net + self.tax)

    @property
    def vat(self) -> Money:
        """What of the tax is VAT."""
        return Money.sum((g.tax for g in self.groups), self.net.currency)

    @property
    def kind(self) -> str:
        """A document that owes the customer money is a credit note; one that only corrects upwards a debit note."""
        if self.total.minor < 0:
            return CREDIT_NOTE
        return DEBIT_NOTE if self.corrects else INVOICE

    @property
    def corrects(self) -> bool:
        """Whether all of it is about what was billed before."""
        return all(charge.adjustment for charge in self.charges)


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
    exemption_code: str = ""
    tax_category: str = "S"
    tax_included: bool = False
    agreed_minor: int = 0
    """What of its charge stands here, as it was charged: with the tax in it where `tax_included`."""
    credits_line_id: str | None = None
    """The line of an earlier document that this one credits."""

    @property
    def agreed(self) -> Money:
        """Of all lines of a charge together, what was charged."""
        return Money(self.agreed_minor, self.net.currency)


@dataclass(frozen=True, slots=True)
class Invoice:
    """An issued document. `open_minor` is what is still to be settled: total less allocations (0 for credit notes).

    `used_minor` is what of a credit note settles others.
    """

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
    used_minor: int = 0

    @property
    def open_minor(self) -> int:
        return max(0, self.total.minor - self.allocated_minor)

    @property
    def left(self) -> Money:
        """What is still to be settled of it, below zero what of a credit note settles nothing yet."""
        return Money(self.total.minor - self.allocated_minor + self.used_minor, self.total.currency)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which invoices: all that is given must fit. `number` is part of one; `state` open, overdue, paid, or unapplied.

    Unapplied is a credit note of which something settles nothing yet, which is not paid.
    """

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


def draft(charges: Sequence[Charge], rounding: str, levies: Sequence[Levy] = (), *, each_line: bool = False) -> Draft:
    """The document of one account in one currency. Raises ValueError without a charge.

    The tax of what is priced alike is rounded once; with `each_line` that of each line, and added up.
    """
    if not charges:
        raise ValueError("a document needs a charge")
    currency = charges[0].net.currency
    taxes: list[Money] = [Money.zero(currency)] * len(charges)
    nets = [c.net for c in charges]
    for key in sorted({_pricing(c) for c in charges}):
        members = [i for i, c in enumerate(charges) if _pricing(c) == key]
        included, percent, relief = key
        amounts = [charges[i].net for i in members]
        share = percent + relief
        of = 100 + share if included else Decimal(100)
        if each_line:
            parts = [Money.rounded(a.amount * share / of, currency, rounding) for a in amounts]
        else:
            _, parts = _split(amounts, share, of, rounding)
        for i, part in zip(members, parts, strict=True):
            nets[i] = charges[i].net - part if included else charges[i].net
            taxes[i] = Money.zero(currency) if relief else part
    told = tuple([_told(c, net) for c, net in zip(charges, nets, strict=True)])
    groups = groups_of(told, taxes)
    for levy in levies:
        taxes[levy.place] += levy.tax
    return Draft(
        told,
        tuple(taxes),
        groups,
        Money.sum(nets, currency),
        Money.sum(taxes, currency),
        tuple(c.net for c in charges),
        tuple(levies),
    )


def _told(charge: Charge, net: Money) -> Charge:
    """As it stands on the document."""
    category = _category(charge)
    if net == charge.net and category == charge.tax_category:
        return charge
    return replace(charge, net=net, tax_category=category)


def _category(charge: Charge) -> str:
    """EN 16931 tells a standard rate of nothing as zero rate, or as exempt where there is a reason (BR-S-05)."""
    if charge.tax_category != "S" or charge.tax_percent:
        return charge.tax_category
    return "E" if charge.exemption else "Z"


def _pricing(charge: Charge) -> tuple[bool, Decimal, Decimal]:
    """What is rounded together."""
    return charge.tax_included, charge.tax_percent, charge.tax_relief


def groups_of(charges: Sequence[Charge], taxes: Sequence[Money]) -> tuple[TaxGroup, ...]:
    """BG-23: one for each category, rate and reason."""
    found: dict[tuple[Decimal, str, str, str], list[tuple[Money, Money]]] = {}
    for charge, tax in zip(charges, taxes, strict=True):
        key = (charge.tax_percent, charge.exemption, charge.tax_category, charge.exemption_code)
        found.setdefault(key, []).append((charge.net, tax))
    groups = []
    for (percent, reason, category, code), amounts in sorted(found.items(), key=lambda item: item[0]):
        nets, parts = zip(*amounts, strict=True)
        currency = nets[0].currency
        net, tax = Money.sum(nets, currency), Money.sum(parts, currency)
        groups.append(TaxGroup(percent, net, tax, reason, category, code))
    return tuple(groups)


def tax_by_line(nets: Sequence[Money], percent: Decimal, rounding: str) -> tuple[Money, list[Money]]:
    """Tax of a rate group, and its allocation to the lines by largest remainder (ties: the earlier line)."""
    return _split(nets, percent, Decimal(100), rounding)


def _split(amounts: Sequence[Money], part: Decimal, of: Decimal, rounding: str) -> tuple[Money, list[Money]]:
    """`part` ÷ `of` of the sum, rounded once, and what of it each amount bears.

    Every line gets its exact part rounded down, and the minor units still missing go to the largest fractions. Works
    alike for credits, where rounding down means away from zero.
    """
    currency = amounts[0].currency
    whole = Money.rounded(Money.sum(amounts, currency).amount * part / of, currency, rounding)
    (up, over), (down, under) = part.as_integer_ratio(), of.as_integer_ratio()
    exact = [divmod(amount.minor * up * under, over * down) for amount in amounts]
    missing = whole.minor - sum([floor for floor, _ in exact])
    order = sorted(range(len(amounts)), key=lambda i: (-exact[i][1], i))
    raised = set(order[:missing])
    return whole, [Money(floor + (i in raised), currency) for i, (floor, _) in enumerate(exact)]


def split_by_account(charges: Sequence[Charge]) -> Mapping[tuple[AccountId, str], list[Charge]]:
    """Charges per document: one for each account and currency, in order of appearance, headings in their own."""
    found: dict[tuple[AccountId, str], list[Charge]] = {}
    for charge in charges:
        found.setdefault((charge.account_id, charge.net.currency), []).append(charge)
    return {key: sorted(own, key=_heading) if any(c.group for c in own) else own for key, own in found.items()}


def _heading(charge: Charge) -> tuple[bool, list[str | int], str]:
    """Lines without a heading come first; site 9 before site 10. The paper has the same order as the stored lines."""
    parts: list[str | int] = [int(p) if n % 2 else p.casefold() for n, p in enumerate(_DIGITS.split(charge.group))]
    return bool(charge.group), parts, charge.group


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


def tax_share(part: Money, tax: Money, total: Money) -> Money:
    """The tax in a part of a document, commercially rounded."""
    return Money.rounded(part.amount * tax.amount / total.amount, part.currency, ROUND_HALF_UP)


REVENUE = {
    ChargeKind.RECURRING: "revenue-recurring",
    ChargeKind.USAGE: "revenue-usage",
    ChargeKind.ONE_OFF: "revenue-one-off",
}
"""Role of the revenue account of each kind of charge."""

"""The chart of accounts, and which postings a document makes. Pure: entries are values until they are written.

    document       debit (+)              credit (−)
    invoice        1200 receivables       4400/4410/4420 revenue, 3806 output tax     (all signs turned: credit note)
    payment        1800 bank              1200 receivables

Codes follow the German SKR 04 where it has one. Amounts are signed minor units and each entry sums to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.finance.model import REVENUE, Draft

RECEIVABLES, BANK, OUTPUT_TAX = "1200", "1800", "3806"

CHART: dict[str, tuple[str, str]] = {
    RECEIVABLES: ("Trade receivables", "asset"),
    BANK: ("Bank", "asset"),
    OUTPUT_TAX: ("Output tax payable", "liability"),
    "4400": ("Revenue, recurring fees", "revenue"),
    "4410": ("Revenue, usage", "revenue"),
    "4420": ("Revenue, one-off", "revenue"),
}
"""Code → (name, kind). Made per entity and currency when first posted to."""


@dataclass(frozen=True, slots=True)
class Posting:
    """Positive is debit, negative credit."""

    code: str
    amount: Money


@dataclass(frozen=True, slots=True)
class Entry:
    entry_id: str
    entity_id: EntityId
    posted_at: datetime
    booked_on: date
    description: str
    source: str
    postings: tuple[Posting, ...]


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One line of a trial balance: sums of debits and credits (both positive) and their difference."""

    entity_id: EntityId
    code: str
    name: str
    kind: str
    debit: Money
    credit: Money

    @property
    def balance(self) -> Money:
        return self.debit - self.credit


def of_document(document: Draft) -> tuple[Posting, ...]:
    """Postings of an invoice or credit note; none when everything in it cancels out."""
    found = [Posting(RECEIVABLES, document.total)]
    for kind, code in REVENUE.items():
        nets = [c.net for c in document.charges if c.kind is kind]
        if nets:
            found.append(Posting(code, -sum(nets, Money.zero(document.net.currency))))
    found.append(Posting(OUTPUT_TAX, -document.tax))
    return _without_zeros(found)


def of_payment(amount: Money) -> tuple[Posting, ...]:
    return (Posting(BANK, amount), Posting(RECEIVABLES, -amount))


def _without_zeros(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    return tuple(p for p in postings if p.amount)

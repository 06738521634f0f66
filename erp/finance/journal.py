"""Journal entries as values, and which postings a document makes. Pure.

    document       debit (+)                           credit (−)
    invoice        receivables                         revenue, deferred revenue, output tax     (credit note: turned)
    payment        bank, cash, gateway, on its way     receivables                           (what goes back: turned)
    write-off      losses on receivables, output tax   receivables
    recognition    deferred revenue, contract assets   revenue

Which account plays which role stands in the chart of the legal entity. Amounts are signed minor units and each entry
sums to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.finance.chart import BANK, RECEIVABLES, Account, Chart


@dataclass(frozen=True, slots=True)
class Posting:
    """Positive is debit, negative credit. `name` is that of the account, known of postings that were read."""

    code: str
    amount: Money
    name: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """`booked_on` is the day it counts for; `regards_on` a day of the period it is about, where that is another."""

    entry_id: str
    entity_id: EntityId
    posted_at: datetime
    booked_on: date
    description: str
    source: str
    postings: tuple[Posting, ...]
    regards_on: date | None = None


@dataclass(frozen=True, slots=True)
class BookedPosting:
    """A posting in the list of its account."""

    entry_id: str
    line: int
    booked_on: date
    regards_on: date | None
    description: str
    source: str
    amount: Money


@dataclass(frozen=True, slots=True)
class PeriodChange:
    """From then on nothing is booked before `closed_until`."""

    closed_until: date
    at: datetime
    actor: str
    reason: str


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

    @classmethod
    def zero(cls, entity_id: EntityId, account: Account, currency: str) -> AccountBalance:
        """Of an account that was not posted to."""
        nothing = Money.zero(currency)
        return cls(entity_id, account.code, account.name, account.kind, nothing, nothing)


def of_payment(amount: Money, chart: Chart, into: str = BANK) -> tuple[Posting, ...]:
    """`into` is the role of the account that the money went to."""
    return transfer(amount, chart, into, RECEIVABLES)


def transfer(amount: Money, chart: Chart, debit: str, credit: str) -> tuple[Posting, ...]:
    """An amount, which may be negative, from one account to another, both by their roles."""
    return (Posting(chart.code(debit), amount), Posting(chart.code(credit), -amount))


def without_zeros(postings: Sequence[Posting]) -> tuple[Posting, ...]:
    return tuple(p for p in postings if p.amount)

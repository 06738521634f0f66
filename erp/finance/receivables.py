"""What customers owe at the end of any day, by age. Derived from documents, payments and the days they were matched.

    not due | 1–30 days over | 31–60 | 61–90 | more    and, beside them, credits that settle nothing yet (negative)

Documents are issued, and payments booked and matched, on the day on which it happens and never before, so the ageing of
a past day is for ever what it was when that day ended. Its total is the balance of the receivables account on that day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, case, func, null, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.finance.journal_tables import journal_entry
from erp.finance.payment_tables import allocation, payment, payment_reversal
from erp.finance.tables import invoice

BUCKETS = ("not_due", "days_1_30", "days_31_60", "days_61_90", "days_over_90")


@dataclass(frozen=True, slots=True)
class Aged:
    """What an account (or with "" everybody) owes in one currency: a sum for each of BUCKETS, and unapplied credits."""

    account_id: str
    currency: str
    buckets: tuple[Money, ...]
    unapplied: Money

    @property
    def total(self) -> Money:
        return sum(self.buckets, self.unapplied)


def nothing(currency: str) -> Aged:
    """When nobody owes anything."""
    return Aged("", currency, (Money.zero(currency),) * len(BUCKETS), Money.zero(currency))


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An invoice, credit note or payment that was not settled, or not used up. `open` is negative for credits."""

    kind: str
    item_id: str
    number: str
    account_id: str
    on: date
    due_on: date | None
    amount: Money
    open: Money

    def days_over(self, as_of: date) -> int:
        """Days past the due day; 0 while not due."""
        return 0 if self.due_on is None else max(0, (as_of - self.due_on).days)


async def ageing(
    conn: AsyncConnection, entity_id: EntityId, as_of: date, after: tuple[str, str] | None, limit: int
) -> list[Aged]:
    """An account and currency each; `after` is (account, currency) of the last one seen."""
    items = _open(entity_id, as_of)
    key = (items.c.account_id, items.c.currency)
    query = select(*key, *_sums(items, as_of)).group_by(*key).order_by(*key).limit(limit)
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    return [_aged(row.account_id, row) for row in await conn.execute(query)]


async def totals(conn: AsyncConnection, entity_id: EntityId, as_of: date) -> list[Aged]:
    """Of everybody, by currency."""
    items = _open(entity_id, as_of)
    query = select(items.c.currency, *_sums(items, as_of)).group_by(items.c.currency).order_by(items.c.currency)
    return [_aged("", row) for row in await conn.execute(query)]


async def open_items(conn: AsyncConnection, entity_id: EntityId, as_of: date, account_id: str) -> Sequence[OpenItem]:
    """What the ageing of an account is made of, oldest first."""
    items = _open(entity_id, as_of)
    query = select(items).where(items.c.account_id == account_id).order_by(items.c.on, items.c.item_id)
    return [
        OpenItem(
            row.kind,
            row.item_id,
            row.number,
            row.account_id,
            row.on,
            row.due_on,
            Money(row.amount, row.currency),
            Money(int(row.open), row.currency),
        )
        for row in await conn.execute(query)
    ]


def _open(entity_id: EntityId, as_of: date) -> Subquery:
    settled = _matched(allocation.c.invoice_id, as_of)
    used = _matched(allocation.c.credit_note_id, as_of)
    spent = _matched(allocation.c.payment_id, as_of)
    left = invoice.c.total_minor - func.coalesce(settled.c.minor, 0) + func.coalesce(used.c.minor, 0)
    documents = (
        select(
            invoice.c.kind,
            invoice.c.invoice_id.label("item_id"),
            invoice.c.number,
            invoice.c.account_id,
            invoice.c.currency,
            invoice.c.issued_on.label("on"),
            invoice.c.due_on,
            invoice.c.total_minor.label("amount"),
            left.label("open"),
        )
        .outerjoin(settled, settled.c.key == invoice.c.invoice_id)
        .outerjoin(used, used.c.key == invoice.c.invoice_id)
        .where(invoice.c.entity_id == entity_id, invoice.c.issued_on <= as_of, left != 0)
    )
    back = (
        select(payment_reversal.c.payment_id.label("key"), func.sum(payment_reversal.c.amount_minor).label("minor"))
        .where(payment_reversal.c.booked_on <= as_of)
        .group_by(payment_reversal.c.payment_id)
        .subquery()
    )
    unused = payment.c.amount_minor - func.coalesce(spent.c.minor, 0) - func.coalesce(back.c.minor, 0)
    payments = (
        select(
            payment.c.kind,
            payment.c.payment_id.label("item_id"),
            payment.c.reference.label("number"),
            payment.c.account_id,
            payment.c.currency,
            journal_entry.c.booked_on.label("on"),
            null().label("due_on"),
            (-payment.c.amount_minor).label("amount"),
            (-unused).label("open"),
        )
        .join(journal_entry, journal_entry.c.entry_id == payment.c.entry_id)
        .outerjoin(spent, spent.c.key == payment.c.payment_id)
        .outerjoin(back, back.c.key == payment.c.payment_id)
        .where(payment.c.entity_id == entity_id, journal_entry.c.booked_on <= as_of, unused != 0)
    )
    return union_all(documents, payments).subquery("open_items")


def _matched(column: Any, as_of: date) -> Subquery:
    query: Select[Any] = select(column.label("key"), func.sum(allocation.c.amount_minor).label("minor"))
    return query.where(column.is_not(None), allocation.c.applied_on <= as_of).group_by(column).subquery()


def _sums(items: Subquery, as_of: date) -> list[ColumnElement[Any]]:
    owed, due_on = items.c.open > 0, items.c.due_on
    days = [as_of - timedelta(days=n) for n in (0, 30, 60, 90)]
    fits = [
        owed & (due_on >= days[0]),
        owed & (due_on < days[0]) & (due_on >= days[1]),
        owed & (due_on < days[1]) & (due_on >= days[2]),
        owed & (due_on < days[2]) & (due_on >= days[3]),
        owed & (due_on < days[3]),
    ]
    sums = [func.sum(case((fit, items.c.open), else_=0)) for fit in fits]
    credits = func.sum(case((items.c.open < 0, items.c.open), else_=0))
    return [*(s.label(name) for s, name in zip(sums, BUCKETS, strict=True)), credits.label("unapplied")]


def _aged(account_id: str, row: Any) -> Aged:
    money = [Money(int(getattr(row, name)), row.currency) for name in (*BUCKETS, "unapplied")]
    return Aged(account_id, row.currency, tuple(money[:-1]), money[-1])

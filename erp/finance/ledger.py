"""Rows of the ledger: the chart of accounts, journal entries, payments and the trial balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, case, func, insert, literal, select, tuple_
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId
from controller.domain.money import Money
from erp.finance.journal import CHART, AccountBalance, Entry, Posting
from erp.finance.tables import account, allocation, journal_entry, payment, posting


@dataclass(frozen=True, slots=True)
class Payment:
    """Money received. `applied` says which invoices it settled; the rest of `amount` is not applied yet."""

    payment_id: PaymentId
    entity_id: EntityId
    account_id: AccountId
    amount: Money
    method: str
    reference: str
    received_at: datetime
    recorded_at: datetime
    entry_id: str
    actor: str
    applied: tuple[tuple[InvoiceId, Money], ...] = ()

    @property
    def unapplied(self) -> Money:
        return self.amount - sum((m for _, m in self.applied), Money.zero(self.amount.currency))


async def ensure_chart(conn: AsyncConnection, entity_id: EntityId, currency: str) -> None:
    """The accounts of an entity in a currency, made when first posted to."""
    present = await conn.scalar(
        select(func.count())
        .select_from(account)
        .where(account.c.entity_id == entity_id, account.c.currency == currency)
    )
    if present == len(CHART):
        return
    rows = [
        {"entity_id": entity_id, "code": code, "currency": currency, "name": name, "kind": kind}
        for code, (name, kind) in CHART.items()
    ]
    await conn.execute(upsert(conn)(account).on_conflict_do_nothing(), rows)


async def post(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Write entries. The database refuses at COMMIT whatever does not balance."""
    if not entries:
        return
    heads = [
        {
            "entry_id": e.entry_id,
            "entity_id": e.entity_id,
            "posted_at": e.posted_at,
            "booked_on": e.booked_on,
            "description": e.description,
            "source": e.source,
            "postings": len(e.postings),
        }
        for e in entries
    ]
    rows = [
        {
            "entry_id": e.entry_id,
            "line": n,
            "entity_id": e.entity_id,
            "code": p.code,
            "currency": p.amount.currency,
            "amount_minor": p.amount.minor,
        }
        for e in entries
        for n, p in enumerate(e.postings, 1)
    ]
    await conn.execute(insert(journal_entry), heads)
    await conn.execute(insert(posting), rows)


async def entries(conn: AsyncConnection, after: tuple[int, str] | None, limit: int) -> list[Entry]:
    """Newest first; `after` is (posted_at in microseconds, id) of the last one seen."""
    query = select(journal_entry).order_by(journal_entry.c.posted_at.desc(), journal_entry.c.entry_id.desc())
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(journal_entry.c.posted_at, journal_entry.c.entry_id) < last)
    heads = (await conn.execute(query.limit(limit))).all()
    ids = [h.entry_id for h in heads]
    found: dict[str, list[Posting]] = {i: [] for i in ids}
    rows = await conn.execute(select(posting).where(posting.c.entry_id.in_(ids)).order_by(posting.c.line))
    for row in rows:
        found[row.entry_id].append(Posting(row.code, Money(row.amount_minor, row.currency)))
    return [
        Entry(
            h.entry_id,
            EntityId(h.entity_id),
            h.posted_at,
            h.booked_on,
            h.description,
            h.source,
            tuple(found[h.entry_id]),
        )
        for h in heads
    ]


async def trial_balance(conn: AsyncConnection) -> list[AccountBalance]:
    """Every account that was posted to, by entity, currency and code."""
    amount = posting.c.amount_minor
    query = (
        select(
            account,
            func.sum(case((amount > 0, amount), else_=0)).label("debit"),
            func.sum(case((amount < 0, -amount), else_=0)).label("credit"),
        )
        .join(
            posting,
            (posting.c.entity_id == account.c.entity_id)
            & (posting.c.code == account.c.code)
            & (posting.c.currency == account.c.currency),
        )
        .group_by(*account.c)
        .order_by(account.c.entity_id, account.c.currency, account.c.code)
    )
    return [
        AccountBalance(
            EntityId(row.entity_id),
            row.code,
            row.name,
            row.kind,
            Money(int(row.debit), row.currency),
            Money(int(row.credit), row.currency),
        )
        for row in await conn.execute(query)
    ]


async def add_payment(conn: AsyncConnection, made: Payment) -> None:
    await conn.execute(
        insert(payment).values(
            payment_id=made.payment_id,
            entity_id=made.entity_id,
            account_id=made.account_id,
            amount_minor=made.amount.minor,
            currency=made.amount.currency,
            method=made.method,
            reference=made.reference,
            received_at=made.received_at,
            recorded_at=made.recorded_at,
            entry_id=made.entry_id,
            actor=made.actor,
        )
    )


async def find_payment(conn: AsyncConnection, method: str, reference: str) -> Payment | None:
    query = select(payment).where(payment.c.method == method, payment.c.reference == reference)
    found = await _payments(conn, (await conn.execute(query)).all())
    return found[0] if found else None


async def get_payment(conn: AsyncConnection, payment_id: PaymentId) -> Payment | None:
    found = await _payments(conn, (await conn.execute(select(payment).where(payment.c.payment_id == payment_id))).all())
    return found[0] if found else None


async def payments(
    conn: AsyncConnection, account_id: str | None, after: tuple[int, str] | None, limit: int
) -> list[Payment]:
    """Newest first; `after` is (recorded_at in microseconds, id) of the last one seen."""
    query = select(payment).order_by(payment.c.recorded_at.desc(), payment.c.payment_id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(payment.c.account_id == account_id)
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(payment.c.recorded_at, payment.c.payment_id) < last)
    return await _payments(conn, (await conn.execute(query)).all())


async def _payments(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Payment]:
    applied: dict[str, list[tuple[InvoiceId, Money]]] = {row.payment_id: [] for row in rows}
    query = select(allocation).where(allocation.c.payment_id.in_(list(applied))).order_by(allocation.c.allocation_id)
    currencies = {row.payment_id: row.currency for row in rows}
    for part in await conn.execute(query):
        money = Money(part.amount_minor, currencies[part.payment_id])
        applied[part.payment_id].append((InvoiceId(part.invoice_id), money))
    return [
        Payment(
            PaymentId(row.payment_id),
            EntityId(row.entity_id),
            AccountId(row.account_id),
            Money(row.amount_minor, row.currency),
            row.method,
            row.reference,
            row.received_at,
            row.recorded_at,
            row.entry_id,
            row.actor,
            tuple(applied[row.payment_id]),
        )
        for row in rows
    ]


def upsert(conn: AsyncConnection) -> Any:
    """`insert` of the connection's dialect, which knows ON CONFLICT."""
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert

"""Rows of payments: money received, and the invoices it settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, insert, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId
from controller.domain.money import Money
from erp.finance.tables import allocation, payment


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

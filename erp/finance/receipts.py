"""Rows of payments: money received, what of it went back, and the invoices it settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Row, Table, func, insert, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, EntityId, InvoiceId, PaymentId
from controller.domain.money import Money
from erp.finance.payment_tables import allocation, payment, payment_reversal, reservation

PAYMENT, WRITE_OFF = "payment", "write-off"


@dataclass(frozen=True, slots=True)
class Payment:
    """Money received. `applied` says which invoices it settles; what is left and did not go back is not applied yet.

    A write-off settles an invoice in the same way, without money: its `kind` says so.
    """

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
    reversed_minor: int = 0
    """What went back of it."""
    kind: str = PAYMENT
    reserved_minor: int = 0
    """What of it waits to go back."""

    @property
    def reversed(self) -> Money:
        return Money(self.reversed_minor, self.amount.currency)

    @property
    def kept(self) -> Money:
        """What did not go back."""
        return self.amount - self.reversed

    @property
    def reserved(self) -> Money:
        return Money(self.reserved_minor, self.amount.currency)

    @property
    def unapplied(self) -> Money:
        return self.kept - self.reserved - sum((m for _, m in self.applied), Money.zero(self.amount.currency))


@dataclass(frozen=True, slots=True)
class Reversal:
    """Money of a payment that went back: `kind` is refund, chargeback, return or void; below zero it came again."""

    reversal_id: str
    payment_id: PaymentId
    kind: str
    reference: str
    amount: Money
    at: datetime
    booked_on: date
    entry_id: str
    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """A row of what settled what. A negative one takes back the one it `reverses`; `actor` None is the program."""

    allocation_id: int
    invoice_id: InvoiceId
    payment_id: PaymentId | None
    credit_note_id: InvoiceId | None
    amount_minor: int
    at: datetime
    reverses: int | None
    actor: str | None
    reason: str | None


async def add_payment(conn: AsyncConnection, made: Payment) -> None:
    await conn.execute(
        insert(payment).values(
            payment_id=made.payment_id,
            entity_id=made.entity_id,
            account_id=made.account_id,
            kind=made.kind,
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


async def add_reversal(conn: AsyncConnection, made: Reversal) -> None:
    await conn.execute(
        insert(payment_reversal).values(
            reversal_id=made.reversal_id,
            payment_id=made.payment_id,
            kind=made.kind,
            reference=made.reference,
            amount_minor=made.amount.minor,
            at=made.at,
            booked_on=made.booked_on,
            entry_id=made.entry_id,
            reason=made.reason,
            actor=made.actor,
        )
    )


async def find_reversal(conn: AsyncConnection, kind: str, reference: str) -> Reversal | None:
    wanted = (payment_reversal.c.kind == kind) & (payment_reversal.c.reference == reference)
    found = await _reversals(conn, wanted)
    return found[0] if found else None


async def reversals(conn: AsyncConnection, payment_id: PaymentId) -> list[Reversal]:
    """Of a payment, oldest first."""
    return await _reversals(conn, payment_reversal.c.payment_id == payment_id)


async def _reversals(conn: AsyncConnection, wanted: Any) -> list[Reversal]:
    query = select(payment_reversal, payment.c.currency).join(
        payment, payment.c.payment_id == payment_reversal.c.payment_id
    )
    rows = await conn.execute(query.where(wanted).order_by(payment_reversal.c.at, payment_reversal.c.reversal_id))
    return [
        Reversal(
            row.reversal_id,
            PaymentId(row.payment_id),
            row.kind,
            row.reference,
            Money(row.amount_minor, row.currency),
            row.at,
            row.booked_on,
            row.entry_id,
            row.reason,
            row.actor,
        )
        for row in rows
    ]


async def allocations(
    conn: AsyncConnection,
    *,
    payment_id: str | None = None,
    credit_note_id: str | None = None,
    invoice_id: str | None = None,
    standing: bool = False,
) -> list[Allocation]:
    """Of a payment, a credit note or an invoice, oldest first; with `standing`, those that were not taken back."""
    query = select(allocation).order_by(allocation.c.allocation_id)
    if payment_id is not None:
        query = query.where(allocation.c.payment_id == payment_id)
    if credit_note_id is not None:
        query = query.where(allocation.c.credit_note_id == credit_note_id)
    if invoice_id is not None:
        query = query.where(allocation.c.invoice_id == invoice_id)
    if standing:
        query = query.where(allocation.c.reverses.is_(None), ~_taken_back())
    return [_allocation(row) for row in await conn.execute(query)]


async def get_allocation(conn: AsyncConnection, allocation_id: int) -> tuple[Allocation, bool] | None:
    """(the row, whether it still stands)."""
    query = select(allocation, _taken_back().label("gone")).where(allocation.c.allocation_id == allocation_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else (_allocation(row), not row.gone and row.reverses is None)


def _taken_back() -> Any:
    later = allocation.alias("later")
    return select(later.c.allocation_id).where(later.c.reverses == allocation.c.allocation_id).exists()


async def add_allocation(conn: AsyncConnection, made: Allocation, applied_on: date) -> None:
    """`made.allocation_id` is not looked at: the database gives it."""
    await conn.execute(
        insert(allocation).values(
            invoice_id=made.invoice_id,
            payment_id=made.payment_id,
            credit_note_id=made.credit_note_id,
            amount_minor=made.amount_minor,
            at=made.at,
            applied_on=applied_on,
            reverses=made.reverses,
            actor=made.actor,
            reason=made.reason,
        )
    )


def _allocation(row: Row[Any]) -> Allocation:
    return Allocation(
        row.allocation_id,
        InvoiceId(row.invoice_id),
        None if row.payment_id is None else PaymentId(row.payment_id),
        None if row.credit_note_id is None else InvoiceId(row.credit_note_id),
        row.amount_minor,
        row.at,
        row.reverses,
        row.actor,
        row.reason,
    )


async def payments(
    conn: AsyncConnection,
    account_id: str | None,
    after: tuple[int, str] | None,
    limit: int,
    *,
    unapplied: bool = False,
) -> list[Payment]:
    """Newest first; `after` is (recorded_at in microseconds, id) of the last one seen."""
    query = select(payment).order_by(payment.c.recorded_at.desc(), payment.c.payment_id.desc()).limit(limit)
    if account_id is not None:
        query = query.where(payment.c.account_id == account_id)
    if unapplied:
        spent = _sum_of(allocation.c.amount_minor, allocation.c.payment_id)
        back = _sum_of(payment_reversal.c.amount_minor, payment_reversal.c.payment_id)
        held = _sum_of(reservation.c.amount_minor, reservation.c.payment_id)
        query = query.where(payment.c.amount_minor - spent - back - held > 0)
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(payment.c.recorded_at, payment.c.payment_id) < last)
    return await _payments(conn, (await conn.execute(query)).all())


def _sum_of(amount: Any, key: Any) -> Any:
    found = select(func.coalesce(func.sum(amount), 0)).where(key == payment.c.payment_id)
    return found.correlate(payment).scalar_subquery()


async def _payments(conn: AsyncConnection, rows: Sequence[Row[Any]]) -> list[Payment]:
    ids = [row.payment_id for row in rows]
    applied: dict[str, dict[str, int]] = {payment_id: {} for payment_id in ids}
    query = select(allocation).where(allocation.c.payment_id.in_(ids)).order_by(allocation.c.allocation_id)
    for part in await conn.execute(query):
        of = applied[part.payment_id]
        of[part.invoice_id] = of.get(part.invoice_id, 0) + part.amount_minor
    gone, held = [await _sums(conn, table, ids) for table in (payment_reversal, reservation)]
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
            tuple((InvoiceId(i), Money(m, row.currency)) for i, m in applied[row.payment_id].items() if m),
            gone.get(row.payment_id, 0),
            row.kind,
            held.get(row.payment_id, 0),
        )
        for row in rows
    ]


async def _sums(conn: AsyncConnection, table: Table, ids: Sequence[str]) -> dict[str, int]:
    """What the rows of each payment come to."""
    query = select(table.c.payment_id, func.sum(table.c.amount_minor)).where(table.c.payment_id.in_(ids))
    return {payment_id: int(minor) for payment_id, minor in await conn.execute(query.group_by(table.c.payment_id))}

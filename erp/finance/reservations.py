"""Money of a payment that waits to go back: reserved when a refund is asked for, so that nothing else spends it.

What is reserved is unapplied: where the payment settles an invoice, another credit of the account (a credit note) takes
its place there at once, and where there is none, nothing is reserved. A reservation ends when the money goes back, or
when it is refused; it ends by a row of the opposite amount, and the database refuses to spend more than a credit has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import PaymentId
from controller.domain.money import Money
from erp.crm import repository as parties
from erp.crm.model import Entity
from erp.finance import ledger, matching, receipts, repository, telling
from erp.finance.errors import NotThatMuch, UnknownPayment
from erp.finance.payment_tables import reservation
from erp.finance.receipts import PAYMENT, Payment


@dataclass(frozen=True, slots=True)
class Reservation:
    """`reference` is that of who asked for it."""

    reservation_id: int
    payment_id: PaymentId
    reference: str
    amount_minor: int


class Reservations:
    """The one who reserves, always in the caller's transaction, under the lock of the books."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def reserve_in(
        self, conn: AsyncConnection, payment_id: PaymentId, amount: Money, reference: str, *, actor: str, reason: str
    ) -> None:
        """The same reference again is the same reservation, while it stands.

        Raises UnknownPayment; NotThatMuch where the payment, or the open credit of its account, has not so much.
        """
        await ledger.lock_books(conn)
        if await _find(conn, reference) is not None:
            return
        found = await _payment(conn, payment_id)
        _, credits = (await repository.open_items(conn, [found.account_id], amount.currency))[found.account_id]
        free = Money(min((found.kept - found.reserved).minor, sum(c.minor for c in credits)), amount.currency)
        if amount.minor > free.minor:
            why = "the rest settles invoices, went back or is on its way; credit the invoice first"
            raise NotThatMuch(f"{free} can be given back: {why}")
        now, entity = self._clock.now(), await _entity(conn, found)
        opened = await matching.free(conn, found, amount.minor, now, entity, actor, f"refund: {reason}"[:300])
        await _add(conn, payment_id, reference, amount.minor, None, now, actor, reason)
        if opened:
            await matching.settle_oldest(conn, found.account_id, amount.currency, now, entity, only=opened)

    async def release_in(self, conn: AsyncConnection, reference: str, *, actor: str, reason: str) -> None:
        """It does not go back: it settles the oldest invoices, the rest is unapplied. Nothing, where none stands."""
        await ledger.lock_books(conn)
        now = self._clock.now()
        held = await end(conn, reference, now, actor, reason)
        if held is None:
            return
        found = await _payment(conn, held.payment_id)
        currency = found.amount.currency
        await matching.settle_oldest(conn, found.account_id, currency, now, await _entity(conn, found))
        await telling.changed(conn, found.account_id, currency, now, actor, "payment.release")


async def standing(conn: AsyncConnection, payment_id: PaymentId) -> list[Reservation]:
    """Of a payment, oldest first."""
    return await _standing(conn, reservation.c.payment_id == payment_id)


async def end(conn: AsyncConnection, reference: str, now: datetime, actor: str, reason: str) -> Reservation | None:
    """The reservation that ended; None where none stood. What is free by it settles nothing yet."""
    held = await _find(conn, reference)
    if held is not None:
        await _add(conn, held.payment_id, reference, -held.amount_minor, held.reservation_id, now, actor, reason)
    return held


async def _find(conn: AsyncConnection, reference: str) -> Reservation | None:
    found = await _standing(conn, reservation.c.reference == reference)
    return found[0] if found else None


async def _standing(conn: AsyncConnection, wanted: ColumnElement[bool]) -> list[Reservation]:
    later = reservation.alias("later")
    ended = select(later.c.reservation_id).where(later.c.ends == reservation.c.reservation_id).exists()
    query = select(reservation).where(wanted, reservation.c.ends.is_(None), ~ended)
    return [
        Reservation(row.reservation_id, PaymentId(row.payment_id), row.reference, row.amount_minor)
        for row in await conn.execute(query.order_by(reservation.c.reservation_id))
    ]


async def _add(
    conn: AsyncConnection,
    payment_id: PaymentId,
    reference: str,
    minor: int,
    ends: int | None,
    now: datetime,
    actor: str,
    reason: str,
) -> None:
    await conn.execute(
        insert(reservation).values(
            payment_id=payment_id,
            reference=reference,
            amount_minor=minor,
            ends=ends,
            at=now,
            actor=actor,
            reason=reason[:300],
        )
    )


async def _payment(conn: AsyncConnection, payment_id: PaymentId) -> Payment:
    found = await receipts.get_payment(conn, payment_id)
    if found is None or found.kind != PAYMENT:
        raise UnknownPayment(f"no payment {payment_id}")
    return found


async def _entity(conn: AsyncConnection, found: Payment) -> Entity:
    entity = await parties.find_entity(conn, found.entity_id)
    assert entity is not None, "a customer's entity is a foreign key"
    return entity

"""Rows of refunds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, PaymentId
from controller.domain.money import Money
from erp.finance.payment_tables import payment
from erp.payments.tables import refund

REQUESTED, APPROVED, SENT, DONE, REFUSED = "requested", "approved", "sent", "done", "refused"


@dataclass(frozen=True, slots=True)
class Refund:
    """Money to go back to a customer. `creditor` and `iban` say where to, for those by bank."""

    refund_id: str
    payment_id: PaymentId
    account_id: AccountId
    amount: Money
    way: str
    state: str
    reason: str
    creditor: str
    iban: str
    requested_by: str
    requested_at: datetime
    approved_by: str | None
    changed_at: datetime
    provider_id: str | None
    file_id: str | None
    detail: str


async def add(conn: AsyncConnection, made: Refund) -> None:
    await conn.execute(
        insert(refund).values(
            refund_id=made.refund_id,
            payment_id=made.payment_id,
            account_id=made.account_id,
            amount_minor=made.amount.minor,
            currency=made.amount.currency,
            way=made.way,
            state=made.state,
            reason=made.reason,
            creditor=made.creditor,
            iban=made.iban,
            requested_by=made.requested_by,
            requested_at=made.requested_at,
            approved_by=made.approved_by,
            changed_at=made.changed_at,
            provider_id=made.provider_id,
            file_id=made.file_id,
            detail=made.detail,
        )
    )


async def change(conn: AsyncConnection, refund_id: str, state: str, now: datetime, **values: Any) -> None:
    """Values that are None stay as they are."""
    given = {name: value for name, value in values.items() if value is not None}
    wanted = refund.c.refund_id == refund_id
    await conn.execute(update(refund).where(wanted).values(state=state, changed_at=now, **given))


async def refunds(
    conn: AsyncConnection,
    *,
    refund_id: str | None = None,
    payment_id: str | None = None,
    file_id: str | None = None,
    states: tuple[str, ...] = (),
    way: str | None = None,
    before: str | None = None,
    asked_before: datetime | None = None,
    entity_id: str | None = None,
    limit: int = 50,
) -> list[Refund]:
    """Newest first; all that is given must fit."""
    query = select(refund).order_by(refund.c.refund_id.desc()).limit(limit)
    given = ((refund.c.refund_id, refund_id), (refund.c.payment_id, payment_id), (refund.c.file_id, file_id))
    for column, value in (*given, (refund.c.way, way)):
        if value is not None:
            query = query.where(column == value)
    if states:
        query = query.where(refund.c.state.in_(states))
    if entity_id is not None:
        own = select(payment.c.payment_id).where(payment.c.payment_id == refund.c.payment_id)
        query = query.where(own.where(payment.c.entity_id == entity_id).exists())
    if asked_before is not None:
        query = query.where(refund.c.requested_at < asked_before)
    if before is not None:
        query = query.where(refund.c.refund_id < before)
    return [
        Refund(
            row.refund_id,
            PaymentId(row.payment_id),
            AccountId(row.account_id),
            Money(row.amount_minor, row.currency),
            row.way,
            row.state,
            row.reason,
            row.creditor,
            row.iban,
            row.requested_by,
            row.requested_at,
            row.approved_by,
            row.changed_at,
            row.provider_id,
            row.file_id,
            row.detail,
        )
        for row in await conn.execute(query)
    ]


async def at_the_gateway(conn: AsyncConnection, payment_id: PaymentId) -> list[Refund]:
    """Of a payment, what was sent to the gateway and is not known to be done, oldest first."""
    found = await refunds(conn, payment_id=payment_id, way="gateway", states=(SENT,), limit=500)
    return sorted(found, key=lambda r: r.refund_id)

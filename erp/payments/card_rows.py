"""Rows of cards that were to be charged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from erp.payments.tables import card_attempt


@dataclass(frozen=True, slots=True)
class CardAttempt:
    """`state` is asked, unsure, pending, paid or failed; `detail` the gateway's word for why not."""

    attempt_id: str
    gateway: str
    account_id: AccountId
    invoice_id: InvoiceId | None
    amount: Money
    customer: str
    method: str
    state: str
    intent_id: str | None
    detail: str
    asked_at: datetime
    changed_at: datetime
    actor: str


async def add(conn: AsyncConnection, made: CardAttempt) -> None:
    await conn.execute(
        insert(card_attempt).values(
            attempt_id=made.attempt_id,
            gateway=made.gateway,
            account_id=made.account_id,
            invoice_id=made.invoice_id,
            amount_minor=made.amount.minor,
            currency=made.amount.currency,
            customer=made.customer,
            method=made.method,
            state=made.state,
            intent_id=made.intent_id,
            detail=made.detail,
            asked_at=made.asked_at,
            changed_at=made.changed_at,
            actor=made.actor,
        )
    )


async def change(
    conn: AsyncConnection, attempt_id: str, state: str, detail: str, now: datetime, intent_id: str | None = None
) -> None:
    """What is known of a payment stays known: one that was paid does not become anything else."""
    values: dict[str, object] = {"state": state, "detail": detail[:300], "changed_at": now}
    if intent_id is not None:
        values["intent_id"] = intent_id
    wanted = (card_attempt.c.attempt_id == attempt_id) & (card_attempt.c.state != "paid")
    await conn.execute(update(card_attempt).where(wanted).values(values))


async def set_by_intent(
    conn: AsyncConnection, gateway: str, intent_id: str, state: str, detail: str, now: datetime
) -> bool:
    """Whether it was one that we asked for."""
    wanted = (card_attempt.c.gateway == gateway) & (card_attempt.c.intent_id == intent_id)
    changed = await conn.execute(
        update(card_attempt)
        .where(wanted, card_attempt.c.state != "paid")
        .values(state=state, detail=detail[:300], changed_at=now)
    )
    return changed.rowcount > 0


async def attempts(
    conn: AsyncConnection,
    *,
    attempt_id: str | None = None,
    account_id: str | None = None,
    states: tuple[str, ...] = (),
    limit: int = 50,
) -> list[CardAttempt]:
    """Newest first."""
    query = select(card_attempt).order_by(card_attempt.c.attempt_id.desc()).limit(limit)
    if attempt_id is not None:
        query = query.where(card_attempt.c.attempt_id == attempt_id)
    if account_id is not None:
        query = query.where(card_attempt.c.account_id == account_id)
    if states:
        query = query.where(card_attempt.c.state.in_(states))
    return [
        CardAttempt(
            row.attempt_id,
            row.gateway,
            AccountId(row.account_id),
            None if row.invoice_id is None else InvoiceId(row.invoice_id),
            Money(row.amount_minor, row.currency),
            row.customer,
            row.method,
            row.state,
            row.intent_id,
            row.detail,
            row.asked_at,
            row.changed_at,
            row.actor,
        )
        for row in await conn.execute(query)
    ]

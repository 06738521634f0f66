"""Rows of cards that were to be charged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, false, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, InvoiceId
from controller.domain.money import Money
from erp.payments.tables import card_attempt, gateway_customer

UNDECIDED = ("asked", "unsure", "pending")
"""States in which the money may still come."""
_MOST_LOOKED_AT = 200


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
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class SavedCard:
    """A card that was charged before, and what the last charge came to; without `method` only its holder is known."""

    gateway: str
    customer: str
    method: str | None
    state: str | None
    detail: str
    last_at: datetime


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
            reference=made.reference,
        )
    )


async def change(
    conn: AsyncConnection, attempt_id: str, state: str, detail: str, now: datetime, intent_id: str | None = None
) -> None:
    """What an event has said stays: one that was paid or failed meanwhile does not become undecided again."""
    values: dict[str, object] = {"state": state, "detail": detail[:300], "changed_at": now}
    if intent_id is not None:
        values["intent_id"] = intent_id
    wanted = (card_attempt.c.attempt_id == attempt_id) & card_attempt.c.state.in_(UNDECIDED)
    await conn.execute(update(card_attempt).where(wanted).values(values))


async def set_told(
    conn: AsyncConnection,
    gateway: str,
    attempt_id: str | None,
    intent_id: str,
    state: str,
    detail: str,
    now: datetime,
) -> bool:
    """Whether it was one that we asked for. The event may come before the answer that names its `intent_id`.

    One statement, which looks again at a row that another transaction has changed: neither undoes the other.
    """
    known = func.coalesce(card_attempt.c.intent_id, intent_id)
    changed = await conn.execute(
        update(card_attempt)
        .where(_is_told(gateway, attempt_id, intent_id), card_attempt.c.state != "paid")
        .values(state=state, detail=detail[:300], changed_at=now, intent_id=known)
    )
    return changed.rowcount > 0


def _is_told(gateway: str, attempt_id: str | None, intent_id: str) -> ColumnElement[bool]:
    noted = false() if attempt_id is None else card_attempt.c.attempt_id == attempt_id
    return (card_attempt.c.gateway == gateway) & or_(noted, card_attempt.c.intent_id == intent_id)


async def in_flight(conn: AsyncConnection, invoice_id: InvoiceId, currency: str) -> Money:
    """What of an invoice is being charged, and neither paid nor refused yet."""
    query = select(func.coalesce(func.sum(card_attempt.c.amount_minor), 0)).where(
        card_attempt.c.invoice_id == invoice_id, card_attempt.c.state.in_(UNDECIDED)
    )
    return Money(int(await conn.scalar(query) or 0), currency)


async def free_overtaken(
    conn: AsyncConnection, invoice_id: InvoiceId, left: Money, why: str, now: datetime, in_flight_since: datetime
) -> None:
    """Charges over more than is open now hold nothing any more, but those whose answer may be on its way.

    They are never asked again. Should one have been charged all the same, its event books it.
    """
    late = (card_attempt.c.state == "unsure") | (card_attempt.c.changed_at < in_flight_since)
    wanted = (card_attempt.c.invoice_id == invoice_id) & (card_attempt.c.amount_minor > left.minor)
    undecided = card_attempt.c.state.in_(("asked", "unsure"))
    values = {"state": "failed", "detail": why, "changed_at": now}
    await conn.execute(update(card_attempt).where(wanted, undecided, late).values(values))


async def by_reference(conn: AsyncConnection, reference: str) -> CardAttempt | None:
    row = (await conn.execute(select(card_attempt).where(card_attempt.c.reference == reference))).one_or_none()
    return None if row is None else _attempt(row)


async def told(conn: AsyncConnection, gateway: str, attempt_id: str | None, intent_id: str) -> CardAttempt | None:
    """The charge of ours that an event is about: by what we noted with it, else by the gateway's name of it."""
    query = select(card_attempt).where(_is_told(gateway, attempt_id, intent_id))
    found = [_attempt(row) for row in await conn.execute(query)]
    return min(found, key=lambda made: made.attempt_id != attempt_id, default=None)


async def saved(conn: AsyncConnection, account_id: str) -> list[SavedCard]:
    """Cards of an account that were charged, the last one first, then customers of gateways that never were."""
    found: dict[tuple[str, str, str | None], SavedCard] = {}
    for made in await attempts(conn, account_id=account_id, limit=_MOST_LOOKED_AT):
        card = SavedCard(made.gateway, made.customer, made.method, made.state, made.detail, made.changed_at)
        found.setdefault((made.gateway, made.customer, made.method), card)
    known = {(gateway, customer) for gateway, customer, _ in found}
    query = select(gateway_customer).where(gateway_customer.c.account_id == account_id)
    for row in await conn.execute(query.order_by(gateway_customer.c.since.desc())):
        if (row.gateway, row.customer) not in known:
            found[row.gateway, row.customer, None] = SavedCard(row.gateway, row.customer, None, None, "", row.since)
    return list(found.values())


async def attempts(
    conn: AsyncConnection,
    *,
    attempt_id: str | None = None,
    account_id: str | None = None,
    invoice_id: str | None = None,
    states: tuple[str, ...] = (),
    before: str | None = None,
    limit: int = 50,
) -> list[CardAttempt]:
    """Newest first; `before` is the id of the last one seen."""
    query = select(card_attempt).order_by(card_attempt.c.attempt_id.desc()).limit(limit)
    if attempt_id is not None:
        query = query.where(card_attempt.c.attempt_id == attempt_id)
    if account_id is not None:
        query = query.where(card_attempt.c.account_id == account_id)
    if invoice_id is not None:
        query = query.where(card_attempt.c.invoice_id == invoice_id)
    if states:
        query = query.where(card_attempt.c.state.in_(states))
    if before is not None:
        query = query.where(card_attempt.c.attempt_id < before)
    return [_attempt(row) for row in await conn.execute(query)]


def _attempt(row: Row[Any]) -> CardAttempt:
    return CardAttempt(
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
        row.reference,
    )

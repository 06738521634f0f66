"""Rows of gateways, of what they told, and of card payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, EntityId, PaymentId
from controller.domain.money import Money
from controller.store.metadata import from_micros
from erp.finance.ledger import upsert
from erp.payments.stripe.events import Head
from erp.payments.tables import card_payment, dispute, event, gateway, gateway_customer

RECEIVED, BOOKED, WAITING, UNKNOWN, STALE, FAILED = "received", "booked", "waiting", "unknown", "stale", "failed"


@dataclass(frozen=True, slots=True)
class Gateway:
    """An account with a payment service, its secrets still sealed."""

    name: str
    entity_id: EntityId
    kind: str
    api_base: str
    api_key: bytes | None
    webhook_secret: bytes
    former_secret: bytes | None
    former_until: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it is kept."""

    event_key: int
    gateway: str
    provider_id: str
    type: str
    object_id: str
    intent_id: str | None
    created_at: datetime
    received_at: datetime
    body: str
    deliveries: int
    state: str
    detail: str
    attempts: int
    handled_at: datetime | None


@dataclass(frozen=True, slots=True)
class CardPayment:
    """A payment at a gateway; without `account_id` nobody knows whose it is."""

    gateway: str
    intent_id: str
    charge_id: str | None
    customer: str | None
    payer: str
    amount: Money
    paid_at: datetime
    account_id: AccountId | None
    payment_id: PaymentId | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """What is booked of a dispute, as of the picture told at `told_at`."""

    gateway: str
    dispute_id: str
    intent_id: str
    withdrawn: Money
    fees: Money
    status: str
    reason: str
    told_at: datetime
    final: bool
    steps: int


async def put_gateway(conn: AsyncConnection, made: Gateway, actor: str) -> None:
    values = {
        "entity_id": made.entity_id,
        "kind": made.kind,
        "api_base": made.api_base,
        "api_key": made.api_key,
        "webhook_secret": made.webhook_secret,
        "former_secret": made.former_secret,
        "former_until": made.former_until,
        "updated_at": made.updated_at,
        "actor": actor,
    }
    fresh = upsert(conn)(gateway).values(name=made.name, **values)
    await conn.execute(fresh.on_conflict_do_update(index_elements=["name"], set_=values))


async def gateways(conn: AsyncConnection, name: str | None = None) -> list[Gateway]:
    query = select(gateway).order_by(gateway.c.name)
    if name is not None:
        query = query.where(gateway.c.name == name)
    return [
        Gateway(
            row.name,
            EntityId(row.entity_id),
            row.kind,
            row.api_base,
            row.api_key,
            row.webhook_secret,
            row.former_secret,
            row.former_until,
            row.updated_at,
        )
        for row in await conn.execute(query)
    ]


async def add_event(
    conn: AsyncConnection, name: str, head: Head, body: str, sha256: bytes, now: datetime
) -> tuple[int, bool]:
    """(key, whether it is new). The same event again counts one delivery more."""
    fresh = upsert(conn)(event).values(
        gateway=name,
        provider_id=head.event_id,
        type=head.type,
        object_id=head.object_id,
        intent_id=head.intent_id,
        created_at=head.created,
        received_at=now,
        body=body,
        sha256=sha256,
        deliveries=1,
        state=RECEIVED,
        detail="",
        attempts=0,
    )
    again = fresh.on_conflict_do_update(
        index_elements=["gateway", "provider_id"], set_={"deliveries": event.c.deliveries + 1}
    )
    row = (await conn.execute(again.returning(event.c.event_key, event.c.deliveries))).one()
    return row.event_key, row.deliveries == 1


async def next_received(conn: AsyncConnection) -> Told | None:
    """The oldest event to be handled, locked; those that another process has in hand are passed over."""
    query = _events().where(event.c.state == RECEIVED).order_by(event.c.created_at, event.c.event_key).limit(1)
    row = (await conn.execute(query.with_for_update(skip_locked=True))).one_or_none()
    return None if row is None else _told(row)


async def set_event(
    conn: AsyncConnection, event_key: int, state: str, detail: str, now: datetime | None, *, attempts: int = 0
) -> None:
    await conn.execute(
        update(event)
        .where(event.c.event_key == event_key)
        .values(state=state, detail=detail[:300], handled_at=now, attempts=event.c.attempts + attempts)
    )


async def wake(conn: AsyncConnection, name: str, *, intent_id: str = "", object_id: str = "") -> None:
    """What waited for this payment, or this object, is handled again."""
    same = event.c.intent_id == intent_id if intent_id else event.c.object_id == object_id
    await conn.execute(
        update(event)
        .where(event.c.gateway == name, same, event.c.state == WAITING)
        .values(state=RECEIVED, handled_at=None)
    )


async def get_event(conn: AsyncConnection, event_key: int) -> Told | None:
    row = (await conn.execute(_events().where(event.c.event_key == event_key))).one_or_none()
    return None if row is None else _told(row)


async def events(conn: AsyncConnection, state: str | None, before: int | None, limit: int) -> list[Told]:
    """Newest first."""
    query = _events().order_by(event.c.event_key.desc()).limit(limit)
    if state is not None:
        query = query.where(event.c.state == state)
    if before is not None:
        query = query.where(event.c.event_key < before)
    return [_told(row) for row in await conn.execute(query)]


async def counts(conn: AsyncConnection) -> list[tuple[str, str, str, int]]:
    """(gateway, type, state, events) of everything that was told."""
    keys = (event.c.gateway, event.c.type, event.c.state)
    rows = await conn.execute(select(*keys, func.count()).group_by(*keys).order_by(*keys))
    return [(name, kind, state, int(count)) for name, kind, state, count in rows]


async def get_card_payment(
    conn: AsyncConnection, name: str, intent_id: str, payment_id: str | None = None
) -> CardPayment | None:
    query = select(card_payment)
    if payment_id is not None:
        query = query.where(card_payment.c.payment_id == payment_id)
    else:
        query = query.where(card_payment.c.gateway == name, card_payment.c.intent_id == intent_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _card_payment(row)


async def unknown_payers(
    conn: AsyncConnection, limit: int, after: tuple[int, str, str] | None = None
) -> list[CardPayment]:
    """Oldest first; `after` is (paid_at in microseconds, gateway, intent) of the last one seen."""
    c = card_payment.c
    query = select(card_payment).where(c.account_id.is_(None)).order_by(c.paid_at, c.gateway, c.intent_id)
    if after is not None:
        paid_us, *key = after
        later = and_(c.paid_at == from_micros(paid_us), tuple_(c.gateway, c.intent_id) > tuple_(*key))
        query = query.where(or_(c.paid_at > from_micros(paid_us), later))
    return [_card_payment(row) for row in await conn.execute(query.limit(limit))]


async def add_card_payment(conn: AsyncConnection, made: CardPayment, suspense_entry_id: str | None) -> None:
    await conn.execute(
        insert(card_payment).values(
            gateway=made.gateway,
            intent_id=made.intent_id,
            charge_id=made.charge_id,
            customer=made.customer,
            payer=made.payer,
            amount_minor=made.amount.minor,
            currency=made.amount.currency,
            paid_at=made.paid_at,
            account_id=made.account_id,
            payment_id=made.payment_id,
            suspense_entry_id=suspense_entry_id,
        )
    )


async def set_whose(
    conn: AsyncConnection, name: str, intent_id: str, account_id: AccountId, payment_id: PaymentId
) -> None:
    await conn.execute(
        update(card_payment)
        .where(card_payment.c.gateway == name, card_payment.c.intent_id == intent_id)
        .values(account_id=account_id, payment_id=payment_id)
    )


async def account_of_customer(conn: AsyncConnection, name: str, customer: str) -> AccountId | None:
    query = select(gateway_customer.c.account_id).where(
        gateway_customer.c.gateway == name, gateway_customer.c.customer == customer
    )
    found = await conn.scalar(query)
    return None if found is None else AccountId(found)


async def note_customer(
    conn: AsyncConnection, name: str, customer: str, account_id: AccountId, now: datetime, actor: str
) -> None:
    """From now on who is `customer` there is `account_id` here. What was noted before stays."""
    fresh = upsert(conn)(gateway_customer).values(
        gateway=name, customer=customer, account_id=account_id, since=now, actor=actor
    )
    await conn.execute(fresh.on_conflict_do_nothing())


async def get_dispute(conn: AsyncConnection, name: str, dispute_id: str) -> Dispute | None:
    query = select(dispute).where(dispute.c.gateway == name, dispute.c.dispute_id == dispute_id)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _dispute(row)


async def disputes(conn: AsyncConnection, limit: int, after: tuple[int, int, str, str] | None = None) -> list[Dispute]:
    """Those still open first, then the newest; `after` is (final, told_at in microseconds, gateway, id) of the last."""
    c = dispute.c
    query = select(dispute).order_by(c.final, c.told_at.desc(), c.gateway, c.dispute_id)
    if after is not None:
        final, told_us, *key = after
        same = and_(c.told_at == from_micros(told_us), tuple_(c.gateway, c.dispute_id) > tuple_(*key))
        older = and_(c.final == final, or_(c.told_at < from_micros(told_us), same))
        query = query.where(or_(c.final > final, older))
    return [_dispute(row) for row in await conn.execute(query.limit(limit))]


async def put_dispute(conn: AsyncConnection, made: Dispute) -> None:
    values = {
        "intent_id": made.intent_id,
        "currency": made.withdrawn.currency,
        "withdrawn_minor": made.withdrawn.minor,
        "fees_minor": made.fees.minor,
        "status": made.status,
        "reason": made.reason,
        "told_at": made.told_at,
        "final": int(made.final),
        "steps": made.steps,
    }
    fresh = upsert(conn)(dispute).values(gateway=made.gateway, dispute_id=made.dispute_id, **values)
    await conn.execute(fresh.on_conflict_do_update(index_elements=["gateway", "dispute_id"], set_=values))


def _events() -> Select[Any]:
    return select(*(column for column in event.c if column.name != "sha256"))


def _told(row: Row[Any]) -> Told:
    return Told(*(getattr(row, name) for name in Told.__slots__))


def _card_payment(row: Row[Any]) -> CardPayment:
    return CardPayment(
        row.gateway,
        row.intent_id,
        row.charge_id,
        row.customer,
        row.payer,
        Money(row.amount_minor, row.currency),
        row.paid_at,
        row.account_id,
        row.payment_id,
    )


def _dispute(row: Row[Any]) -> Dispute:
    return Dispute(
        row.gateway,
        row.dispute_id,
        row.intent_id,
        Money(row.withdrawn_minor, row.currency),
        Money(row.fees_minor, row.currency),
        row.status,
        row.reason,
        row.told_at,
        bool(row.final),
        row.steps,
    )

"""Rows of orders and subscriptions as frozen values."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select, union, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, OfferingVersionId, OrderId, SubscriptionId
from controller.domain.service import Attachment, attachment_of
from controller.store.many import one_of
from erp.orders.model import (
    Action,
    Order,
    OrderState,
    StepRecord,
    StepState,
    Subscription,
    SubscriptionState,
    Transition,
)
from erp.orders.tables import attachment, idempotency, line, order, secret, step, subscription, transition

_ENDED = SubscriptionState.TERMINATED.value


async def add_subscription(conn: AsyncConnection, made: Subscription) -> None:
    await conn.execute(
        insert(subscription).values(
            subscription_id=made.subscription_id,
            account_id=made.account_id,
            service_id=made.service_id,
            version_id=made.version_id,
            state=made.state.value,
            username=made.username,
            framed_ipv4=made.framed_ipv4,
            ordered_at=made.ordered_at,
        )
    )
    for position, found in enumerate(made.attachments):
        await conn.execute(
            insert(attachment).values(
                subscription_id=made.subscription_id,
                position=position,
                kind=found.kind,
                device_id=found.device_id,
                port=found.port,
                onu_serial=found.onu_serial,
                subscriber_vlan=found.subscriber_vlan,
            )
        )


async def change_subscription(conn: AsyncConnection, changed: Subscription) -> None:
    """Write what an order may change: version, state and the instants."""
    await conn.execute(
        update(subscription)
        .where(subscription.c.subscription_id == changed.subscription_id)
        .values(
            version_id=changed.version_id,
            state=changed.state.value,
            activated_at=changed.activated_at,
            ended_at=changed.ended_at,
        )
    )


async def find_subscription(conn: AsyncConnection, subscription_id: SubscriptionId) -> Subscription | None:
    query = select(subscription).where(subscription.c.subscription_id == subscription_id)
    found = await _subscriptions(conn, query)
    return found[0] if found else None


async def username_exists(conn: AsyncConnection, username: str) -> bool:
    query = select(subscription.c.subscription_id).where(
        subscription.c.username == username, subscription.c.state != SubscriptionState.TERMINATED.value
    )
    return await conn.scalar(query) is not None


async def list_subscriptions(
    conn: AsyncConnection, *, account_id: str | None, service_id: str | None, after: str | None, limit: int
) -> Sequence[Subscription]:
    query = select(subscription).order_by(subscription.c.subscription_id).limit(limit)
    if account_id is not None:
        query = query.where(subscription.c.account_id == account_id)
    if service_id is not None:
        query = query.where(subscription.c.service_id == service_id)
    if after is not None:
        query = query.where(subscription.c.subscription_id > after)
    return await _subscriptions(conn, query)


async def accounts_of_services(conn: AsyncConnection, service_ids: Sequence[str]) -> set[AccountId]:
    """The accounts of active subscriptions that these services carry."""
    query = select(subscription.c.account_id).where(
        one_of(conn, subscription.c.service_id, list(service_ids)),
        subscription.c.state == SubscriptionState.ACTIVE.value,
    )
    return {AccountId(account_id) for account_id in await conn.scalars(query)}


async def add_order(conn: AsyncConnection, made: Order) -> None:
    """The order with its line, in the state it has."""
    await conn.execute(
        insert(order).values(
            order_id=made.order_id,
            state=made.state.value,
            account_id=made.account_id,
            open_subscription_id=made.subscription_id,
            attempt=made.attempt,
            requested_by=made.requested_by,
            created_at=made.created_at,
            changed_at=made.changed_at,
            waiting=made.waiting,
        )
    )
    await conn.execute(
        insert(line).values(
            order_id=made.order_id,
            number=1,
            action=made.action.value,
            subscription_id=made.subscription_id,
            service_id=made.service_id,
            version_id=made.version_id,
            from_version_id=made.from_version_id,
        )
    )
    await add_transition(conn, made.order_id, Transition(made.state, made.created_at, made.requested_by, None))


async def change_order(conn: AsyncConnection, changed: Order) -> None:
    await conn.execute(
        update(order)
        .where(order.c.order_id == changed.order_id)
        .values(
            state=changed.state.value,
            open_subscription_id=changed.subscription_id if changed.is_open else None,
            attempt=changed.attempt,
            changed_at=changed.changed_at,
            step=changed.step,
            waiting=changed.waiting,
            cause=changed.cause,
            owner_team=changed.owner_team,
            cancelled_by=changed.cancelled_by,
        )
    )


async def find_order(conn: AsyncConnection, order_id: OrderId, *, lock: bool = False) -> Order | None:
    """With `lock` nobody else changes the order until this transaction ends."""
    query = _orders().where(order.c.order_id == order_id)
    if lock:
        query = query.with_for_update(of=order)
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _order(row)


async def open_order_of(conn: AsyncConnection, subscription_id: SubscriptionId) -> OrderId | None:
    return await conn.scalar(select(order.c.order_id).where(order.c.open_subscription_id == subscription_id))


async def versions_of_service(conn: AsyncConnection, service_id: str) -> set[OfferingVersionId]:
    """What a service is sold with, and what open orders are going to sell it."""
    sold = select(subscription.c.version_id)
    held = sold.where(subscription.c.service_id == service_id, subscription.c.state != _ENDED)
    asked = select(line.c.version_id).join(order, order.c.order_id == line.c.order_id)
    asked = asked.where(line.c.service_id == service_id, order.c.open_subscription_id.is_not(None))
    return {OfferingVersionId(version_id) for version_id in await conn.scalars(union(held, asked))}


async def list_orders(
    conn: AsyncConnection,
    *,
    states: Sequence[OrderState],
    account_ids: Collection[str],
    subscription_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[Order]:
    """Newest first."""
    query = _orders().order_by(order.c.order_id.desc()).limit(limit)
    if states:
        query = query.where(order.c.state.in_([state.value for state in states]))
    if account_ids:
        query = query.where(order.c.account_id.in_(account_ids))
    if subscription_id is not None:
        query = query.where(line.c.subscription_id == subscription_id)
    if before is not None:
        query = query.where(order.c.order_id < before)
    return [_order(row) for row in await conn.execute(query)]


async def add_transition(conn: AsyncConnection, order_id: OrderId, entered: Transition) -> None:
    await conn.execute(
        insert(transition).values(
            order_id=order_id, state=entered.state.value, at=entered.at, actor=entered.actor, cause=entered.cause
        )
    )


async def history(conn: AsyncConnection, order_id: OrderId) -> list[Transition]:
    query = select(transition).where(transition.c.order_id == order_id).order_by(transition.c.sequence)
    return [Transition(OrderState(row.state), row.at, row.actor, row.cause) for row in await conn.execute(query)]


async def put_step(conn: AsyncConnection, order_id: OrderId, record: StepRecord) -> None:
    """Insert or overwrite the record of a step; the instant it first started stays."""
    upsert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    earlier = select(func.count()).select_from(step).where(step.c.order_id == order_id).scalar_subquery()
    statement = upsert(step).values(
        order_id=order_id,
        name=record.name,
        number=earlier + 1,
        state=record.state.value,
        started_at=record.started_at,
        ended_at=record.ended_at,
        tries=record.tries,
        cause=record.cause,
        result=json.dumps(record.result),
    )
    new = statement.excluded
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=[step.c.order_id, step.c.name],
            set_={
                "state": new.state,
                "ended_at": new.ended_at,
                "tries": step.c.tries + new.tries,
                "cause": new.cause,
                "result": new.result,
            },
        )
    )


async def steps(conn: AsyncConnection, order_id: OrderId) -> list[StepRecord]:
    """In the order in which they were begun."""
    query = select(step).where(step.c.order_id == order_id).order_by(step.c.number)
    return [
        StepRecord(
            row.name,
            StepState(row.state),
            row.started_at,
            row.ended_at,
            row.tries,
            row.cause,
            json.loads(row.result or "{}"),
        )
        for row in await conn.execute(query)
    ]


async def put_secret(conn: AsyncConnection, order_id: OrderId, sealed: bytes) -> None:
    await conn.execute(insert(secret).values(order_id=order_id, sealed=sealed))


async def find_secret(conn: AsyncConnection, order_id: OrderId) -> bytes | None:
    return await conn.scalar(select(secret.c.sealed).where(secret.c.order_id == order_id))


async def drop_secret(conn: AsyncConnection, order_id: OrderId) -> None:
    await conn.execute(delete(secret).where(secret.c.order_id == order_id))


async def claim_key(
    conn: AsyncConnection, *, actor: str, key: str, body: bytes, order_id: OrderId, now: datetime
) -> bool:
    """Take an idempotency key; False when it is taken. Two at once: the second waits for the first to commit."""
    upsert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    statement = upsert(idempotency).values(actor=actor, key=key, body=body, order_id=order_id, created_at=now)
    statement = statement.on_conflict_do_nothing(index_elements=[idempotency.c.actor, idempotency.c.key])
    return await conn.scalar(statement.returning(idempotency.c.order_id)) is not None


async def find_key(conn: AsyncConnection, actor: str, key: str) -> tuple[bytes, OrderId] | None:
    query = select(idempotency.c.body, idempotency.c.order_id).where(
        idempotency.c.actor == actor, idempotency.c.key == key
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else (row.body, row.order_id)


def _orders() -> Select[Any]:
    return select(order, *(column for column in line.c if column.name != "order_id")).join(
        line, line.c.order_id == order.c.order_id
    )


def _order(row: Row[Any]) -> Order:
    return Order(
        order_id=row.order_id,
        action=Action(row.action),
        state=OrderState(row.state),
        account_id=row.account_id,
        subscription_id=row.subscription_id,
        service_id=row.service_id,
        version_id=row.version_id,
        from_version_id=row.from_version_id,
        attempt=row.attempt,
        requested_by=row.requested_by,
        created_at=row.created_at,
        changed_at=row.changed_at,
        step=row.step,
        waiting=row.waiting,
        cause=row.cause,
        owner_team=row.owner_team,
        cancelled_by=row.cancelled_by,
    )


async def _subscriptions(conn: AsyncConnection, query: Select[Any]) -> list[Subscription]:
    """The subscriptions of `query`, in its order, with their attachments."""
    rows = (await conn.execute(query)).all()
    attached: dict[str, list[Attachment]] = {row.subscription_id: [] for row in rows}
    theirs = select(attachment).where(attachment.c.subscription_id.in_(attached)).order_by(attachment.c.position)
    for row in await conn.execute(theirs):
        found = attachment_of(row.kind, row.device_id, row.port, row.onu_serial, row.subscriber_vlan)
        attached[row.subscription_id].append(found)
    return [_subscription(row, tuple(attached[row.subscription_id])) for row in rows]


def _subscription(row: Row[Any], attachments: tuple[Attachment, ...]) -> Subscription:
    return Subscription(
        subscription_id=row.subscription_id,
        account_id=row.account_id,
        service_id=row.service_id,
        version_id=row.version_id,
        state=SubscriptionState(row.state),
        username=row.username,
        framed_ipv4=row.framed_ipv4,
        attachments=attachments,
        ordered_at=row.ordered_at,
        activated_at=row.activated_at,
        ended_at=row.ended_at,
    )

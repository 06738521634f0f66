"""What others hear of an order's end or stop, in the transaction that makes it true: its event, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.events import OrderCancelled, OrderHeld, ServiceActivated, ServiceChanged, ServiceTerminated
from controller.domain.identity import new_id
from controller.store import audit, outbox
from erp.orders.model import Action, Order


async def tell_held(conn: AsyncConnection, order: Order, now: datetime) -> None:
    """`order` as it is now that it is held."""
    assert order.cause is not None
    assert order.step is not None
    assert order.owner_team is not None
    await outbox.append(
        conn,
        OrderHeld(
            event_id=new_id(now),
            at=now,
            actor="system:orders",
            order_id=order.order_id,
            cause=order.cause,
            step=order.step,
            owner_team=order.owner_team,
        ),
    )


async def tell_completed(conn: AsyncConnection, order: Order, verified_at: datetime, now: datetime) -> None:
    await audit.record(
        conn,
        now=now,
        actor=order.requested_by,
        action=f"order.{order.action.value}.completed",
        subject=f"order:{order.order_id}",
        before={"version_id": order.from_version_id} if order.from_version_id else None,
        after={"version_id": order.version_id, "verified_at": verified_at.isoformat()},
    )
    common: dict[str, Any] = {
        "event_id": new_id(now),
        "at": verified_at,
        "actor": order.requested_by,
        "order_id": order.order_id,
        "subscription_id": order.subscription_id,
        "service_id": order.service_id,
        "account_id": order.account_id,
    }
    if order.action is Action.ADD:
        event: Any = ServiceActivated(**common, version_id=order.version_id)
    elif order.action is Action.MODIFY:
        assert order.from_version_id is not None
        event = ServiceChanged(**common, from_version_id=order.from_version_id, version_id=order.version_id)
    else:
        event = ServiceTerminated(**common)
    await outbox.append(conn, event)


async def tell_cancelled(conn: AsyncConnection, order: Order, now: datetime) -> None:
    actor = order.cancelled_by or "system:orders"
    subject, action = f"order:{order.order_id}", f"order.{order.action.value}.cancelled"
    await audit.record(conn, now=now, actor=actor, action=action, subject=subject)
    await outbox.append(
        conn,
        OrderCancelled(
            event_id=new_id(now),
            at=now,
            actor=actor,
            order_id=order.order_id,
            subscription_id=order.subscription_id,
            service_id=order.service_id,
            action=order.action.value,
        ),
    )

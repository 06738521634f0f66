"""What becomes of orders: every change of state in one transaction with its history, its effects and its event.

The fulfilment workflow calls these; each may be called again with the same arguments and then changes nothing, because
a step that was interrupted runs once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.events import OrderHeld, ServiceActivated, ServiceChanged, ServiceTerminated
from controller.domain.identity import OrderId, new_id
from controller.domain.ports import Secret
from controller.domain.service import DesiredService
from controller.domain.tariff import TariffVersion
from controller.store import audit, outbox
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.catalog.service import CatalogService
from erp.inventory.service import InventoryService
from erp.orders import repository
from erp.orders.errors import NoOrder
from erp.orders.model import (
    Action,
    Order,
    OrderState,
    StepRecord,
    StepState,
    Subscription,
    SubscriptionState,
    Transition,
    after,
    desired_service,
)


@dataclass(frozen=True, slots=True)
class Work:
    """An order with all that its steps need. `done` maps each finished step to its result."""

    order: Order
    subscription: Subscription
    tariff: TariffVersion
    done: dict[str, dict[str, Any]]

    @property
    def desired(self) -> DesiredService:
        return desired_service(self.subscription, self.tariff.profile, self.order.action)


@dataclass(frozen=True, slots=True)
class Story:
    """An order with its subscription, the states it was in and the steps it took."""

    order: Order
    subscription: Subscription
    history: list[Transition]
    steps: list[StepRecord]


class OrderService:
    """Reads orders and moves them along."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        *,
        catalog: CatalogService,
        inventory: InventoryService,
    ) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._catalog = catalog
        self._inventory = inventory

    async def story(self, order_id: OrderId) -> Story:
        """Raises NoOrder."""
        async with self._database.read() as conn:
            order = await _order(conn, order_id)
            return Story(
                order,
                await _subscription(conn, order),
                await repository.history(conn, order_id),
                await repository.steps(conn, order_id),
            )

    async def orders(
        self,
        *,
        states: Sequence[OrderState] = (),
        account_id: str | None = None,
        subscription_id: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> Sequence[Order]:
        """Newest first."""
        async with self._database.read() as conn:
            return await repository.list_orders(
                conn, states=states, account_id=account_id, subscription_id=subscription_id, before=before, limit=limit
            )

    async def subscriptions(
        self, *, account_id: str | None, service_id: str | None, after: str | None, limit: int
    ) -> Sequence[Subscription]:
        async with self._database.read() as conn:
            return await repository.list_subscriptions(
                conn, account_id=account_id, service_id=service_id, after=after, limit=limit
            )

    async def work(self, order_id: OrderId) -> Work:
        """Raises NoOrder."""
        async with self._database.read() as conn:
            order = await _order(conn, order_id)
            done = {
                step.name: step.result
                for step in await repository.steps(conn, order_id)
                if step.state is StepState.DONE
            }
            subscription = await _subscription(conn, order)
            tariff = await self._catalog.tariff_in(conn, order.version_id)
        return Work(order, subscription, tariff, done)

    async def password(self, order_id: OrderId) -> Secret:
        """The new subscriber's password, until `finish_step(…, forget_password=True)`. Raises NoOrder."""
        async with self._database.read() as conn:
            sealed = await repository.find_secret(conn, order_id)
        if sealed is None:
            raise NoOrder(f"order {order_id} keeps no password any more")
        return self._box.open(sealed, f"order:{order_id}")

    async def begin(self, order_id: OrderId) -> None:
        """acknowledged → inProgress; an order that is further on stays there."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is OrderState.ACKNOWLEDGED:
                await _enter(conn, replace(order, state=after(order.state, "start"), changed_at=now), "system:orders")

    async def start_step(self, order_id: OrderId, step: str) -> None:
        """Show that a step that takes its time is being done."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is not OrderState.IN_PROGRESS:
                return
            await repository.put_step(conn, order_id, StepRecord(step, StepState.RUNNING, now, None, 0, None))
            await repository.change_order(
                conn, replace(order, step=step, waiting=False, cause=None, owner_team=None, changed_at=now)
            )

    async def wait(self, order_id: OrderId, step: str, cause: str) -> None:
        """The order stays inProgress, and says what it waits for. A retry follows without anybody's help."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is not OrderState.IN_PROGRESS:
                return
            await repository.put_step(conn, order_id, StepRecord(step, StepState.WAITING, now, None, 1, cause))
            await repository.change_order(conn, replace(order, step=step, waiting=True, cause=cause, changed_at=now))

    async def finish_step(
        self, order_id: OrderId, step: str, result: dict[str, Any], *, forget_password: bool = False
    ) -> Order:
        """The step is done and will not be done again. Returns the order as it now stands."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            await repository.put_step(conn, order_id, StepRecord(step, StepState.DONE, now, now, 1, None, result))
            if forget_password:
                await repository.drop_secret(conn, order_id)
            if order.state is OrderState.IN_PROGRESS and (order.step or order.cause):
                order = replace(order, step=None, waiting=False, cause=None, changed_at=now)
                await repository.change_order(conn, order)
        return order

    async def hold(self, order_id: OrderId, step: str, *, cause: str, owner_team: str) -> Order:
        """inProgress → held, told to whoever follows: a person must act, a re-drive goes on. Returns the order."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is not OrderState.IN_PROGRESS:
                return order
            held = replace(
                order,
                state=after(order.state, "hold"),
                changed_at=now,
                step=step,
                waiting=False,
                cause=cause,
                owner_team=owner_team,
            )
            await repository.put_step(conn, order_id, StepRecord(step, StepState.HELD, now, now, 1, cause))
            await _enter(conn, held, "system:orders")
            await outbox.append(
                conn,
                OrderHeld(
                    event_id=new_id(now),
                    at=now,
                    actor="system:orders",
                    order_id=order_id,
                    cause=cause,
                    step=step,
                    owner_team=owner_team,
                ),
            )
        return held

    async def redrive(self, order_id: OrderId, *, actor: str) -> Order:
        """held → inProgress, with a new attempt. Raises NoOrder, NotAllowed."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            again = replace(
                order,
                state=after(order.state, "redrive"),
                attempt=order.attempt + 1,
                changed_at=now,
                cause=None,
                owner_team=None,
            )
            await _enter(conn, again, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="order.redrive",
                subject=f"order:{order_id}",
                before={"step": order.step, "cause": order.cause},
            )
        return again

    async def complete(self, order_id: OrderId, step: str, verified_at: datetime) -> Order:
        """inProgress → completed, with its effect on subscription and stock, and the event that rooms act on.

        `verified_at` is when the network was seen to be as ordered: charging starts, changes or ends there.
        Returns the order.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is OrderState.COMPLETED:
                return order
            subscription = await _subscription(conn, order)
            completed = replace(
                order,
                state=after(order.state, "complete"),
                changed_at=now,
                step=None,
                waiting=False,
                cause=None,
                owner_team=None,
            )
            await repository.put_step(conn, order_id, StepRecord(step, StepState.DONE, now, now, 1, None))
            await _enter(conn, completed, "system:orders")
            await repository.change_subscription(conn, _subscription_after(order, subscription, verified_at))
            if order.action is Action.ADD:
                await self._inventory.install_in(conn, order_id, actor=order.requested_by, now=now)
            elif order.action is Action.DELETE:
                await self._inventory.await_return_in(
                    conn, order.service_id, order_id=order_id, actor=order.requested_by, now=now
                )
            await _tell(conn, order, verified_at, now)
        return completed


async def _order(conn: AsyncConnection, order_id: OrderId, *, lock: bool = False) -> Order:
    found = await repository.find_order(conn, order_id, lock=lock)
    if found is None:
        raise NoOrder(f"no order {order_id}")
    return found


async def _subscription(conn: AsyncConnection, order: Order) -> Subscription:
    found = await repository.find_subscription(conn, order.subscription_id)
    assert found is not None
    return found


async def _enter(conn: AsyncConnection, order: Order, actor: str) -> None:
    """Write the order in its new state, and the state into its history."""
    await repository.change_order(conn, order)
    await repository.add_transition(conn, order.order_id, Transition(order.state, order.changed_at, actor, order.cause))


def _subscription_after(order: Order, subscription: Subscription, verified_at: datetime) -> Subscription:
    if order.action is Action.ADD:
        return replace(subscription, state=SubscriptionState.ACTIVE, activated_at=verified_at)
    if order.action is Action.MODIFY:
        return replace(subscription, version_id=order.version_id)
    return replace(subscription, state=SubscriptionState.TERMINATED, ended_at=verified_at)


async def _tell(conn: AsyncConnection, order: Order, verified_at: datetime, now: datetime) -> None:
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

"""What becomes of orders: every change of state in one transaction with its history, its effects and its event.

The fulfilment workflow calls these; each may be called again with the same arguments and then changes nothing, because
a step that was interrupted runs once more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import AccountId, OrderId
from controller.domain.ports import Secret
from controller.domain.service import DesiredService
from controller.domain.tariff import TariffVersion
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from erp.catalog.service import CatalogService
from erp.inventory.service import InventoryService
from erp.orders import notices, repository
from erp.orders.errors import NoOrder
from erp.orders.model import (
    AT_WORK,
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
    refuse_past_return,
)


@dataclass(frozen=True, slots=True)
class Work:
    """An order with all that its steps need, in the direction in which it goes: forwards, or back once cancelled.

    `tariff` is that of the state it leads to. `done` maps each finished step to its result; `begun` has those too that
    were only ever shown as being done.
    """

    order: Order
    subscription: Subscription
    tariff: TariffVersion
    done: dict[str, dict[str, Any]]
    begun: frozenset[str]

    @property
    def actor(self) -> str:
        """Who wanted what its steps do now."""
        return self.order.cancelled_by or self.order.requested_by

    @property
    def desired(self) -> DesiredService:
        """What the network shall show when the road has been gone."""
        ends = self.order.action is (Action.ADD if self.order.cancelled_by else Action.DELETE)
        return desired_service(self.subscription, self.tariff.profile, present=not ends)


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
        account_ids: Collection[str] = (),
        subscription_id: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> Sequence[Order]:
        """Newest first."""
        async with self._database.read() as conn:
            return await repository.list_orders(
                conn,
                states=states,
                account_ids=account_ids,
                subscription_id=subscription_id,
                before=before,
                limit=limit,
            )

    async def subscriptions(
        self, *, account_id: str | None, service_id: str | None, after: str | None, limit: int
    ) -> Sequence[Subscription]:
        async with self._database.read() as conn:
            return await repository.list_subscriptions(
                conn, account_id=account_id, service_id=service_id, after=after, limit=limit
            )

    async def accounts_in(self, conn: AsyncConnection, service_ids: Sequence[str]) -> set[AccountId]:
        """Whose active lines these services are."""
        return await repository.accounts_of_services(conn, service_ids)

    async def work(self, order_id: OrderId) -> Work:
        """Raises NoOrder."""
        async with self._database.read() as conn:
            order = await _order(conn, order_id)
            steps = await repository.steps(conn, order_id)
            subscription = await _subscription(conn, order)
            back_to = order.from_version_id if order.cancelled_by else None
            tariff = await self._catalog.tariff_in(conn, back_to or order.version_id)
        done = {step.name: step.result for step in steps if step.state is StepState.DONE}
        return Work(order, subscription, tariff, done, frozenset(step.name for step in steps))

    async def password(self, order_id: OrderId) -> Secret:
        """The new subscriber's password, until `finish_step(…, forget_password=True)`. Raises NoOrder."""
        async with self._database.read() as conn:
            sealed = await repository.find_secret(conn, order_id)
        if sealed is None:
            raise NoOrder(f"order {order_id} keeps no password any more")
        return self._box.open(sealed, f"order:{order_id}")

    async def goes_as(self, seen: Order) -> bool:
        """Whether the order still goes the way it went when `seen` was read: nobody cancelled it or took it over."""
        async with self._database.read() as conn:
            return _goes_as(await _order(conn, seen.order_id), seen)

    async def begin(self, order_id: OrderId) -> Order:
        """acknowledged → inProgress; an order that is further on stays there. Returns the order."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is OrderState.ACKNOWLEDGED:
                order = replace(order, state=after(order.state, "start"), changed_at=now)
                await _enter(conn, order, "system:orders")
        return order

    async def start_step(self, seen: Order, step: str) -> None:
        """Show that a step that takes its time is being done."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, seen.order_id, lock=True)
            if not _goes_as(order, seen):
                return
            await repository.put_step(conn, order.order_id, StepRecord(step, StepState.RUNNING, now, None, 0, None))
            await repository.change_order(
                conn, replace(order, step=step, waiting=False, cause=None, owner_team=None, changed_at=now)
            )

    async def wait(self, seen: Order, step: str, cause: str) -> bool:
        """The order stays as it is, and says what it waits for: a retry follows without anybody's help.

        False when it does not go the way of `seen` any more: it was cancelled meanwhile, or somebody else has it.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, seen.order_id, lock=True)
            if not _goes_as(order, seen):
                return False
            await repository.put_step(conn, order.order_id, StepRecord(step, StepState.WAITING, now, None, 1, cause))
            await repository.change_order(conn, replace(order, step=step, waiting=True, cause=cause, changed_at=now))
        return True

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
            if order.state in AT_WORK and (order.step or order.cause):
                order = replace(order, step=None, waiting=False, cause=None, changed_at=now)
                await repository.change_order(conn, order)
        return order

    async def hold(self, seen: Order, step: str, *, cause: str, owner_team: str) -> Order:
        """At work → held, told to whoever follows: a person must act, a re-drive goes on. Returns the order.

        A step that failed after the order was cancelled holds nothing: it is undone anyway.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, seen.order_id, lock=True)
            if not _goes_as(order, seen):
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
            await repository.put_step(conn, order.order_id, StepRecord(step, StepState.HELD, now, now, 1, cause))
            await _enter(conn, held, "system:orders")
            await notices.tell_held(conn, held, now)
        return held

    async def redrive(self, order_id: OrderId, *, actor: str) -> Order:
        """held → inProgress, or back to pendingCancellation, with a new attempt. Raises NoOrder, NotAllowed."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            onwards = after(order.state, "redrive")
            again = replace(
                order,
                state=after(order.state, "cancel") if order.cancelled_by else onwards,
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

    async def cancel(self, order_id: OrderId, *, actor: str) -> Order:
        """Turn an open order back. Its workflow, or a new attempt where a held one has none, undoes what was done.

        Asking again changes nothing. Raises NoOrder, and NotAllowed past the point of no return, saying what to do.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.cancelled_by and order.state is not OrderState.HELD:
                return order
            steps = await repository.steps(conn, order_id)
            refuse_past_return(order, {step.name for step in steps if step.state is StepState.DONE})
            turned = replace(
                order,
                state=after(order.state, "cancel"),
                attempt=order.attempt + (order.state is OrderState.HELD),
                cancelled_by=order.cancelled_by or actor,
                changed_at=now,
                waiting=False,
                cause=None,
                owner_team=None,
            )
            await _enter(conn, turned, actor)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="order.cancel",
                subject=f"order:{order_id}",
                before={"state": order.state.value, "step": order.step, "cause": order.cause},
            )
        return turned

    async def undone(self, order_id: OrderId, step: str) -> Order:
        """pendingCancellation → cancelled: nothing is left of the order on the network; its stock is free again.

        Returns the order.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is OrderState.CANCELLED:
                return order
            cancelled = replace(order, state=after(order.state, "undone"), changed_at=now, step=None, waiting=False)
            await repository.put_step(conn, order_id, StepRecord(step, StepState.DONE, now, now, 1, None))
            await repository.drop_secret(conn, order_id)
            await _enter(conn, cancelled, "system:orders")
            if order.action is Action.ADD:
                subscription = await _subscription(conn, order)
                ended = replace(subscription, state=SubscriptionState.TERMINATED, ended_at=now)
                await repository.change_subscription(conn, ended)
                await self._inventory.release_in(conn, order_id, actor=order.cancelled_by or "", now=now)
            await notices.tell_cancelled(conn, cancelled, now)
        return cancelled

    async def complete(self, order_id: OrderId, step: str, verified_at: datetime) -> Order:
        """inProgress → completed, with its effect on subscription and stock, and the event that rooms act on.

        `verified_at` is when the network was seen to be as ordered: charging starts, changes or ends there.
        Returns the order.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            order = await _order(conn, order_id, lock=True)
            if order.state is not OrderState.IN_PROGRESS:
                return order  # completed before, or cancelled: then it never will be
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
            await notices.tell_completed(conn, order, verified_at, now)
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


def _goes_as(order: Order, seen: Order) -> bool:
    """Whether the order is still at work the way it was when `seen` was read: same attempt, not turned back since."""
    return order.state in AT_WORK and (order.state, order.attempt) == (seen.state, seen.attempt)


def _subscription_after(order: Order, subscription: Subscription, verified_at: datetime) -> Subscription:
    if order.action is Action.ADD:
        return replace(subscription, state=SubscriptionState.ACTIVE, activated_at=verified_at)
    if order.action is Action.MODIFY:
        return replace(subscription, version_id=order.version_id)
    return replace(subscription, state=SubscriptionState.TERMINATED, ended_at=verified_at)

"""From an accepted order to a verified service: the durable workflow `order.v1`, one run per attempt of an order.

    add      subscriber (disabled) → desired → converge → enable → complete: ServiceActivated
    modify   desired → converge → profile → sessions → complete: ServiceChanged
    delete   disable → disconnect → desired → converge → disconnect-late → withdraw → complete: ServiceTerminated

An order that is cancelled turns back at the end of the step that it is in, in the same run, and undoes: the devices
converge to what was desired before, or to nothing. A step and its undoing so never run at once.

The order's own record says which steps are done. The durable job brings the run back after a crash, and the record
makes it go on where it stood: neither a crash nor a re-drive does a step twice. Between its effect and that record a
step may run again (see order_steps).

A device that does not answer leaves the order inProgress, waiting and saying for what. Everything else that goes wrong
holds it, with cause, step and the team that must act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import Clock
from controller.domain.errors import PermanentDeviceError, RuleError, TemporaryDeviceError
from controller.domain.identity import OrderId
from controller.domain.ports import SubscriberDirectory
from controller.domain.service import Plan
from controller.store.jobs import Jobs, RetryPolicy, retrying
from controller.workflows.order_steps import (
    ENGINEERING,
    NETWORK,
    SERVICE_DESK,
    Fallout,
    FulfilmentSettings,
    IsOff,
    OrderSteps,
    Provisioning,
    SessionEnder,
    TurnedBack,
    next_step,
    verified_at,
)
from erp.orders.model import AT_WORK, Order, OrderState
from erp.orders.placement import OrderPlacement, Placed, Preview, Repeat, Request
from erp.orders.service import OrderService, Work

log = structlog.get_logger()

WORKFLOW = "order.v1"

_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

_steps_ended = Counter("headend_orders_steps_total", "Steps of orders by how they ended", ["step", "end"])


@dataclass(frozen=True, slots=True)
class DryRun:
    """What an order would change: for the customer the price, for the devices exactly what would be sent."""

    preview: Preview
    plans: Sequence[Plan]


class OrderFulfilment:
    """Registers the workflow with `jobs`; make it before `jobs.launch()`. `run` is its background task."""

    def __init__(
        self,
        clock: Clock,
        jobs: Jobs,
        *,
        placement: OrderPlacement,
        orders: OrderService,
        provisioning: Provisioning,
        directory: SubscriberDirectory,
        sessions: SessionEnder | None = None,
        is_off: IsOff | None = None,
        settings: FulfilmentSettings | None = None,
    ) -> None:
        self._jobs = jobs
        self._placement = placement
        self._orders = orders
        self._provisioning = provisioning
        self._settings = settings or FulfilmentSettings()
        self._effects = OrderSteps(
            clock, orders, provisioning, directory, sessions, self._settings, is_off=is_off
        ).effects
        jobs.register(WORKFLOW, self._fulfil)

    async def place(self, request: Request, *, actor: str, repeat: Repeat | None = None) -> Placed:
        """Accept an order and start its fulfilment. Raises what `OrderPlacement.place` raises."""
        placed = await self._placement.place(request, actor=actor, repeat=repeat)
        if placed.order.is_open:
            await self._start(placed.order)
        return placed

    async def redrive(self, order_id: OrderId, *, actor: str) -> Order:
        """Go on with a held order where it stopped. Raises NoOrder, NotAllowed."""
        order = await self._orders.redrive(order_id, actor=actor)
        await self._start(order)
        return order

    async def cancel(self, order_id: OrderId, *, actor: str) -> Order:
        """Turn an open order back, as far as it has come. Raises NoOrder, NotAllowed."""
        order = await self._orders.cancel(order_id, actor=actor)
        if order.is_open:
            await self._start(order)
        return order

    async def dry_run(self, request: Request) -> DryRun:
        """Show what an order would do; writes nothing and changes no device."""
        preview = await self._placement.preview(request)
        return DryRun(preview, await self._provisioning.dry_run(preview.desired))

    async def run(self) -> None:
        """For ever: start what was accepted and not started, and hold what a bug of ours ended."""
        while True:
            try:
                await self.sweep()
            except _DATABASE_AWAY as error:
                log.warning("orders.sweep_failed", error=str(error))
            await asyncio.sleep(self._settings.sweep_s)

    async def sweep(self) -> None:
        """One search through the open orders; starting one that runs already changes nothing."""
        before: str | None = None
        while True:
            orders = await self._orders.orders(states=(OrderState.ACKNOWLEDGED, *AT_WORK), before=before, limit=200)
            for order in orders:
                await self._take_up(order)
            if not orders:
                return
            before = orders[-1].order_id

    async def _take_up(self, order: Order) -> None:
        status = await self._jobs.status(_job_id(order))
        if status is None:
            await self._start(order)
        elif status.state == "failed":
            order = await self._orders.begin(order.order_id)
            cause = "the workflow ended by an error of the controller; the log tells it"
            log.error("orders.workflow_failed", order_id=order.order_id, error=status.error)
            await self._orders.hold(order, order.step or "begin", cause=cause, owner_team=ENGINEERING)

    async def _start(self, order: Order) -> None:
        """Start at once where this process runs workflows; otherwise, and if that fails, a sweep does it.

        The order stands already: whoever placed it gets the answer, and with it the password.
        """
        if not self._jobs.is_open:
            return
        try:
            await self._jobs.start(WORKFLOW, _job_id(order), order.order_id, order.attempt)
        except Exception as error:
            log.warning("orders.start_postponed", order_id=order.order_id, exc_info=error)

    async def _fulfil(self, order_id: str, attempt: int) -> str:
        """The workflow. Its arguments and result are kept in the jobs database: ids and words, no secret."""
        return await self._jobs.step("fulfil", self._go_on, OrderId(order_id), attempt)

    async def _go_on(self, order_id: OrderId, attempt: int) -> str:
        """Take the steps not done yet: "completed", "cancelled", "held", or "superseded" by another attempt."""
        work = await retrying(self._take_up_work, order_id, policy=self._patience(None, "begin"))
        while _is_ours(work.order, attempt):
            step = next_step(work)
            try:
                work = await retrying(self._take_step, work, step, policy=self._patience(work.order, step))
            except TurnedBack:
                log.info("orders.turned_back", order_id=order_id, step=step)
                work = await retrying(self._take_up_work, order_id, policy=self._patience(None, "begin"))
        return work.order.state.value if work.order.attempt == attempt else "superseded"

    def _patience(self, order: Order | None, step: str) -> RetryPolicy:
        return RetryPolicy(
            on=(TemporaryDeviceError, *_DATABASE_AWAY),
            first_wait_s=self._settings.first_wait_s,
            longest_wait_s=self._settings.longest_wait_s,
            waiting=partial(self._note_waiting, order, step),
        )

    async def _take_up_work(self, order_id: OrderId) -> Work:
        await self._orders.begin(order_id)
        return await self._orders.work(order_id)

    async def _take_step(self, work: Work, step: str) -> Work:
        """Do one step and record it, or hold the order. Returns the work as it then stands."""
        order_id, result = work.order.order_id, dict[str, Any]()
        try:
            if step == "complete":
                order = await self._orders.complete(order_id, step, verified_at(work))
            elif step == "undone":
                order = await self._orders.undone(order_id, step)
            else:
                result = await self._effects[step](work, step)
                order = await self._orders.finish_step(order_id, step, result, forget_password=step == "subscriber")
        except (TemporaryDeviceError, TurnedBack, *_DATABASE_AWAY):
            raise
        except Exception as error:
            order = await self._hold(work.order, step, error)
        else:
            _steps_ended.labels(step, "done").inc()
            work = replace(work, done={**work.done, step: result})
        if order.cancelled_by != work.order.cancelled_by:
            return await self._orders.work(order_id)  # it was turned back, and leads elsewhere now
        return replace(work, order=order)

    async def _hold(self, order: Order, step: str, error: Exception) -> Order:
        """Every failure becomes a visible state. A bug's message may hold anything: it goes to the log alone."""
        match error:
            case Fallout():
                team, cause = error.owner_team, error.cause
            case PermanentDeviceError():
                team, cause = NETWORK, str(error)
            case RuleError():
                team, cause = SERVICE_DESK, str(error)
            case _:
                team, cause = ENGINEERING, f"error of the controller: {type(error).__name__}; the log tells more"
                log.error("orders.step_failed", order_id=order.order_id, step=step, exc_info=error)
        held = await self._orders.hold(order, step, cause=cause, owner_team=team)
        _steps_ended.labels(step, "held").inc()
        log.warning("orders.held", order_id=order.order_id, service_id=order.service_id, step=step, owner_team=team)
        return held

    async def _note_waiting(self, order: Order | None, step: str, attempt: int, error: Exception) -> None:
        """Show what the order waits for. Raises TurnedBack when it was cancelled meanwhile."""
        _steps_ended.labels(step, "retried").inc()
        order_id = order and order.order_id
        log.info("orders.waiting", order_id=order_id, step=step, attempt=attempt, error=type(error).__name__)
        if order is None or not isinstance(error, TemporaryDeviceError):
            return
        try:
            goes_on = await self._orders.wait(order, step, str(error))
        except _DATABASE_AWAY as away:
            log.warning("orders.waiting_not_shown", order_id=order_id, error=str(away))
            return
        if not goes_on:
            raise TurnedBack


def _job_id(order: Order) -> str:
    return f"{WORKFLOW}:{order.order_id}:{order.attempt}"


def _is_ours(order: Order, attempt: int) -> bool:
    return order.state in AT_WORK and order.attempt == attempt

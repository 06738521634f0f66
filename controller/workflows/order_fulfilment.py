"""From an accepted order to a verified service: the durable workflow `order.v1`, one run per attempt of an order.

    add      subscriber (disabled) → desired → converge → enable → complete: ServiceActivated
    modify   desired → converge → profile → sessions → complete: ServiceChanged
    delete   disable → disconnect → desired → converge → complete: ServiceTerminated

The order's own record says which steps are done. The durable job brings the run back after a crash, and the record
makes it go on where it stood: neither a crash nor a re-drive does a step twice. Between its effect and that record a
step may run again, therefore every effect reads before it writes.

A device that does not answer leaves the order inProgress, waiting and saying for what. Everything else that goes wrong
holds it, with cause, step and the team that must act. Nothing here decides by what a device acknowledged: only by what
was read back, or seen of a live session afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import Clock
from controller.domain.errors import NotFound, PermanentDeviceError, RuleError, TemporaryDeviceError
from controller.domain.identity import OrderId, ServiceId
from controller.domain.ports import CoaOutcome, Plan, SubscriberDirectory
from controller.domain.service import DesiredService
from controller.store.jobs import Jobs, RetryPolicy, retrying
from erp.orders.model import Action, Order, OrderState
from erp.orders.placement import OrderPlacement, Placed, Preview, Repeat, Request
from erp.orders.service import OrderService, Work

log = structlog.get_logger()

WORKFLOW = "order.v1"

STEPS: dict[Action, tuple[str, ...]] = {
    Action.ADD: ("subscriber", "desired", "converge", "enable", "complete"),
    Action.MODIFY: ("desired", "converge", "profile", "sessions", "complete"),
    Action.DELETE: ("disable", "disconnect", "desired", "converge", "complete"),
}
"""The road of each action."""

NETWORK, SERVICE_DESK, ENGINEERING = "network-operations", "service-desk", "engineering"
"""Owner teams of held orders: the device or read-back, a rule of ours, a bug of ours."""

_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

_steps_ended = Counter("headend_orders_steps_total", "Steps of orders by how they ended", ["step", "end"])


class Verification(Protocol):
    """What was read back after a change: equal to what was desired, or how not."""

    @property
    def verified(self) -> bool: ...
    @property
    def at(self) -> datetime: ...
    @property
    def differences(self) -> tuple[str, ...]: ...


class SessionVerification(Protocol):
    """Evidence of live sessions: "verified", "pending", "mismatch" or "no-session"."""

    @property
    def state(self) -> str: ...
    @property
    def details(self) -> tuple[str, ...]: ...


class SessionChange(Protocol):
    """What the NAS of one live session answered; it proves nothing, and is told only when evidence stays away."""

    @property
    def session_key(self) -> str: ...
    @property
    def outcome(self) -> CoaOutcome: ...


class Provisioning(Protocol):
    """What this workflow needs of controller.provisioning.ProvisioningService. All of it may be called again."""

    async def set_desired(self, desired: DesiredService, *, actor: str) -> None: ...

    async def dry_run(self, desired: DesiredService) -> Sequence[Plan]: ...

    async def converge(self, service_id: ServiceId, *, actor: str) -> Verification: ...

    async def change_live_sessions(self, service_id: ServiceId) -> Sequence[SessionChange]: ...

    async def verify_live_sessions(self, service_id: ServiceId, since: datetime) -> SessionVerification: ...


class SessionEnder(Protocol):
    """Live sessions as the end of a service sees them: radius.sessions.SessionController."""

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]: ...

    async def disconnect(self, session_key: str, *, actor: str, reason: str | None = None) -> CoaOutcome: ...


@dataclass(frozen=True, slots=True)
class FulfilmentSettings:
    """How patient order fulfilment is."""

    first_wait_s: float = 2.0
    """Before a device that did not answer is tried again; doubled each time."""
    longest_wait_s: float = 60.0
    """A dead OLT costs one attempt a minute, and its orders go on within a minute of its return."""
    evidence_wait_s: float = 1200.0
    """How long the next accounting record may take to show the new speed: longer than one interim interval."""
    evidence_poll_s: float = 1.0
    """Between two looks for that evidence."""
    sweep_s: float = 30.0
    """Between two searches for accepted orders whose workflow was never started: the process died in between."""


class Fallout(Exception):
    """A step ended in a way that a person must look at."""

    def __init__(self, owner_team: str, cause: str) -> None:
        super().__init__(cause)
        self.owner_team = owner_team
        self.cause = cause


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
        settings: FulfilmentSettings | None = None,
    ) -> None:
        self._clock = clock
        self._jobs = jobs
        self._placement = placement
        self._orders = orders
        self._provisioning = provisioning
        self._directory = directory
        self._sessions = sessions
        self._settings = settings or FulfilmentSettings()
        self._effects: dict[str, Callable[[Work], Awaitable[dict[str, Any]]]] = {
            "subscriber": self._put_subscriber,
            "desired": self._set_desired,
            "converge": self._converge,
            "enable": self._enable,
            "profile": self._set_profile,
            "sessions": self._change_sessions,
            "disable": self._disable,
            "disconnect": self._disconnect,
        }
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
            orders = await self._orders.orders(
                states=(OrderState.ACKNOWLEDGED, OrderState.IN_PROGRESS), before=before, limit=200
            )
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
            await self._orders.begin(order.order_id)
            cause = "the workflow ended by an error of the controller; the log tells it"
            log.error("orders.workflow_failed", order_id=order.order_id, error=status.error)
            await self._orders.hold(order.order_id, order.step or "begin", cause=cause, owner_team=ENGINEERING)

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
        """Take the steps that are not done yet: "completed", "held", or "superseded" by another attempt."""
        work = await retrying(self._take_up_work, order_id, policy=self._patience(order_id, "begin"))
        for step in STEPS[work.order.action]:
            if not _is_ours(work.order, attempt):
                break
            if step not in work.done:
                work = await retrying(self._take_step, work, step, policy=self._patience(order_id, step))
        return work.order.state.value if work.order.attempt == attempt else "superseded"

    def _patience(self, order_id: OrderId, step: str) -> RetryPolicy:
        return RetryPolicy(
            on=(TemporaryDeviceError, *_DATABASE_AWAY),
            first_wait_s=self._settings.first_wait_s,
            longest_wait_s=self._settings.longest_wait_s,
            waiting=partial(self._note_waiting, order_id, step),
        )

    async def _take_up_work(self, order_id: OrderId) -> Work:
        await self._orders.begin(order_id)
        return await self._orders.work(order_id)

    async def _take_step(self, work: Work, step: str) -> Work:
        """Do one step and record it, or hold the order. Returns the work as it then stands."""
        order_id, result = work.order.order_id, dict[str, Any]()
        try:
            if step == "complete":
                order = await self._orders.complete(order_id, step, _verified_at(work))
            else:
                result = await self._effects[step](work)
                order = await self._orders.finish_step(order_id, step, result, forget_password=step == "subscriber")
        except (TemporaryDeviceError, *_DATABASE_AWAY):
            raise
        except Exception as error:
            return replace(work, order=await self._hold(work.order, step, error))
        _steps_ended.labels(step, "done").inc()
        return replace(work, order=order, done={**work.done, step: result})

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
        held = await self._orders.hold(order.order_id, step, cause=cause, owner_team=team)
        _steps_ended.labels(step, "held").inc()
        log.warning("orders.held", order_id=order.order_id, service_id=order.service_id, step=step, owner_team=team)
        return held

    async def _note_waiting(self, order_id: OrderId, step: str, attempt: int, error: Exception) -> None:
        _steps_ended.labels(step, "retried").inc()
        log.info("orders.waiting", order_id=order_id, step=step, attempt=attempt, error=type(error).__name__)
        if isinstance(error, TemporaryDeviceError):
            try:
                await self._orders.wait(order_id, step, str(error))
            except _DATABASE_AWAY as away:
                log.warning("orders.waiting_not_shown", order_id=order_id, error=str(away))

    async def _put_subscriber(self, work: Work) -> dict[str, Any]:
        subscription = work.subscription
        await self._directory.put_subscriber(
            service_id=subscription.service_id,
            username=subscription.username,
            password=await self._orders.password(work.order.order_id),
            profile=work.tariff.profile,
            framed_ipv4=subscription.framed_ipv4,
            enabled=False,
            actor=work.order.requested_by,
        )
        return {}

    async def _set_desired(self, work: Work) -> dict[str, Any]:
        await self._provisioning.set_desired(work.desired, actor=work.order.requested_by)
        return {}

    async def _converge(self, work: Work) -> dict[str, Any]:
        await self._orders.start_step(work.order.order_id, "converge")
        seen = await self._provisioning.converge(work.order.service_id, actor=work.order.requested_by)
        if not seen.verified:
            raise Fallout(NETWORK, "read back is not as ordered: " + "; ".join(seen.differences))
        return {"at": seen.at.isoformat()}

    async def _enable(self, work: Work) -> dict[str, Any]:
        await self._directory.set_enabled(service_id=work.order.service_id, enabled=True, actor=work.order.requested_by)
        return {}

    async def _disable(self, work: Work) -> dict[str, Any]:
        await self._directory.set_enabled(
            service_id=work.order.service_id, enabled=False, actor=work.order.requested_by
        )
        return {}

    async def _disconnect(self, work: Work) -> dict[str, Any]:
        """Ask for the end of live sessions. No answer holds the order: without its line no session lives on."""
        answers: dict[str, Any] = {}
        if self._sessions is not None:
            for key in await self._sessions.live_sessions(work.order.service_id):
                try:
                    outcome = await self._sessions.disconnect(key, actor=work.order.requested_by, reason="terminated")
                    answers[key] = f"{outcome.result} {outcome.detail}".strip()
                except NotFound as error:
                    answers[key] = str(error)
        return {"answers": answers}

    async def _set_profile(self, work: Work) -> dict[str, Any]:
        await self._directory.set_profile(
            service_id=work.order.service_id, profile=work.tariff.profile, actor=work.order.requested_by
        )
        return {}

    async def _change_sessions(self, work: Work) -> dict[str, Any]:
        """Tell live sessions the new speed, then wait, but not for ever, until it was seen on them."""
        order = work.order
        await self._orders.start_step(order.order_id, "sessions")
        since = self._clock.now()
        answers = await self._provisioning.change_live_sessions(order.service_id)
        give_up_at = asyncio.get_running_loop().time() + self._settings.evidence_wait_s
        shown = False
        while True:
            seen = await self._provisioning.verify_live_sessions(order.service_id, since)
            if seen.state in ("verified", "no-session"):
                return {"at": self._clock.now().isoformat(), "evidence": "; ".join(seen.details)}
            if asyncio.get_running_loop().time() >= give_up_at:
                raise Fallout(NETWORK, _no_evidence(seen, answers))
            if not shown:
                await self._orders.wait(order.order_id, "sessions", "a live session has not shown the new speed yet")
                shown = True
            await asyncio.sleep(self._settings.evidence_poll_s)


def _job_id(order: Order) -> str:
    return f"{WORKFLOW}:{order.order_id}:{order.attempt}"


def _no_evidence(seen: SessionVerification, answers: Sequence[SessionChange]) -> str:
    told = [f"{answer.session_key} answered {answer.outcome.result} {answer.outcome.detail}" for answer in answers]
    return f"the live session was not seen at the new speed ({seen.state}): " + "; ".join([*seen.details, *told])


def _is_ours(order: Order, attempt: int) -> bool:
    return order.state is OrderState.IN_PROGRESS and order.attempt == attempt


def _verified_at(work: Work) -> datetime:
    """The last moment at which the network was seen to be as ordered."""
    return max(datetime.fromisoformat(result["at"]) for result in work.done.values() if "at" in result)

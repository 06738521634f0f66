"""The steps of an order, each an effect on one room, and what the rooms must offer for them.

Each may run again after a crash, so each effect reads before it writes, or says the same thing again. A step returns
what it found; it raises TemporaryDeviceError to be tried again, and anything else to have the order held. Nothing
decides by what a device acknowledged: only by what was read back, or seen of a live session afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import ServiceId, SubscriptionId
from controller.domain.ports import CoaOutcome, SubscriberDirectory
from controller.domain.service import DesiredService, Plan
from erp.orders.model import Action, Order
from erp.orders.service import OrderService, Work

STEPS: dict[Action, tuple[str, ...]] = {
    Action.ADD: ("subscriber", "desired", "converge", "enable", "complete"),
    Action.MODIFY: ("desired", "converge", "profile", "sessions", "complete"),
    Action.DELETE: ("disable", "disconnect", "desired", "converge", "disconnect-late", "withdraw", "complete"),
}
"""The road of each action."""

BACK: dict[Action, tuple[str, ...]] = {
    Action.ADD: ("undo-subscriber", "undo-desired", "undo-converge", "undo-disconnect", "undone"),
    Action.MODIFY: ("undo-desired", "undo-converge", "undo-profile", "undo-sessions", "undone"),
    Action.DELETE: ("undo-desired", "undo-converge", "undo-disable", "undone"),
}
"""The road back of an order that was cancelled. It is gone whole, wherever the order stood: what a crash kept from
being recorded may have been done all the same, and undoing what was not done changes nothing."""

NETWORK, SERVICE_DESK, ENGINEERING = "network-operations", "service-desk", "engineering"
"""Owner teams of held orders: the device or read-back, a rule of ours, a bug of ours."""


IsOff = Callable[[SubscriptionId], Awaitable[bool]]
"""Whether a pause keeps a line out of use today."""

_SESSION_UNKNOWN = 503
"""Error-Cause "Session Context Not Found" (RFC 5176 §3.5)."""


class Verification(Protocol):
    """What was read back after a change: equal to what was desired, or how not."""

    @property
    def verified(self) -> bool: ...
    @property
    def at(self) -> datetime: ...
    @property
    def differences(self) -> tuple[str, ...]: ...


class SessionVerification(Protocol):
    """Evidence of live sessions: "verified" (by rate), "class-echoed", "pending", "mismatch", "refused",
    "no-session"."""

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

    async def withdraw(self, service_id: ServiceId, *, actor: str) -> bool: ...

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
    session_end_wait_s: float = 120.0
    """How long the Stop of a session that shall end may take to be recorded."""
    disconnect_again_s: float = 20.0
    """Between two requests to end it: the first may be lost."""
    sweep_s: float = 30.0
    """Between two searches for accepted orders whose workflow was never started: the process died in between."""


class Fallout(Exception):
    """A step ended in a way that a person must look at."""

    def __init__(self, owner_team: str, cause: str) -> None:
        super().__init__(cause)
        self.owner_team = owner_team
        self.cause = cause


class TurnedBack(Exception):
    """The order was cancelled while a step of its way forwards waited."""


class OrderSteps:
    """`effects` maps each step but the last of a road to what it does."""

    def __init__(
        self,
        clock: Clock,
        orders: OrderService,
        provisioning: Provisioning,
        directory: SubscriberDirectory,
        sessions: SessionEnder | None,
        settings: FulfilmentSettings,
        *,
        is_off: IsOff | None = None,
    ) -> None:
        self._clock = clock
        self._orders = orders
        self._provisioning = provisioning
        self._directory = directory
        self._sessions = sessions
        self._settings = settings
        self._is_off = is_off
        self.effects: Mapping[str, Callable[[Work, str], Awaitable[dict[str, Any]]]] = {
            "subscriber": self._put_subscriber,
            "desired": self._set_desired,
            "converge": self._converge,
            "enable": self._enable,
            "profile": self._set_profile,
            "sessions": self._change_sessions,
            "disable": self._disable,
            "disconnect": self._disconnect,
            "disconnect-late": self._disconnect,
            "withdraw": self._withdraw_login,
            "undo-subscriber": self._withdraw_login,
            "undo-disconnect": self._disconnect,
            "undo-desired": self._undo_desired,
            "undo-converge": self._converge,
            "undo-profile": self._set_profile,
            "undo-sessions": self._undo_sessions,
            "undo-disable": self._enable,
        }

    async def _put_subscriber(self, work: Work, step: str) -> dict[str, Any]:
        subscription = work.subscription
        await self._directory.put_subscriber(
            service_id=subscription.service_id,
            username=subscription.username,
            password=await self._orders.password(work.order.order_id),
            profile=work.tariff.profile,
            framed_ipv4=subscription.framed_ipv4,
            enabled=False,
            actor=work.actor,
        )
        return {}

    async def _set_desired(self, work: Work, step: str) -> dict[str, Any]:
        await self._provisioning.set_desired(work.desired, actor=work.actor)
        return {}

    async def _converge(self, work: Work, step: str) -> dict[str, Any]:
        if work.done.get("undo-desired", {}).get("unknown"):
            return {}  # no device was ever told of it
        await self._orders.start_step(work.order, step)
        seen = await self._provisioning.converge(work.order.service_id, actor=work.actor)
        if not seen.verified:
            raise Fallout(NETWORK, "read back is not as ordered: " + "; ".join(seen.differences))
        return {"at": seen.at.isoformat()}

    async def _undo_desired(self, work: Work, step: str) -> dict[str, Any]:
        """What was desired before: absent for a line that was being added, where anything was desired of it at all."""
        if work.desired.present:
            return await self._set_desired(work, step)
        known = await self._provisioning.withdraw(work.order.service_id, actor=work.actor)
        return {} if known else {"unknown": True}

    async def _enable(self, work: Work, step: str) -> dict[str, Any]:
        """A line that is paused stays out of use: whoever ends the pause gives the login back."""
        if self._is_off is not None and await self._is_off(work.subscription.subscription_id):
            return {"paused": True}
        await self._directory.set_enabled(service_id=work.order.service_id, enabled=True, actor=work.actor)
        return {}

    async def _disable(self, work: Work, step: str) -> dict[str, Any]:
        await self._directory.set_enabled(service_id=work.order.service_id, enabled=False, actor=work.actor)
        return {}

    async def _withdraw_login(self, work: Work, step: str) -> dict[str, Any]:
        await self._directory.withdraw_subscriber(service_id=work.order.service_id, actor=work.actor)
        return {}

    async def _disconnect(self, work: Work, step: str) -> dict[str, Any]:
        """End live sessions, then wait, but not for ever, until none is left.

        An ACK ends nothing here: a session has ended when its Stop was recorded, and what lives on is used unbilled.
        Looked at again when the devices are done: a login may have been accepted just before it was disabled.
        """
        if self._sessions is None:
            return {"answers": {}}
        order = work.order
        await self._orders.start_step(order, step)
        answers: dict[str, str] = {}
        unknown: set[str] = set()
        give_up_at = asyncio.get_running_loop().time() + self._settings.session_end_wait_s
        ask_again_at = 0.0
        while live := await self._sessions.live_sessions(order.service_id):
            now = asyncio.get_running_loop().time()
            if now >= give_up_at:
                raise Fallout(NETWORK, _lives_on(live, answers, unknown))
            await self._stay_ahead(order)
            if now >= ask_again_at:
                if ask_again_at:
                    await self._orders.wait(order, step, "a live session has not ended yet")
                for key in live:
                    await self._end(key, work.actor, answers, unknown)
                ask_again_at = asyncio.get_running_loop().time() + self._settings.disconnect_again_s
            await asyncio.sleep(self._settings.evidence_poll_s)
        return {"answers": answers}

    async def _stay_ahead(self, order: Order) -> None:
        """Raises TurnedBack when the order was cancelled while it was waited for something."""
        if not await self._orders.goes_as(order):
            raise TurnedBack

    async def _end(self, key: str, actor: str, answers: dict[str, str], unknown: set[str]) -> None:
        """Ask the NAS for the end of one session and note what it says."""
        assert self._sessions is not None
        try:
            outcome = await self._sessions.disconnect(key, actor=actor, reason="terminated")
        except NotFound as error:
            answers[key] = str(error)
            return
        answers[key] = " ".join(str(part) for part in (outcome.result, outcome.error_cause, outcome.detail) if part)
        if outcome.error_cause == _SESSION_UNKNOWN:
            unknown.add(key)

    async def _set_profile(self, work: Work, step: str) -> dict[str, Any]:
        await self._directory.set_profile(
            service_id=work.order.service_id, profile=work.tariff.profile, actor=work.actor
        )
        return {}

    async def _undo_sessions(self, work: Work, step: str) -> dict[str, Any]:
        """Only sessions that were asked for the new speed can have it."""
        return await self._change_sessions(work, step) if "sessions" in work.begun else {}

    async def _change_sessions(self, work: Work, step: str) -> dict[str, Any]:
        """Tell live sessions the new speed, then wait, but not for ever, until it was seen on them.

        What is not answered is asked again meanwhile; what is refused ends the waiting at once.
        """
        order = work.order
        await self._orders.start_step(order, step)
        since = self._clock.now()
        answers = await self._provisioning.change_live_sessions(order.service_id)
        give_up_at = asyncio.get_running_loop().time() + self._settings.evidence_wait_s
        shown = False
        while True:
            seen = await self._provisioning.verify_live_sessions(order.service_id, since)
            if seen.state in ("verified", "class-echoed", "no-session"):
                evidence = {"verdict": seen.state, "evidence": "; ".join(seen.details)}
                return {"at": self._clock.now().isoformat()} | evidence
            if seen.state == "refused":
                raise Fallout(NETWORK, "the NAS did not take the new speed: " + "; ".join(seen.details))
            if asyncio.get_running_loop().time() >= give_up_at:
                raise Fallout(NETWORK, _no_evidence(seen, answers))
            await self._stay_ahead(order)
            if not shown:
                await self._orders.wait(order, step, "a live session has not shown the new speed yet")
                shown = True
            await asyncio.sleep(self._settings.evidence_poll_s)


def _lives_on(live: Sequence[str], answers: Mapping[str, str], unknown: Collection[str]) -> str:
    """Why an order that ends a service is held: what lives on, what its NAS said of it, and what to do about it."""
    causes = []
    for key in live:
        said = f"session {key} has not ended; its NAS answered {answers.get(key, 'nothing yet')}"
        if key in unknown:
            said += (
                ": it does not know the session, and no Stop came; redrive the order when the session has gone stale"
            )
        causes.append(said)
    return "; ".join(causes)


def _no_evidence(seen: SessionVerification, answers: Sequence[SessionChange]) -> str:
    told = [f"{answer.session_key} answered {answer.outcome.result} {answer.outcome.detail}" for answer in answers]
    return f"the live session was not seen at the new speed ({seen.state}): " + "; ".join([*seen.details, *told])


def next_step(work: Work) -> str:
    """The first step not done of the road that the order is on. The last one ends it, so there always is one."""
    road = BACK if work.order.cancelled_by else STEPS
    return next(step for step in road[work.order.action] if step not in work.done)


def verified_at(work: Work) -> datetime:
    """The last moment at which the network was seen to be as ordered."""
    return max(datetime.fromisoformat(result["at"]) for result in work.done.values() if "at" in result)

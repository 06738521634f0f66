"""The steps of an order, each an effect on one room, and what the rooms must offer for them.

Each may run again after a crash, so each effect reads before it writes, or says the same thing again. A step returns
what it found; it raises TemporaryDeviceError to be tried again, and anything else to have the order held. Nothing
decides by what a device acknowledged: only by what was read back, or seen of a live session afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import ServiceId
from controller.domain.ports import CoaOutcome, Plan, SubscriberDirectory
from controller.domain.service import DesiredService
from erp.orders.model import Action
from erp.orders.service import OrderService, Work

STEPS: dict[Action, tuple[str, ...]] = {
    Action.ADD: ("subscriber", "desired", "converge", "enable", "complete"),
    Action.MODIFY: ("desired", "converge", "profile", "sessions", "complete"),
    Action.DELETE: ("disable", "disconnect", "desired", "converge", "complete"),
}
"""The road of each action."""

NETWORK, SERVICE_DESK, ENGINEERING = "network-operations", "service-desk", "engineering"
"""Owner teams of held orders: the device or read-back, a rule of ours, a bug of ours."""


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


class OrderSteps:
    """`effects` maps each step but "complete" to what it does."""

    def __init__(
        self,
        clock: Clock,
        orders: OrderService,
        provisioning: Provisioning,
        directory: SubscriberDirectory,
        sessions: SessionEnder | None,
        settings: FulfilmentSettings,
    ) -> None:
        self._clock = clock
        self._orders = orders
        self._provisioning = provisioning
        self._directory = directory
        self._sessions = sessions
        self._settings = settings
        self.effects: Mapping[str, Callable[[Work], Awaitable[dict[str, Any]]]] = {
            "subscriber": self._put_subscriber,
            "desired": self._set_desired,
            "converge": self._converge,
            "enable": self._enable,
            "profile": self._set_profile,
            "sessions": self._change_sessions,
            "disable": self._disable,
            "disconnect": self._disconnect,
        }

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


def _no_evidence(seen: SessionVerification, answers: Sequence[SessionChange]) -> str:
    told = [f"{answer.session_key} answered {answer.outcome.result} {answer.outcome.detail}" for answer in answers]
    return f"the live session was not seen at the new speed ({seen.state}): " + "; ".join([*seen.details, *told])


def verified_at(work: Work) -> datetime:
    """The last moment at which the network was seen to be as ordered."""
    return max(datetime.fromisoformat(result["at"]) for result in work.done.values() if "at" in result)

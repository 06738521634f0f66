"""Takes paused lines out of use and puts them back: the login is refused, its sessions end, and later all is restored.

What is agreed is data; this loop compares it with what was done, on every sweep, and does the difference. A sweep that
dies in between is followed by another, which does the same again: refusing a login that is refused changes nothing.

A line that ends stays out of use. Its login is not given back while an order of it is under way, and what an order
that came just then took away is taken away again: nobody ends with a login that nothing is sold for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.errors import NotFound, RuleError
from controller.domain.identity import ServiceId
from controller.domain.ports import CoaOutcome
from erp.orders.model import SubscriptionState
from erp.orders.pause_model import LinePause
from erp.orders.pauses import PauseService

log = structlog.get_logger()

_ACTOR = "system:workflows"
_DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)

_switched = Counter("headend_pauses_total", "Lines taken out of use for a pause, and put back", ["to"])
_refused = Counter("headend_pauses_refused_total", "Attempts to switch a paused line that a rule refused")


class Logins(Protocol):
    """Of radius.subscribers.SubscriberService: whether the next login is accepted."""

    async def set_enabled(self, *, service_id: ServiceId, enabled: bool, actor: str) -> None: ...


class Sessions(Protocol):
    """Of radius.sessions.SessionController."""

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]: ...

    async def disconnect(self, session_key: str, *, actor: str, reason: str | None = None) -> CoaOutcome: ...


@dataclass(frozen=True, slots=True)
class PauseSettings:
    sweep_s: float = 5.0
    """Between two looks at the clock: how late a line may be taken out of use, or put back."""


class LinePauses:
    """`run` is its background task."""

    def __init__(
        self, pauses: PauseService, logins: Logins, sessions: Sessions, settings: PauseSettings | None = None
    ) -> None:
        self._pauses = pauses
        self._logins = logins
        self._sessions = sessions
        self._settings = settings or PauseSettings()

    async def run(self) -> None:
        """For ever: make it so."""
        while True:
            try:
                await self.sweep()
            except _DATABASE_AWAY as error:
                log.warning("pauses.sweep_failed", error=str(error))
            await asyncio.sleep(self._settings.sweep_s)

    async def sweep(self) -> None:
        """One look at every pause whose line is not as it should be."""
        for pause, off in await self._pauses.due():
            try:
                done = await (self._take_off(pause) if off else self._put_back(pause))
            except RuleError as error:  # one line that cannot be switched keeps no other waiting
                _refused.inc()
                log.error("pauses.refused", pause_id=pause.pause_id, service_id=pause.service_id, error=str(error))
                continue
            if done:
                await self._pauses.set_off(pause.pause_id, off=off, actor=_ACTOR)
                _switched.labels("off" if off else "on").inc()
                log.info("pauses.switched", pause_id=pause.pause_id, service_id=pause.service_id, off=off)

    async def _take_off(self, pause: LinePause) -> bool:
        """Whether no session is left; one that is was asked to end, and the next sweep looks again."""
        try:
            await self._logins.set_enabled(service_id=pause.service_id, enabled=False, actor=_ACTOR)
        except NotFound as error:
            log.warning("pauses.no_login", pause_id=pause.pause_id, error=str(error))
            return True
        live = await self._sessions.live_sessions(pause.service_id)
        for key in live:
            try:
                await self._sessions.disconnect(key, actor=_ACTOR, reason=f"{pause.kind.value} pause")
            except NotFound:
                log.info("pauses.session_ended_meanwhile", session_key=key)
        return not live

    async def _put_back(self, pause: LinePause) -> bool:
        line, busy = await self._pauses.living(pause.subscription_id)
        if line is None or line.state is not SubscriptionState.ACTIVE:
            return True  # it ended while it was paused: there is nothing to put back
        if busy:
            return False
        if await self._pauses.is_off(pause.subscription_id):
            return True  # another pause goes on
        await self._logins.set_enabled(service_id=pause.service_id, enabled=True, actor=_ACTOR)
        line, busy = await self._pauses.living(pause.subscription_id)
        if busy or line is None or line.state is not SubscriptionState.ACTIVE:
            await self._logins.set_enabled(service_id=pause.service_id, enabled=False, actor=_ACTOR)
            return False
        return True

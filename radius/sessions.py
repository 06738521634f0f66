"""Live sessions under control: change a speed by CoA, end a session by Disconnect, and look what was observed next.

Implements controller.domain.ports.SessionControl. An ACK is the NAS's word; the proof is the next accounting record,
which names the rate in the vendor's own attribute or, weaker, returns the Class of the CoA: a NAS may keep the new
Class and apply half of the change. Which of the two suffices is the NAS's policy (`Nas.class_proves_speed`).
Everything asked for goes through `changes`, which pursues it until it was observed or is given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import ServiceId
from controller.domain.ports import CoaOutcome, SessionRate
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius.coa import CoaClient
from radius.dynamic.model import Change, Kind, Patience, Wanted
from radius.dynamic.queue import ChangeQueue
from radius.dynamic.reach import FindNas, Reach, ToldLimit
from radius.ports import LiveSession, Sessions
from radius.protocol.nas import Nas
from radius.vendors import reply
from radius.vendors.mark import read_class
from radius.vendors.terms import Garden

IsSuspended = Callable[[str], Awaitable[bool]]
"""SubscriberService.is_suspended: whether a service is in the walled garden."""
IsThrottled = Callable[[str], Awaitable[bool]]
"""SubscriberService.is_throttled: whether fair use has put another speed in place of the plan's."""

SESSION_CONTEXT_NOT_FOUND = 503
"""Error-Cause of RFC 5176 §3.5; also our own answer when there is nobody to send to."""
_GONE = CoaOutcome("nak", SESSION_CONTEXT_NOT_FOUND, "nothing was sent: no such live session")


class SessionController:
    """What others want of live sessions, by session key. `changes.run` pursues it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        find_nas: FindNas,
        sessions: Sessions,
        client: CoaClient,
        *,
        session_timeout_s: int = 0,
        garden: Garden | None = None,
        is_suspended: IsSuspended | None = None,
        is_throttled: IsThrottled | None = None,
        patience: Patience | None = None,
        process: str = "",
        zone: ZoneInfo | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._is_suspended = is_suspended
        self._is_throttled = is_throttled
        self._reach = Reach(
            database, find_nas, sessions, client, session_timeout_s=session_timeout_s, garden=garden,
            zone=zone or ZoneInfo("UTC"),
        )  # fmt: skip
        self.changes = ChangeQueue(
            database, clock, self._reach, _proof, is_suspended=is_suspended, patience=patience, process=process
        )

    def limit_by(self, told: ToldLimit | None) -> None:
        """Who knows how long prepaid credit lets a session last."""
        self._reach.told_limit = told

    def watch(self, tap: Callable[[Nas, LiveSession], None] | None) -> None:
        """Tell `tap` whose session is about to be asked for something, or nobody."""
        self._reach.tap = tap

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]:
        return [session.session_key for session in await self._sessions.live_sessions_of(service_id)]

    async def sessions_on_plan(self, service_id: ServiceId) -> Sequence[str]:
        if await self._has_other_speed(service_id):
            return []
        return await self.live_sessions(service_id)

    async def _has_other_speed(self, service_id: str) -> str:
        """Why a service's sessions have another speed than its plan's; the empty text where they have that."""
        if self._is_suspended is not None and await self._is_suspended(service_id):
            return "the service is suspended, and a new plan would free it"
        if self._is_throttled is not None and await self._is_throttled(service_id):
            return "fair use has throttled the service; top it up or change its allowance first"
        return ""

    async def change_speed(
        self, session_key: str, profile: SpeedProfile, *, actor: str = "system:provisioning"
    ) -> CoaOutcome:
        """Send the plan's attributes and a new Class naming it. "nak" 503 when the session is not live any more."""
        session = await self._sessions.live_session(session_key)
        if session is None or session.service_id is None:
            return _GONE
        if why := await self._has_other_speed(session.service_id):
            return CoaOutcome("nak", None, f"nothing was sent: {why}")
        return await self.changes.ask(session_key, Wanted(Kind.SPEED, profile), actor=actor) or _GONE

    async def failures(self, service_id: ServiceId) -> Mapping[str, str]:
        """Live sessions whose newest change was refused or given up, with the reason in words."""
        return await self.changes.failures(list(await self.live_sessions(service_id)))

    async def close_garden(self, session_key: str, *, actor: str = "system:radius") -> CoaOutcome:
        """Send what puts a session into the walled garden; where there is none, end the session."""
        kind = Kind.DISCONNECT if self._reach.garden is None else Kind.SUSPEND
        return await self.changes.ask(session_key, Wanted(kind), actor=actor) or _GONE

    async def open_garden(self, session_key: str, profile: SpeedProfile, *, actor: str = "system:radius") -> CoaOutcome:
        """Send what takes a session out of the walled garden, to the full plan."""
        return await self.changes.ask(session_key, Wanted(Kind.RESUME, profile), actor=actor) or _GONE

    async def observed_rate(self, session_key: str, since: datetime) -> SessionRate | None:
        """The evidence of the newest accounting record after `since`; None until there is one that says something."""
        found = await self._reach.find(session_key)
        return None if found is None else observed(*found, since)

    async def disconnect(self, session_key: str, *, actor: str, reason: str | None = None) -> CoaOutcome:
        """End one session; its row ends with the Stop, not with the ACK. Raises NotFound when it is not live."""
        outcome = await self.changes.ask(session_key, Wanted(Kind.DISCONNECT), actor=actor)
        if outcome is None:
            raise NotFound(f"no live session {session_key}, or its NAS is not registered any more")
        async with self._database.begin() as conn:
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="session.disconnect",
                subject=f"session:{session_key}",
                after={"result": outcome.result, "error_cause": outcome.error_cause, "detail": outcome.detail},
                reason=reason,
            )
        return outcome


def observed(session: LiveSession, nas: Nas, since: datetime) -> SessionRate | None:
    """What the newest accounting record tells of the speed, where it came after `since` and tells anything."""
    if session.evidence_at is None or session.evidence_at <= since:
        return None
    rates, read_rate = None, reply.vendor(nas.vendor).read_rate
    if session.last_rate is not None and read_rate is not None:
        rates = read_rate(session.last_rate)
    mark = read_class(session.last_class)
    if mark is None and rates is None:
        return None
    return SessionRate(
        session_key=session.session_key,
        profile_name=None if mark is None else mark.profile_name,
        downstream_bps=None if rates is None else rates.downstream_bps,
        upstream_bps=None if rates is None else rates.upstream_bps,
        observed_at=session.evidence_at,
        source=_source(mark is not None, rates is not None),
        class_suffices=nas.class_proves_speed,
    )


def _proof(session: LiveSession, nas: Nas, change: Change) -> SessionRate | None:
    return None if change.shown_since is None else observed(session, nas, change.shown_since)


def _source(by_class: bool, by_rate: bool) -> str:
    if by_class and by_rate:
        return "Class and rate attribute of an accounting record"
    return "Class of an accounting record" if by_class else "rate attribute of an accounting record"

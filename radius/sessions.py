"""Live sessions under control: change a speed by CoA, end a session by Disconnect, and look what was observed next.

Implements controller.domain.ports.SessionControl. An ACK is the NAS's word; the proof is the next accounting record,
which names the rate in the vendor's own attribute or, weaker, returns the Class of the CoA: a NAS may keep the new
Class and apply half of the change. Which of the two suffices is the NAS's policy (`Nas.class_proves_speed`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from controller.domain.clock import Clock
from controller.domain.errors import NotFound
from controller.domain.identity import NasId, ServiceId
from controller.domain.ports import CoaOutcome, SessionRate
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius.authorization.plan import ServiceTerms
from radius.coa import CoaClient
from radius.ports import LiveSession, Sessions
from radius.protocol.codes import COA_REQUEST, DISCONNECT_REQUEST, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import attribute
from radius.vendors import reply
from radius.vendors.mark import read_class
from radius.vendors.model import Vendor
from radius.vendors.terms import Garden

FindNas = Callable[[NasId], Awaitable[Nas | None]]
"""Follower.nas: a NAS as it is registered at this moment."""

IsSuspended = Callable[[str], Awaitable[bool]]
"""SubscriberService.is_suspended: whether a service is in the walled garden."""

SESSION_CONTEXT_NOT_FOUND = 503
"""Error-Cause of RFC 5176 §3.5; also our own answer when there is nobody to send to."""
_GONE = CoaOutcome("nak", SESSION_CONTEXT_NOT_FOUND, "nothing was sent: no such live session")


class SessionController:
    """Finds the session, its NAS and the vendor's words, and sends."""

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
    ) -> None:
        self._database = database
        self._clock = clock
        self._find_nas = find_nas
        self._sessions = sessions
        self._client = client
        self._session_timeout_s = session_timeout_s
        self._garden = garden
        self._is_suspended = is_suspended

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]:
        return [session.session_key for session in await self._sessions.live_sessions_of(service_id)]

    async def change_speed(self, session_key: str, profile: SpeedProfile) -> CoaOutcome:
        """Send the plan's attributes and a new Class naming it. "nak" 503 when the session is not live any more."""
        found = await self._find(session_key)
        if found is None:
            return _GONE
        session, nas, kind, service_id = found
        if self._is_suspended is not None and await self._is_suspended(service_id):
            return CoaOutcome("nak", None, "nothing was sent: the service is suspended, and a new plan would free it")
        plan = reply.plan_attributes(kind, profile, service_id, self._session_timeout_s)
        return await self._client.send(nas, COA_REQUEST, _identity(kind, session) + plan)

    async def close_garden(self, session_key: str) -> CoaOutcome:
        """Send what puts a session into the walled garden; where there is none, end the session."""
        found = await self._find(session_key)
        if found is None:
            return _GONE
        session, nas, kind, service_id = found
        if self._garden is None:
            return await self._client.send(nas, DISCONNECT_REQUEST, _identity(kind, session))
        body = reply.suspend_attributes(kind, self._garden, service_id, self._session_timeout_s)
        return await self._client.send(nas, COA_REQUEST, _identity(kind, session) + body)

    async def open_garden(self, session_key: str, profile: SpeedProfile, in_force: ServiceTerms) -> CoaOutcome:
        """Send what takes a session out of the walled garden, to the full plan."""
        found = await self._find(session_key)
        if found is None:
            return _GONE
        session, nas, kind, service_id = found
        body = reply.resume_attributes(
            kind, self._garden or Garden(), profile, in_force.grant.filters, service_id, self._session_timeout_s
        )
        return await self._client.send(nas, COA_REQUEST, _identity(kind, session) + body)

    async def _find(self, session_key: str) -> tuple[LiveSession, Nas, Vendor, str] | None:
        session = await self._sessions.live_session(session_key)
        nas = None if session is None else await self._find_nas(session.nas_id)
        if session is None or nas is None or session.service_id is None:
            return None
        return session, nas, reply.vendor(nas.vendor), session.service_id

    async def observed_rate(self, session_key: str, since: datetime) -> SessionRate | None:
        """The evidence of the newest accounting record after `since`; None until there is one that says something."""
        session = await self._sessions.live_session(session_key)
        if session is None or session.evidence_at is None or session.evidence_at <= since:
            return None
        nas = await self._find_nas(session.nas_id)
        rates = None
        if nas is not None and session.last_rate is not None:
            read_rate = reply.vendor(nas.vendor).read_rate
            rates = None if read_rate is None else read_rate(session.last_rate)
        mark = read_class(session.last_class)
        if mark is None and rates is None:
            return None
        return SessionRate(
            session_key=session_key,
            profile_name=None if mark is None else mark.profile_name,
            downstream_bps=None if rates is None else rates.downstream_bps,
            upstream_bps=None if rates is None else rates.upstream_bps,
            observed_at=session.evidence_at,
            source=_source(mark is not None, rates is not None),
            class_suffices=nas is not None and nas.class_proves_speed,
        )

    async def disconnect(self, session_key: str, *, actor: str, reason: str | None = None) -> CoaOutcome:
        """End one session; its row ends with the Stop, not with the ACK. Raises NotFound when it is not live."""
        session = await self._sessions.live_session(session_key)
        if session is None:
            raise NotFound(f"no live session {session_key}")
        nas = await self._find_nas(session.nas_id)
        if nas is None:
            raise NotFound(f"the NAS {session.nas_id} of session {session_key} is not registered any more")
        outcome = await self._client.send(nas, DISCONNECT_REQUEST, _identity(reply.vendor(nas.vendor), session))
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


def _identity(kind: Vendor, session: LiveSession) -> bytes:
    """What tells the NAS which session is meant: its own id for it, octet for octet, and nothing else.

    A NAS matches every attribute it is sent, so each further one is a chance to be refused with 503.
    """
    if kind.names_user:
        return attribute(Attr.USER_NAME, session.username.encode())
    return attribute(Attr.ACCT_SESSION_ID, session.acct_session_id)


def _source(by_class: bool, by_rate: bool) -> str:
    if by_class and by_rate:
        return "Class and rate attribute of an accounting record"
    return "Class of an accounting record" if by_class else "rate attribute of an accounting record"

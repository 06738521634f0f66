"""How a change is said to the NAS of a session: which request, what names the session, and the vendor's own words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import NasId
from controller.domain.ports import CoaOutcome
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius import repository
from radius.authorization import terms
from radius.authorization.conditions import closes_at
from radius.authorization.plan import ServiceTerms
from radius.coa import CoaClient
from radius.dynamic.model import Kind, Limit, Wanted
from radius.dynamic.visited import operator_of
from radius.ports import LiveSession, Sessions
from radius.protocol.codes import COA_REQUEST, DISCONNECT_REQUEST, Attr
from radius.protocol.nas import DISCONNECT, FILTER, RATE, Nas
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors import reply
from radius.vendors.model import Vendor
from radius.vendors.terms import Filters, Garden

ToldLimit = Callable[[AsyncConnection, str], Awaitable[int | None]]
"""How many seconds since its begin prepaid credit lets a live session last, by what its NAS was told; None where it
limits no time."""
FindNas = Callable[[NasId], Awaitable[Nas | None]]
"""Follower.nas: a NAS as it is registered at this moment."""


_TIMEOUT = int(Attr.SESSION_TIMEOUT)
_NEEDS = {
    Kind.SPEED: frozenset({RATE}),
    Kind.SUSPEND: frozenset({FILTER}),
    Kind.RESUME: frozenset({RATE, FILTER}),
    Kind.DISCONNECT: frozenset({DISCONNECT}),
    Kind.LIMIT: frozenset[str](),
}
"""What of a NAS's `coa_takes` a change needs. A limit needs that it takes CoA at all."""


class Reach:
    """Finds a session and its NAS, and sends. `garden` None ends the sessions of suspended services; `zone` is that
    of hours."""

    told_limit: ToldLimit | None = None
    """None where nobody keeps prepaid balances."""

    def __init__(
        self,
        database: Database,
        find_nas: FindNas,
        sessions: Sessions,
        client: CoaClient,
        *,
        session_timeout_s: int,
        garden: Garden | None,
        zone: ZoneInfo,
    ) -> None:
        self._database = database
        self._find_nas = find_nas
        self._sessions = sessions
        self._client = client
        self._session_timeout_s = session_timeout_s
        self._zone = zone
        self.garden = garden
        self.tap: Callable[[Nas, LiveSession], None] | None = None
        """Is told whose session is about to be asked for something, while somebody traces (radius.trace)."""

    async def find(self, session_key: str) -> tuple[LiveSession, Nas] | None:
        """None when the session is not live any more, or its NAS not registered."""
        session = await self._sessions.live_session(session_key)
        nas = None if session is None else await self._find_nas(session.nas_id)
        return None if session is None or nas is None else (session, nas)

    async def send(self, session: LiveSession, nas: Nas, wanted: Wanted, *, end: bool, now: datetime) -> CoaOutcome:
        """Ask for it at the instant `now`; `end` asks for the end of the session instead."""
        if self.tap is not None:
            self.tap(nas, session)
        kind = reply.vendor(nas.vendor)
        async with self._database.read() as conn:
            operator = await operator_of(conn, nas.nas_id, session.acct_session_id)
        named = identity(kind, session, operator, nas.names)
        missing = _NEEDS[Kind.DISCONNECT if end else wanted.kind] - nas.coa_takes
        if missing:
            named_so = " and no ".join(sorted(missing))
            return CoaOutcome("nak", None, f"nothing was sent: by coa_takes this NAS takes no {named_so}")
        if wanted.kind is Kind.LIMIT and not nas.coa_takes & {RATE, FILTER}:
            return CoaOutcome("nak", None, "nothing was sent: by coa_takes this NAS takes no CoA")
        if end or wanted.kind is Kind.DISCONNECT:
            return await self._client.send(nas, DISCONNECT_REQUEST, named)
        body = b"" if wanted.kind is Kind.LIMIT else await self._body(nas, session, wanted, now)
        if wanted.limit is not None:
            limit = await self._limit(nas, session, wanted, wanted.limit, now)
            once = (_TIMEOUT,) if wanted.limit.seconds is not None else ()
            body = reply.without(body, once) + limit
        return await self._client.send(nas, COA_REQUEST, named + body)

    async def _body(self, nas: Nas, session: LiveSession, wanted: Wanted, now: datetime) -> bytes:
        kind, service_id = reply.vendor(nas.vendor), session.service_id or ""
        timeout_s, garden = await self._timeout(kind, nas, session, wanted, now), self.garden or Garden()
        if wanted.kind is Kind.SUSPEND:
            return reply.suspend_attributes(kind, garden, service_id, timeout_s)
        assert wanted.profile is not None, "a speed is wanted"
        if wanted.kind is Kind.SPEED:
            return reply.plan_attributes(kind, wanted.profile, service_id, timeout_s)
        filters = await self._filters(service_id, wanted.profile)
        return reply.resume_attributes(kind, garden, wanted.profile, filters, service_id, timeout_s)

    async def _timeout(self, kind: Vendor, nas: Nas, session: LiveSession, wanted: Wanted, now: datetime) -> int:
        """For a NAS that takes no change without a Session-Timeout: what is left of the session by its terms, and by
        prepaid credit but in the garden, where nothing costs. 0 where nothing limits it, or the NAS needs none."""
        if not kind.needs_session_timeout:
            return 0
        gone = _gone(session, now)
        told = self._longest(await self._terms(session.service_id or "", wanted.profile), nas, gone, now)
        if self.told_limit is not None and wanted.kind is not Kind.SUSPEND:
            async with self._database.read() as conn:
                told += [limit for limit in (await self.told_limit(conn, session.session_key),) if limit]
        return _said(kind, min(told), gone) if told else 0

    async def _limit(self, nas: Nas, session: LiveSession, wanted: Wanted, limit: Limit, now: datetime) -> bytes:
        """In the vendor's words. No session comes further than a login of its terms would let it."""
        kind = reply.vendor(nas.vendor)
        if limit.seconds is None:
            return kind.volume_limit(limit.octets or 0)
        gone = _gone(session, now)
        longest = self._longest(await self._terms(session.service_id or "", wanted.profile), nas, gone, now)
        return integer_attribute(Attr.SESSION_TIMEOUT, _said(kind, min([limit.seconds, *longest]), gone))

    def _longest(self, found: ServiceTerms, nas: Nas, gone: int, now: datetime) -> list[int]:
        """What bounds a session that has lasted `gone` seconds, in seconds since its begin. As at a login, see
        Plan.encode: a template's Session-Timeout goes before the terms', and where there are hours, these before it."""
        own, hours = found.grant.session_timeout_s, found.conditions.hours
        told = [self._session_timeout_s if own is None else own]
        if hours:
            closing = closes_at(hours, now, self._zone)
            told.append(max(1, gone + (0 if closing is None else int((closing - now).total_seconds()))))
        else:
            extra = reply.walked(nas.reply_attributes + found.grant.extra)
            told = [int.from_bytes(octets[2:], "big") for code, octets in extra if code == _TIMEOUT] or told
        return [seconds for seconds in told if seconds]

    async def _filters(self, service_id: str, profile: SpeedProfile) -> Filters:
        return (await self._terms(service_id, profile)).grant.filters

    async def _terms(self, service_id: str, profile: SpeedProfile | None) -> ServiceTerms:
        """Of the service as it is now, over those of its offering."""
        async with self._database.read() as conn:
            row = await repository.get_subscriber(conn, service_id)
            name = profile.name if profile is not None else row["profile_name"] if row is not None else ""
            offering = terms.stored(await repository.get_offering(conn, name))
        return terms.stored(None if row is None else row["terms"]).over(offering)


def _gone(session: LiveSession, now: datetime) -> int:
    """How many seconds a session has lasted."""
    since = timedelta(0) if session.heard_at is None else now - session.heard_at
    return session.session_time_s + int(since.total_seconds())


def _said(kind: Vendor, seconds: int, gone: int) -> int:
    """So many seconds since the begin of a session, as the vendor counts them in a CoA-Request."""
    return max(1, seconds - gone) if kind.timeout_from_request else seconds


def identity(kind: Vendor, session: LiveSession, operator: bytes = b"", names: bytes = b"") -> bytes:
    """What tells the NAS which session is meant: its own id for it, octet for octet, and nothing else.

    A NAS matches every attribute it is sent, so each further one is a chance to be refused with 503. Behind another
    network's proxy its `operator` attributes lead to the NAS, and the user's name tells the proxy that we may ask;
    behind any other proxy the `names` by which that knows the NAS do (RFC 5176 §3).
    """
    name = attribute(Attr.USER_NAME, session.username.encode())
    session_id = attribute(Attr.ACCT_SESSION_ID, session.acct_session_id)
    if operator:
        return name + session_id + operator
    return (name if kind.names_user else session_id) + names

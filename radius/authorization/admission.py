"""The last step of every login, whatever method proved who it is: may it have a session now, and which?

A plain login costs one comparison. A login with conditions is looked at here; only one with a limit on sessions waits
for the table of live sessions, one of a pool of ours for an address, one of a prepaid service for a slice of its
balance (see `credit`), and so is decided later.

Which of the sessions in that table count against a limit:

    heard of within an interim interval and a tenth     counts
    silent for longer, or its NAS restarted since       does not: a killed NAS locks nobody out
    of the station that is logging in                   does not: it has lost its session, and dials again
    accepted here, no Start yet                         counts for ten seconds
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from controller.domain.clock import Clock
from radius.authorization.conditions import closes_at
from radius.authorization.credit import Credit
from radius.authorization.directory import Subscriber
from radius.pools.owner import station_in, station_of
from radius.ports import Accepts, Grants, Occupancy, Occupied
from radius.protocol.behind import nas_id_of
from radius.protocol.cause import Cause
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import Decision, Deferred
from radius.vendors.mark import service_in

_START_FOLLOWS = timedelta(seconds=10)
"""How long after an accept its Accounting-Start is waited for: until then the session is counted from memory."""


_NO_GARDEN = Cause.SUSPENDED.because("the service is suspended, and there is no walled garden")
_IN_ARREARS = Cause.SUSPENDED.because("the service is suspended until its account has paid")
_USED_UP = Cause.EXHAUSTED.because("the volume of the period is used up, and nobody topped it up")

_NO_CREDIT_CONTROL = Cause.EXHAUSTED.because("the service is prepaid, and nothing here grants slices of its balance")

Give = Callable[[], Awaitable[bytes | str]]


def rejection(reason: str, attributes: bytes = b"") -> Decision:
    return Decision(ACCESS_REJECT, attributes, "reject", reason)


class Admission:
    """`zone` is the legal entity's, in which hours are written. `grants` gives addresses of pools of ours."""

    def __init__(
        self,
        clock: Clock,
        zone: ZoneInfo,
        occupancy: Occupancy,
        grants: Grants | None = None,
        accepts: Accepts | None = None,
    ) -> None:
        """`accepts` are those of other processes, where there can be any."""
        self._clock = clock
        self._zone = zone
        self._occupancy = occupancy
        self._grants = grants
        self._accepts = accepts
        self.credit: Credit | None = None
        """Grants slices of prepaid balances; without it no prepaid service logs in."""
        self._accepted: dict[str, list[tuple[str, datetime]]] = {}

    def admit(
        self, subscriber: Subscriber, packet: Packet, nas: Nas, *, accept: bytes = b"", reject: bytes = b""
    ) -> Decision | Deferred:
        """`accept` and `reject` are attributes that the method adds to either reply."""
        plan, guard = subscriber.plan, subscriber.plan.guard
        if guard is None:
            return Decision(ACCESS_ACCEPT, accept + plan.attributes(nas) + subscriber.attributes, "accept")
        if not guard.enabled:
            return rejection(Cause.DISABLED, reject)
        if guard.expired:
            return rejection(Cause.EXPIRED, reject)
        if guard.barred:
            return rejection(_IN_ARREARS, reject)
        if guard.suspended_out:
            return rejection(_NO_GARDEN, reject)
        if guard.exhausted:
            return rejection(_USED_UP, reject)
        conditions, ends_in_s = guard.conditions, None
        refusal = conditions.refusal(packet, nas)
        if refusal is not None:
            return rejection(Cause.BOUND.because(refusal), reject)
        if conditions.hours:
            now = self._clock.now()
            closing = closes_at(conditions.hours, now, self._zone)
            if closing is None:
                hours = ", ".join(window.text for window in conditions.hours)
                words = f"{Cause.HOURS}: {hours} {self._zone.key}"
                return rejection(Cause.HOURS.because(words), reject)
            ends_in_s = max(1, int((closing - now).total_seconds()))
        shared = plan.attributes(nas) if ends_in_s is None else plan.encode(nas, ends_in_s=ends_in_s)
        accepted = Decision(ACCESS_ACCEPT, accept + shared + subscriber.attributes, "accept")
        if guard.prepaid and self.credit is None:
            return rejection(_NO_CREDIT_CONTROL, reject)
        give = None
        if guard.pools and self._grants is not None:
            give = partial(self._grants.give, guard.pools, subscriber.attributes, packet, nas)
        decide = None if give is None else partial(_given, give, accepted, reject)
        if conditions.max_sessions is not None:
            service_id, caller = service_in(subscriber.attributes), station_in(packet, nas_id_of(packet, nas)) or None
            count = partial(self._count, service_id, caller, conditions.max_sessions, accepted, reject)
            decide = count if give is None else partial(_counted_and_given, count, give, reject)
        if guard.prepaid and self.credit is not None:
            ask = partial(self.credit.ask, subscriber, packet, nas, accept, reject)
            decide = partial(_credited, decide, accepted, ask)
        return accepted if decide is None else Deferred(decide)

    async def _count(
        self, service_id: str, caller: str | None, limit: int, accepted: Decision, reject: bytes
    ) -> Decision:
        elsewhere = await self._claimed(service_id, caller)
        sessions = await self._occupancy.occupied(service_id)
        now = self._clock.now()
        counted = [session for session in sessions if _counts(session, caller, now)]
        started = {_station(session) for session in sessions}
        waiting = [
            (name, until)
            for name, until in self._accepted.get(service_id, ())
            if until > now and name != caller and name not in started
        ]
        on_the_way = {name for name, _ in waiting}.union(name for name in elsewhere if name not in started)
        if len(counted) + len(on_the_way) >= limit:
            if caller is not None and self._accepts is not None:
                await self._accepts.withdraw(service_id, caller)
            return rejection(Cause.TOO_MANY.because(_too_many(limit, counted, len(on_the_way))), reject)
        if caller is not None:
            self._accepted[service_id] = [*waiting, (caller, now + _START_FOLLOWS)]
        self._forget(now)
        return accepted

    async def _claimed(self, service_id: str, caller: str | None) -> list[str]:
        """Who was accepted by any process a moment ago; that this one will be is told them first."""
        if caller is None or self._accepts is None:
            return []
        now = self._clock.now()
        return await self._accepts.claim(service_id, caller, now, now + _START_FOLLOWS)

    def _forget(self, now: datetime) -> None:
        """Bounded: services whose last accept is long past leave once there are many."""
        if len(self._accepted) < 10_000:
            return
        self._accepted = {name: held for name, held in self._accepted.items() if held[-1][1] > now}


async def _counted_and_given(count: Callable[[], Awaitable[Decision]], give: Give, reject: bytes) -> Decision:
    decision = await count()
    return decision if decision.code == ACCESS_REJECT else await _given(give, decision, reject)


async def _credited(
    decide: Callable[[], Awaitable[Decision]] | None,
    accepted: Decision,
    ask: Callable[[Decision], Awaitable[Decision]],
) -> Decision:
    """Money last: what is refused for another reason has reserved nothing."""
    decision = accepted if decide is None else await decide()
    return decision if decision.code == ACCESS_REJECT else await ask(decision)


async def _given(give: Give, accepted: Decision, reject: bytes) -> Decision:
    """The accept with addresses, or why there are none."""
    found = await give()
    if isinstance(found, str):
        return rejection(Cause.NO_ADDRESS.because(found), reject)
    return Decision(accepted.code, accepted.attributes + found, accepted.result)


def _counts(session: Occupied, caller: str | None, now: datetime) -> bool:
    if session.is_suspect or (caller is not None and _station(session) == caller):
        return False
    return now - session.last_seen_at <= timedelta(seconds=session.interim_s * 1.1)


def _station(session: Occupied) -> str | None:
    return station_of(session.calling_station_id, session.nas_port_id, session.nas_id) or None


def _too_many(limit: int, sessions: list[Occupied], waiting: int) -> str:
    names = ", ".join(f"{session.session_key} of {session.calling_station_id}" for session in sessions[:3])
    also = f", {waiting} accepted a moment ago" if waiting else ""
    return f"{limit} sessions at once are allowed, and live are: {names or 'none'}{also}"

"""Use cases of access: what a service and an offering are given besides their speed, and suspension.

Each change is one transaction with its audit entry; logins follow at once. Suspending and resuming reach the sessions
that are live, too: by CoA into the walled garden and back, without a re-dial. What a NAS answers is told per session;
the next login is right in any case, for it reads what was committed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound, RuleError
from controller.domain.identity import NasId, ServiceId
from controller.domain.ports import CoaOutcome
from controller.domain.restriction import Measure
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius import repository
from radius.authorization import preview, restriction, terms
from radius.authorization.plan import Defaults
from radius.follower import Follower

_PREFIXES = ("ipv6_prefix", "delegated_prefix")
_SPEED = ("profile_name", "downstream_bps", "upstream_bps")


@dataclass(frozen=True, slots=True)
class Access:
    """How a service logs in, as the API shows it: everything but the password. `terms` are its own, as written."""

    service_id: str
    username: str
    profile_name: str
    enabled: bool
    suspended: bool
    framed_ipv4: str | None
    ipv6_prefix: str | None
    delegated_prefix: str | None
    restriction: Measure
    """What dunning has taken from it."""
    terms: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangedSession:
    """What the NAS of a live session answered to the CoA."""

    session_key: str
    outcome: CoaOutcome


class GardenGate(Protocol):
    """SessionController: live sessions of a service into the garden and out of it."""

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]: ...

    async def close_garden(self, session_key: str, *, actor: str) -> CoaOutcome: ...

    async def open_garden(self, session_key: str, profile: SpeedProfile, *, actor: str) -> CoaOutcome: ...


class AccessService:
    """`gate` sends the CoA. Every call may be repeated."""

    def __init__(
        self, database: Database, clock: Clock, follower: Follower, gate: GardenGate, defaults: Defaults
    ) -> None:
        self._defaults = defaults
        self._database = database
        self._clock = clock
        self._follower = follower
        self._gate = gate

    async def show(self, service_id: str) -> Access:
        """Raises NotFound."""
        async with self._database.read() as conn:
            return _access(await _row(conn, service_id))

    async def preview(self, service_id: str, nas_id: str) -> list[tuple[str, str]]:
        """(name, value) of every attribute that an Access-Accept to this NAS would carry now. Raises NotFound."""
        nas = await self._follower.nas(NasId(nas_id))
        if nas is None:
            raise NotFound(f"no NAS {nas_id}")
        async with self._database.read() as conn:
            row = await _row(conn, service_id)
            offering = terms.stored(await repository.get_offering(conn, row["profile_name"]))
        return preview.attributes(row, offering, nas, self._defaults)

    async def put_terms(
        self,
        service_id: str,
        written: Mapping[str, Any],
        *,
        ipv6_prefix: str | None,
        delegated_prefix: str | None,
        actor: str,
    ) -> Access:
        """Replace what the service is given; for its next login. Raises NotFound, RuleError, and Conflict for a prefix
        that another service has."""
        values = {
            "terms": terms.write(written),
            "ipv6_prefix": _prefix(ipv6_prefix),
            "delegated_prefix": _prefix(delegated_prefix),
        }
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await _row(conn, service_id)
            await _refuse_prefix_of_another(conn, service_id, values)
            row = await self._write(conn, before, values, actor, "subscriber.terms")
        await self._follower.refresh_subscribers()
        return _access(row)

    async def suspend(self, service_id: str, *, actor: str, reason: str | None = None) -> list[ChangedSession]:
        """Into the walled garden. Raises NotFound."""
        await self._set_suspended(service_id, True, actor, reason)
        keys = await self._gate.live_sessions(ServiceId(service_id))
        outcomes = await asyncio.gather(*(self._gate.close_garden(key, actor=actor) for key in keys))
        return [ChangedSession(*pair) for pair in zip(keys, outcomes, strict=True)]

    async def resume(self, service_id: str, *, actor: str, reason: str | None = None) -> list[ChangedSession]:
        """Out of the garden, to the full plan, or to what fair use or dunning leaves of it; to nothing of it while
        dunning keeps the service there, or out. Raises NotFound."""
        row = await self._set_suspended(service_id, False, actor, reason)
        held, sold = restriction.of_row(row), SpeedProfile(*(row[name] for name in _SPEED))
        if held.suspended or held.barred:
            return []
        profile = sold if held.throttle is None or held.throttle.profile is None else held.throttle.profile
        keys = await self._gate.live_sessions(ServiceId(service_id))
        outcomes = await asyncio.gather(*(self._gate.open_garden(key, profile, actor=actor) for key in keys))
        return [ChangedSession(*pair) for pair in zip(keys, outcomes, strict=True)]

    async def put_offering(self, profile_name: str, written: Mapping[str, Any], *, actor: str) -> None:
        """What every service of this speed profile is given, at its next login. Raises RuleError."""
        kept, now = terms.write(written), self._clock.now()
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await repository.get_offering(conn, profile_name)
            if before == kept:
                return
            await repository.put_offering(conn, profile_name, kept, now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="offering.terms",
                subject=f"profile:{profile_name}",
                before=json.loads(before or "{}"),
                after=json.loads(kept or "{}"),
            )
        await self._follower.refresh_offerings()

    async def offering(self, profile_name: str) -> Mapping[str, Any]:
        """As written; empty for a profile that nothing was written for."""
        async with self._database.read() as conn:
            found: Mapping[str, Any] = json.loads(await repository.get_offering(conn, profile_name) or "{}")
            return found

    async def offerings(self, *, after: str | None, limit: int) -> list[tuple[str, Mapping[str, Any]]]:
        """(profile name, terms) of every profile that something was written for."""
        async with self._database.read() as conn:
            rows = await repository.list_offerings(conn, after=after, limit=limit)
        return [(name, json.loads(text)) for name, text in rows]

    async def _set_suspended(self, service_id: str, suspended: bool, actor: str, reason: str | None) -> dict[str, Any]:
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            row = await _row(conn, service_id)
            if row["suspended"] != suspended:
                action = "subscriber.suspend" if suspended else "subscriber.resume"
                row = await self._write(conn, row, {"suspended": suspended}, actor, action, reason)
        await self._follower.refresh_subscribers()
        return row

    async def _write(
        self,
        conn: AsyncConnection,
        before: dict[str, Any],
        values: dict[str, Any],
        actor: str,
        action: str,
        reason: str | None = None,
    ) -> dict[str, Any]:
        now: datetime = self._clock.now()
        await repository.update_subscriber(conn, before["username"], **values, updated_at=now)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=action,
            subject=f"service:{before['service_id']}",
            before={name: before[name] for name in values},
            after=values,
            reason=reason,
        )
        return before | values


async def _row(conn: AsyncConnection, service_id: str) -> dict[str, Any]:
    row = await repository.get_subscriber(conn, service_id)
    if row is None:
        raise NotFound(f"service {service_id} has no RADIUS login")
    return row


async def _refuse_prefix_of_another(conn: AsyncConnection, service_id: str, values: Mapping[str, Any]) -> None:
    for name in _PREFIXES:
        holder = await repository.holder_of(conn, name, values[name])
        if holder is not None and holder != service_id:
            raise Conflict(f"{values[name]} belongs to service {holder} already")


def _prefix(written: str | None) -> str | None:
    if written is None:
        return None
    try:
        return str(ipaddress.IPv6Network(written))
    except ValueError:
        raise RuleError(f"{written!r} is no IPv6 prefix such as 2001:db8:7::/56, with zeros behind it") from None


def _access(row: Mapping[str, Any]) -> Access:
    shown = {name: row[name] for name in Access.__dataclass_fields__ if name not in ("restriction", "terms")}
    measure = restriction.stored(row["restriction"]).measure
    return Access(**shown, restriction=measure, terms=json.loads(row["terms"] or "{}"))

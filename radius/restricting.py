"""What dunning takes from a service, and gives back: its login and its live sessions, in the caller's transaction.

    radius_subscriber.restriction   what the next login is given
    radius_change                   what its live sessions shall be (radius.dynamic pursues that until it is observed)
    audit log                       who, and why

All of it commits with the fact it follows from, so a killed process leaves none without the other. `put` says how
things shall be and may be repeated: it then only asks sessions that are not so, such as one accepted just before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.restriction import FREE, Measure, Restriction
from controller.domain.service import SpeedProfile
from controller.store import audit
from radius import repository as logins
from radius.accounting.tables import history, sessions
from radius.accounting.views import live_sessions
from radius.authorization import restriction
from radius.authorization.restriction import Held
from radius.dynamic.model import Kind, Wanted
from radius.ports import LiveSession
from radius.quota.evaluation import Changes
from radius.vendors.mark import read_class
from radius.vendors.terms import GARDEN_PROFILE

RESTRICTED = Counter("headend_radius_restrictions", "Measures of dunning put into force, by measure.", ["measure"])


class Restricting:
    """`changes` keeps what live sessions shall be. Without a garden, who is put into it has no session."""

    def __init__(self, clock: Clock, changes: Changes, *, has_garden: bool) -> None:
        self._clock = clock
        self._changes = changes
        self._has_garden = has_garden

    async def take_turn(self, conn: AsyncConnection) -> None:
        """Wait for other writers of logins, before the caller's transaction writes what they write after that."""
        await logins.take_turn(conn)

    async def put(
        self, conn: AsyncConnection, service_id: str, wanted: Restriction, *, actor: str, reason: str
    ) -> bool:
        """Whether anything changed. A service without a login has nothing to take."""
        await logins.take_turn(conn)
        row = await logins.get_subscriber(conn, service_id)
        if row is None:
            return False
        before = restriction.stored(row["restriction"])
        if before == wanted == FREE:
            return False
        was, now = restriction.of_row(row), self._clock.now()
        after = row | {"restriction": restriction.write(wanted)}
        if before != wanted:
            await self._write(conn, row, before, wanted, now, actor, reason)
        await self._tell(conn, after, was, actor)
        return before != wanted

    async def in_force(
        self, conn: AsyncConnection, service_ids: Collection[str] | None = None
    ) -> dict[str, Restriction]:
        """What is taken from these services, or from all; those that have everything are absent."""
        rows: Mapping[str, str] = await logins.restricted(conn, service_ids)
        return {service_id: restriction.stored(text) for service_id, text in rows.items()}

    async def has_had_session(self, conn: AsyncConnection, service_id: str) -> bool:
        """Whether RADIUS has ever seen the service in use."""
        for table in (sessions, history):
            if await conn.scalar(select(table.c.session_key).where(table.c.service_id == service_id).limit(1)):
                return True
        return False

    async def _write(
        self,
        conn: AsyncConnection,
        row: dict[str, Any],
        before: Restriction,
        wanted: Restriction,
        now: datetime,
        actor: str,
        reason: str,
    ) -> None:
        written = restriction.write(wanted)
        await logins.update_subscriber(conn, row["username"], restriction=written, updated_at=now)
        RESTRICTED.labels(wanted.measure.value).inc()
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action="subscriber.restrict" if wanted.measure is not Measure.NONE else "subscriber.restore",
            subject=f"service:{row['service_id']}",
            before=_shown(before),
            after=_shown(wanted),
            reason=reason,
        )

    async def _tell(self, conn: AsyncConnection, row: dict[str, Any], was: Held, actor: str) -> None:
        now, sold = restriction.of_row(row), _sold(row)
        for session in await live_sessions(conn, row["service_id"]):
            wanted = restriction.asked(was, now, sold, has_garden=self._has_garden)
            if wanted is None:
                wanted = self._late(session, now, sold)
            if wanted is not None:
                await self._changes.enqueue(conn, session, wanted, actor=actor)

    def _late(self, session: LiveSession, now: Held, sold: SpeedProfile) -> Wanted | None:
        """What a session is asked that was authorised before the measure; a NAS that returns no Class is believed."""
        mark = read_class(session.last_class)
        if now.barred:
            return Wanted(Kind.DISCONNECT)
        if mark is None:
            return None
        if now.suspended:
            is_there = mark.profile_name == GARDEN_PROFILE
            return None if is_there else Wanted(Kind.SUSPEND if self._has_garden else Kind.DISCONNECT)
        profile = restriction.speed(now, sold)
        if profile is None:
            return Wanted(Kind.DISCONNECT)
        return None if mark.profile_name == profile.name else Wanted(Kind.SPEED, profile)


def _sold(row: Mapping[str, Any]) -> SpeedProfile:
    return SpeedProfile(row["profile_name"], row["downstream_bps"], row["upstream_bps"])


def _shown(found: Restriction) -> dict[str, Any]:
    profile = found.profile
    speed = {} if profile is None else {"downstream_bps": profile.downstream_bps, "upstream_bps": profile.upstream_bps}
    return {"measure": found.measure.value} | speed

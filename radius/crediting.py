"""What a prepaid balance does to logins and live sessions: controller.domain.ports.CreditAccess.

    radius_subscriber.credit   how the service stands: whether its logins ask for a slice, and what else holds of it
    radius_change              what live sessions shall be (radius.dynamic pursues that until it is observed)

Both commit with the movement of the balance they follow from, so a killed process leaves none without the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.credit import FinalAction, Prolonged, Standing
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.store.many import one_of
from radius import repository as logins
from radius.accounting.tables import sessions
from radius.accounting.views import live_sessions
from radius.authorization import restriction
from radius.dynamic.model import PREPAID, Kind, Limit, Wanted
from radius.pools.owner import station_of
from radius.quota.evaluation import Changes
from radius.vendors import reply


class Crediting:
    """`changes` keeps what live sessions shall be; `follow` reads logins again. Without a garden sessions end."""

    def __init__(
        self, clock: Clock, changes: Changes, follow: Callable[[], Awaitable[None]], *, has_garden: bool
    ) -> None:
        self._clock = clock
        self._changes = changes
        self._follow = follow
        self._has_garden = has_garden

    async def take_turn(self, conn: AsyncConnection) -> None:
        await logins.take_turn(conn)

    async def put(self, conn: AsyncConnection, service_id: ServiceId, standing: Standing | None) -> None:
        row = await logins.get_subscriber(conn, service_id)
        written = None if standing is None else standing.value
        if row is not None and row["credit"] != written:
            await logins.update_subscriber(conn, row["username"], credit=written, updated_at=self._clock.now())

    async def end(
        self, conn: AsyncConnection, service_id: ServiceId, session_keys: Collection[str], action: FinalAction
    ) -> None:
        walled = action is FinalAction.GARDEN and self._has_garden
        await self._ask(conn, service_id, session_keys, Wanted(Kind.SUSPEND if walled else Kind.DISCONNECT))

    async def go_on(self, conn: AsyncConnection, service_id: ServiceId, session_keys: Collection[str]) -> None:
        """To what else holds of the service: the plan, what fair use leaves of it, or nothing at all."""
        row = await logins.get_subscriber(conn, service_id)
        if row is None:
            return
        held = restriction.of_row(row)
        if held.suspended and not held.barred:
            return
        sold = SpeedProfile(row["profile_name"], row["downstream_bps"], row["upstream_bps"])
        profile = restriction.speed(held, sold)
        wanted = Wanted(Kind.DISCONNECT) if profile is None else Wanted(Kind.RESUME, profile)
        await self._ask(conn, service_id, session_keys, wanted)

    async def prolong(self, conn: AsyncConnection, service_id: ServiceId, found: Mapping[str, Prolonged]) -> None:
        """Volume only where the vendor has a limit of volume that the login was told."""
        for session in await live_sessions(conn, service_id):
            further = found.get(session.session_key)
            nas = None if further is None else await logins.get_nas(conn, session.nas_id)
            if further is None or nas is None:
                continue
            until = further.until
            if until.octets is not None and not reply.vendor(nas.vendor).volume_limit(until.octets):
                continue
            limit = Limit(until.octets, until.seconds, further.instead_of)
            await self._changes.enqueue(conn, session, Wanted(Kind.LIMIT, limit=limit), actor=PREPAID)

    async def stations(self, conn: AsyncConnection, session_keys: Collection[str]) -> dict[str, str]:
        s = sessions.c
        query = select(s.session_key, s.calling_station_id, s.nas_port_id, s.nas_id)
        rows = await conn.execute(query.where(one_of(conn, s.session_key, session_keys)))
        return {key: station_of(caller, port, nas_id) for key, caller, port, nas_id in rows}

    async def follow(self) -> None:
        await self._follow()

    async def _ask(
        self, conn: AsyncConnection, service_id: ServiceId, session_keys: Collection[str], wanted: Wanted
    ) -> None:
        for session in await live_sessions(conn, service_id):
            if session.session_key in session_keys:
                await self._changes.enqueue(conn, session, wanted, actor=PREPAID)

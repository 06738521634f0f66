"""Which step each service has reached, and what follows from it, in the caller's transaction.

A step that is reached, left by a top-up or over with its period becomes at once, together:

    radius_quota.step             what is in force
    radius_subscriber.throttle    what the next login is given
    radius_change                 what its live sessions shall be (radius.dynamic pursues that until it is observed)
    radius_quota_step, audit log  why

So there is no moment at which a killed process leaves one without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import new_id
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.metadata import to_micros
from radius import repository as logins
from radius.accounting.views import live_sessions
from radius.authorization import restriction, throttle
from radius.authorization.restriction import Held
from radius.authorization.throttle import Throttle
from radius.dynamic.model import Kind, Wanted
from radius.ports import LiveSession
from radius.quota import repository
from radius.quota.repository import QuotaRow, StepTaken, Used
from radius.vendors.mark import read_class

ACTOR = "system:fair-use"


STEPS = Counter("headend_radius_fair_use_steps", "Steps of fair use put into force, by direction.", ["direction"])
OVERSHOOT = Counter(
    "headend_radius_fair_use_overshoot_octets", "Octets that services were beyond a limit when that was seen."
)


class Changes(Protocol):
    """radius.dynamic.queue.ChangeQueue."""

    async def enqueue(self, conn: AsyncConnection, session: LiveSession, wanted: Wanted, *, actor: str) -> None: ...


class Evaluation:
    """`changes` keeps what live sessions shall be, in the same transaction."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def evaluate(self, conn: AsyncConnection, service_ids: Sequence[str], now: datetime) -> list[str]:
        """Put into force what these services' counters say; returns the services whose step changed."""
        rows = await repository.lock_quotas(conn, service_ids)
        periods = {row.service_id: row.allowance.period_at(now) for row in rows}
        wanted = [(row.service_id, to_micros(periods[row.service_id].start)) for row in rows]
        used = await repository.used(conn, wanted)
        changed = []
        for row, key in zip(rows, wanted, strict=True):
            said = used.get(key, Used())
            octets = row.allowance.counted.of(said.upstream_octets, said.downstream_octets)
            step = row.allowance.step_at(octets, said.topped_up_octets)
            end_us = to_micros(periods[row.service_id].end)
            if step != row.step:
                taken = _taken(row, step, octets, said.topped_up_octets, key[1], now)
                await self._put_into_force(conn, row, taken)
                changed.append(row.service_id)
            if (step, end_us) != (row.step, row.period_end_us):
                stepped_at = now if step != row.step else row.stepped_at
                after = replace(row, step=step, period_end_us=end_us, stepped_at=stepped_at)
                await repository.put_quota(conn, after, now)
        return changed

    async def lift(self, conn: AsyncConnection, service_id: str, now: datetime) -> None:
        """Full speed for the next login and for live sessions."""
        login = await write_login(conn, service_id, None, now)
        for session in await live_sessions(conn, service_id):
            await self._ask(conn, login, session, None)

    async def tell_latecomers(self, conn: AsyncConnection, service_ids: Sequence[str]) -> None:
        """Sessions that were accepted before a step and began after it: nobody asked anything of them."""
        for row in await repository.lock_quotas(conn, service_ids):
            login = await logins.get_subscriber(conn, row.service_id)
            left = Throttle(row.allowance.profile(row.step)) if row.step else None
            sessions = await live_sessions(conn, row.service_id)
            asked = await repository.asked_since(conn, [s.session_key for s in sessions], row.stepped_at)
            for session in sessions:
                if session.session_key not in asked and login is not None and not _has(session, login, left):
                    await logins.take_turn(conn)
                    await self._ask(conn, login, session, left)

    async def _put_into_force(self, conn: AsyncConnection, row: QuotaRow, taken: StepTaken) -> None:
        left = Throttle(row.allowance.profile(taken.step)) if taken.step else None
        login = await write_login(conn, row.service_id, left, taken.at)
        for session in await live_sessions(conn, row.service_id):
            await self._ask(conn, login, session, left)
        await repository.add_step(conn, taken)
        STEPS.labels(_direction(row.step, taken.step)).inc()
        OVERSHOOT.inc(max(0, taken.overshoot_octets))
        await audit.record(
            conn,
            now=taken.at,
            actor=ACTOR,
            action="quota.step",
            subject=f"service:{row.service_id}",
            before={"step": row.step},
            after={"step": taken.step, "profile_name": taken.profile_name, "used_octets": taken.used_octets},
        )

    async def _ask(
        self, conn: AsyncConnection, login: dict[str, Any] | None, session: LiveSession, left: Throttle | None
    ) -> None:
        """What this session shall be. One in the walled garden stays there, and a service without a login is going."""
        held = None if login is None else _held(login, left)
        if login is None or held is None or held.suspended or held.barred:
            return
        profile = restriction.speed(held, _plan(login))
        wanted = Wanted(Kind.DISCONNECT) if profile is None else Wanted(Kind.SPEED, profile)
        await self._changes.enqueue(conn, session, wanted, actor=ACTOR)


def _taken(row: QuotaRow, step: int, octets: int, topped_up: int, start_us: int, now: datetime) -> StepTaken:
    profile = row.allowance.profile(step) if step else None
    limit = row.allowance.limit(step, topped_up) if step else None
    name = None if profile is None else profile.name
    return StepTaken(new_id(now), row.service_id, step, name, start_us, limit, octets, now)


def _direction(before: int, after: int) -> str:
    return "down" if after > before else "restored" if after == 0 else "up"


def _plan(login: dict[str, Any]) -> SpeedProfile:
    return SpeedProfile(login["profile_name"], login["downstream_bps"], login["upstream_bps"])


def _held(login: dict[str, Any], left: Throttle | None) -> Held:
    """What is taken from a login once fair use leaves it `left`."""
    return restriction.left_by(login, left)


def _has(session: LiveSession, login: dict[str, Any], left: Throttle | None) -> bool:
    """Whether the session was authorised for what is left. A NAS that returns no Class is believed."""
    mark = read_class(session.last_class)
    profile = restriction.speed(_held(login, left), _plan(login))
    return mark is None or (profile is not None and mark.profile_name == profile.name)


async def write_login(
    conn: AsyncConnection, service_id: str, left: Throttle | None, now: datetime
) -> dict[str, Any] | None:
    """What the next login is given; returns the login's row, None for a service that has none."""
    await logins.take_turn(conn)
    login = await logins.get_subscriber(conn, service_id)
    if login is not None and login["throttle"] != throttle.write(left):
        await logins.update_subscriber(conn, login["username"], throttle=throttle.write(left), updated_at=now)
    return login

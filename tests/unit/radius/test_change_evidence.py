"""A speed and a limit that are wanted of one session are each proved by what is seen, however often limits come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.store.engine import Database
from radius.dynamic.model import PREPAID, Change, Kind, Limit, State, Wanted
from radius.dynamic.repository import Asked
from radius.protocol.codes import Attr
from radius.sessions import SessionController
from radius.vendors.reply import walked
from tests.support.radius import GOLD
from tests.unit.radius.test_changes import KEY, SESSION, SILVER, World


def limit(n: int) -> Wanted:
    """The limit of the n-th slice of ten minutes."""
    return Wanted(Kind.LIMIT, limit=Limit(None, 600 * (n + 1), 600 * n))


async def prolong(world: World, process: SessionController, n: int) -> None:
    """As prepaid does with a record: in its transaction, sent by the worker."""
    async with world.database.begin() as conn:
        await process.changes.enqueue(conn, world.sessions.live[KEY], limit(n), actor=PREPAID)
    await process.changes.work()


async def changes(process: SessionController) -> list[Change]:
    """Oldest first."""
    return list(reversed(await process.changes.page(Asked(), before=None, limit=20)))


def told(body: bytes) -> set[int]:
    return {kind for kind, _ in walked(body)} & {int(Attr.CLASS), int(Attr.SESSION_TIMEOUT)}


async def test_a_speed_is_proved_by_the_record_with_which_a_limit_comes(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    for n in (1, 2):
        world.clock.advance(timedelta(seconds=300))
        world.report(SILVER.name)
        await prolong(world, process, n)
    found = await changes(process)
    assert [c.wanted.kind for c in found if c.state is State.PROVED] == [Kind.SPEED]
    assert [c.wanted for c in found if c.is_open] == [Wanted(Kind.LIMIT, limit=Limit(None, 1_800, 600))]
    assert [told(body) for _, body in world.client.sent] == [
        {int(Attr.CLASS)}, {int(Attr.SESSION_TIMEOUT)}, {int(Attr.SESSION_TIMEOUT)},
    ], "the speed is not sent again with a limit once it is seen"  # fmt: skip


async def test_each_of_a_speed_and_a_limit_is_proved_by_its_own_evidence(database: Database) -> None:
    world = World.of(database)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    world.clock.advance(timedelta(seconds=1))
    await prolong(world, process, 1)
    assert told(world.client.sent[-1][1]) == {int(Attr.CLASS), int(Attr.SESSION_TIMEOUT)}, "nothing was seen yet"
    world.clock.advance(timedelta(seconds=300))
    world.report(SILVER.name)
    await process.changes.work()
    *_, speed, alone = await changes(process)
    assert {(c.wanted.kind, c.state) for c in (speed, alone)} == {
        (Kind.SPEED, State.PROVED), (Kind.LIMIT, State.ACKNOWLEDGED),
    }  # fmt: skip
    live = world.sessions.live[KEY]
    world.sessions.live[KEY] = replace(live, session_time_s=601)
    world.clock.advance(timedelta(seconds=300))
    await process.changes.work()
    assert {c.wanted.kind for c in await changes(process) if c.state is State.PROVED} == {Kind.SPEED, Kind.LIMIT}
    assert len(world.client.sent) == 2


async def test_a_speed_that_is_never_seen_is_given_up_however_many_limits_come(database: Database) -> None:
    """Three requests are this queue's patience."""
    world = World.of(database)
    process = world.controller()
    await process.change_speed(KEY, SILVER)
    for n in range(1, 6):
        world.clock.advance(timedelta(seconds=30))
        world.report(GOLD.name)
        await prolong(world, process, n)
        world.clock.advance(timedelta(seconds=2))
        await process.changes.work()
    found = [c for c in await changes(process) if c.state is State.GIVEN_UP]
    assert [c.wanted.kind for c in found][:1] == [Kind.SPEED]
    assert "instead of silver-50" in (found[0].words or "")


@pytest.mark.parametrize("seconds", [-1, 1])
async def test_a_record_from_before_the_speed_was_asked_for_proves_nothing(database: Database, seconds: int) -> None:
    world = World.of(database)
    process = world.controller()
    world.report(SILVER.name)
    at = world.clock.now() + timedelta(seconds=10 + seconds)
    world.sessions.live[KEY] = replace(world.sessions.live[KEY], evidence_at=at)
    world.clock.advance(timedelta(seconds=10))
    await process.change_speed(KEY, SILVER)
    world.clock.advance(timedelta(seconds=5))
    await prolong(world, process, 1)
    proved = [c.wanted.kind for c in await changes(process) if c.state is State.PROVED]
    assert proved == ([Kind.SPEED] if seconds > 0 else [])
    assert SESSION.session_key == KEY

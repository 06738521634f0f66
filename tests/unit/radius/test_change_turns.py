"""Requests to one session are sent one after the other, in the order in which they were wished, by any process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from controller.domain.ports import CoaOutcome
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius.dynamic.model import Kind, State, Wanted
from radius.dynamic.repository import Asked
from radius.protocol.codes import DISCONNECT_REQUEST
from radius.protocol.nas import Nas
from radius.sessions import SessionController
from radius.vendors.mark import read_class
from radius.vendors.reply import walked
from tests.support.radius import GOLD
from tests.unit.radius.test_changes import ACK, KEY, SESSION, SILVER, Answers, World, newest

BRONZE = SpeedProfile("bronze-10", 10_000_000, 1_000_000)


class Slow(Answers):
    """The first request is answered when `go_on` is set."""

    def __init__(self, world: World) -> None:
        super().__init__([ACK], world.clock)
        self.go_on = asyncio.Event()

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        first = not self.sent
        outcome = await super().send(nas, code, attributes)
        if first:
            await self.go_on.wait()
        return outcome

    @property
    def speeds(self) -> list[str]:
        found = []
        for _, body in self.sent:
            marks = [read_class(octets[2:]) for kind, octets in walked(body) if kind == 25]
            found += [mark.profile_name for mark in marks if mark is not None]
        return found


@asynccontextmanager
async def first_under_way(database: Database) -> AsyncIterator[tuple[World, Slow, asyncio.Task[CoaOutcome]]]:
    world = World.of(database)
    world.client = slow = Slow(world)
    task = asyncio.create_task(world.controller("one").change_speed(KEY, SILVER))
    async with asyncio.timeout(20):
        await slow.asked.wait()
        yield world, slow, task
        await asyncio.wait([task])


async def written(process: SessionController, count: int) -> None:
    """Until so many changes of the session are known."""
    while len(await process.changes.page(Asked(), before=None, limit=9)) < count:  # noqa: ASYNC110 - rows tell nobody
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", ["one", "two"])
async def test_what_is_wanted_later_is_sent_when_the_request_before_it_is_answered(
    database: Database, name: str
) -> None:
    async with first_under_way(database) as (world, slow, task):
        other = world.controller(name)
        world.clock.advance(timedelta(seconds=1))
        later = asyncio.create_task(other.change_speed(KEY, GOLD))
        await written(other, 2)
        await asyncio.sleep(0.15)
        assert slow.speeds == ["silver-50"], "a retransmission of that would come after the newer one"
        slow.go_on.set()
        assert ((await task).result, (await later).result) == ("ack", "ack")
        assert slow.speeds == ["silver-50", GOLD.name]
        assert (await newest(other)).state is State.ACKNOWLEDGED


async def test_what_is_wanted_no_more_by_the_time_of_its_turn_is_never_sent(database: Database) -> None:
    async with first_under_way(database) as (world, slow, _):
        process = world.controller("two")
        tasks = []
        for n, profile in enumerate((GOLD, BRONZE)):
            world.clock.advance(timedelta(seconds=1))
            tasks.append(asyncio.create_task(process.change_speed(KEY, profile)))
            await written(process, n + 2)
        slow.go_on.set()
        outcomes = await asyncio.gather(*tasks)
        assert slow.speeds == ["silver-50", "bronze-10"]
        assert [o.result for o in outcomes] == ["nak", "ack"]
        assert outcomes[0].detail == "nothing was sent: something newer is wanted of the session"


async def _enqueued(world: World, process: SessionController) -> None:
    world.clock.advance(timedelta(seconds=1))
    async with world.database.begin() as conn:
        await process.changes.enqueue(conn, SESSION, Wanted(Kind.DISCONNECT), actor="system:prepaid")


async def _asked(world: World, process: SessionController) -> None:
    """And its process has died before it was sent."""
    world.clock.advance(timedelta(seconds=1))
    asking = asyncio.create_task(process.disconnect(KEY, actor="user:test"))
    await written(process, 2)
    asking.cancel()
    await asyncio.wait([asking])


@pytest.mark.parametrize(("want", "after_s"), [(_enqueued, 2), (_asked, 61)])
async def test_a_worker_leaves_a_session_alone_while_it_is_asked_by_another_process(
    database: Database, want: Callable[[World, SessionController], Awaitable[None]], after_s: int
) -> None:
    async with first_under_way(database) as (world, slow, task):
        worker = world.controller("two")
        await want(world, worker)
        for _ in range(3):
            await worker.changes.work()
        assert len(slow.sent) == 1
        slow.go_on.set()
        await task
        changed = await world.later(after_s, worker)
        assert [code for code, _ in slow.sent][1:] == [DISCONNECT_REQUEST]
        assert (changed.state, changed.tries) == (State.ACKNOWLEDGED, 1 if want is _enqueued else 2)


async def test_a_request_of_a_process_that_died_holds_nobody_up_for_longer_than_its_claim(database: Database) -> None:
    async with first_under_way(database) as (world, slow, task):
        task.cancel()
        await asyncio.wait([task])
        worker = world.controller("two")
        await _enqueued(world, worker)
        assert (await world.later(30, worker)).state is State.WAITING
        assert len(slow.sent) == 1
        assert (await world.later(31, worker)).state is State.ACKNOWLEDGED


async def test_a_process_that_is_back_frees_what_it_held_of_changes_that_were_replaced(database: Database) -> None:
    async with first_under_way(database) as (world, _, task):
        task.cancel()
        await asyncio.wait([task])
        worker = world.controller("two")
        await _enqueued(world, worker)
        await world.controller("one").changes.start()
        assert (await world.later(1, worker)).state is State.ACKNOWLEDGED

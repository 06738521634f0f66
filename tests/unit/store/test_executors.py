import asyncio
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.engine import Database
from controller.store.executors import ExecutorLost, Executors, ExecutorSettings, ExecutorTaken


class Quick(ExecutorSettings):
    """Dead after 30 s of the clock that a test moves; beats come in real time."""

    @property
    def beat_s(self) -> float:
        return 0.03


class Hand:
    """A clock that a test moves, and the note of whose work was taken over."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.taken: list[list[str]] = []

    def clock(self) -> float:
        self.asked += 1
        return self.now_s

    async def take(self, _conn: AsyncConnection, names: Sequence[str]) -> None:
        self.taken.append(list(names))


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def process(database: Database, hand: Hand) -> Callable[..., Executors]:
    def make(name: str, life: str = "1", data_dir_id: str = "") -> Executors:
        place = data_dir_id or f"dir-of-{name}"
        return Executors(database, name, data_dir_id=place, life=life, settings=Quick(), clock=hand.clock)

    return make


async def test_a_process_that_falls_silent_is_lost_after_30_s_and_one_that_beats_is_not(
    process: Callable[..., Executors], hand: Hand
) -> None:
    a, b, c = process("a"), process("b"), process("c")
    for each in (a, b, c):
        await each.claim()
    for _ in range(4):
        await b.beat()
        await b.look(hand.take)
        await c.beat()
        hand.now_s += 9.9
    assert hand.taken == []
    assert await b.living() == ["a", "b", "c"]
    hand.now_s += 0.5
    await b.look(hand.take)
    assert hand.taken == [["a"]]
    assert await b.living() == ["b", "c"]


async def test_what_a_lost_process_left_is_looked_for_again_and_again_until_it_comes_back(
    process: Callable[..., Executors], hand: Hand
) -> None:
    a, b = process("a"), process("b")
    await a.claim()
    await b.claim()
    await a.release()
    await b.look(hand.take)
    await b.look(hand.take)
    assert hand.taken == [["a"], ["a"]]
    await process("a", life="2").claim()
    await b.look(hand.take)
    assert hand.taken == [["a"], ["a"]]


async def test_a_process_that_was_only_slow_begins_nothing_new_and_learns_that_it_is_lost(
    process: Callable[..., Executors], hand: Hand
) -> None:
    a, b = process("a"), process("b")
    await a.claim()
    await b.claim()
    await b.look(hand.take)
    a.require()
    hand.now_s = 15.1
    with pytest.raises(ExecutorLost, match="silent for 15 s"):
        a.require()
    waiting = asyncio.ensure_future(a.ready())
    hand.now_s = 31.0
    await b.look(hand.take)
    assert hand.taken == [["a"]]
    with pytest.raises(ExecutorLost, match="others have gone on"):
        await a.run()
    assert not waiting.done()
    waiting.cancel()


async def test_a_silence_that_nobody_noticed_ends_with_the_next_beat(
    process: Callable[..., Executors], hand: Hand
) -> None:
    a = process("a")
    await a.claim()
    hand.now_s = 100.0
    waiting = asyncio.ensure_future(a.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    await a.beat()
    await asyncio.wait_for(waiting, 5)


async def test_a_beat_in_the_moment_of_being_declared_lost_wins(process: Callable[..., Executors], hand: Hand) -> None:
    a, b = process("a"), process("b")
    await a.claim()
    await b.claim()
    await a.beat()
    await b._declare_lost("a", 0)  # what was seen before that beat
    await a.beat()
    assert await b.living() == ["a", "b"]


async def test_a_restart_in_the_same_data_directory_has_its_name_at_once(
    process: Callable[..., Executors], hand: Hand
) -> None:
    killed = process("a")
    await killed.claim()
    await asyncio.wait_for(process("a", life="2").claim(), 5)
    with pytest.raises(ExecutorLost):
        await killed.beat()


async def test_a_name_that_a_process_elsewhere_uses_is_refused_with_what_to_do(
    process: Callable[..., Executors], hand: Hand
) -> None:
    there = process("a")
    await there.claim()
    beating = asyncio.ensure_future(there.run())
    try:
        with pytest.raises(ExecutorTaken, match="HEADEND_EXECUTOR_ID"):
            await asyncio.wait_for(process("a", life="2", data_dir_id="elsewhere").claim(), 10)
    finally:
        beating.cancel()


async def test_a_name_that_died_elsewhere_is_taken_after_30_s(process: Callable[..., Executors], hand: Hand) -> None:
    await process("a").claim()
    asked = hand.asked
    claiming = asyncio.ensure_future(process("a", life="2", data_dir_id="elsewhere").claim())
    async with asyncio.timeout(20):
        while hand.asked < asked + 3:  # once at its beginning, and after each look  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert not claiming.done()
    hand.now_s = 31.0
    await asyncio.wait_for(claiming, 5)

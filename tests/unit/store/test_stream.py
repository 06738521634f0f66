from __future__ import annotations

import asyncio

import pytest

from controller.store.stream import Stream, TooManySubscribers


async def test_a_watcher_sees_only_the_topics_it_asked_for() -> None:
    stream = Stream()
    with stream.subscribe("noc") as watcher:
        stream.publish("other", {"n": 1})
        stream.publish("noc", {"n": 2})
        assert await watcher.next() == ("noc", {"n": 2})


async def test_a_slow_watcher_sees_the_newest_state_once() -> None:
    stream = Stream()
    with stream.subscribe("noc", "orders") as watcher:
        for n in range(50):
            stream.publish("noc", {"n": n})
        stream.publish("orders", {"n": 0})
        assert [await watcher.next(), await watcher.next()] == [("noc", {"n": 49}), ("orders", {"n": 0})]
        with pytest.raises(TimeoutError):
            await watcher.next(0.01)


async def test_a_watcher_that_takes_nothing_is_dropped_and_the_others_go_on() -> None:
    stream = Stream(patience=10)
    asleep, awake = stream.subscribe("noc"), stream.subscribe("noc")
    for n in range(11):
        stream.publish("noc", {"n": n})
        assert await awake.next() == ("noc", {"n": n})
    assert (stream.watchers("noc"), stream.dropped) == (1, 1)
    assert await asleep.next() is None


async def test_closing_the_stream_ends_every_iteration() -> None:
    stream = Stream()
    seen: asyncio.Queue[object] = asyncio.Queue()

    async def watch() -> None:
        with stream.subscribe("noc") as watcher:
            async for _topic, payload in watcher:
                seen.put_nowait(payload)

    tasks = [asyncio.create_task(watch()) for _ in range(3)]
    await stream.until_watched()
    stream.publish("noc", {"n": 1})
    for _ in tasks:
        assert await seen.get() == {"n": 1}
    stream.close()
    async with asyncio.timeout(1):
        await asyncio.gather(*tasks)
    assert await stream.subscribe("noc").next() is None


async def test_watchers_are_bounded() -> None:
    stream = Stream(max_subscribers=2)
    stream.subscribe("noc")
    second = stream.subscribe("noc")
    with pytest.raises(TooManySubscribers):
        stream.subscribe("noc")
    second.close()
    stream.subscribe("noc")
    assert stream.watchers() == 2


async def test_a_publisher_can_rest_until_somebody_watches() -> None:
    stream = Stream()
    waiting = asyncio.create_task(stream.until_watched())
    await asyncio.sleep(0)
    assert not waiting.done()
    with stream.subscribe("noc"):
        await waiting
    assert not stream._watched.is_set()

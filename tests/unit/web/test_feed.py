from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from controller.store.stream import Stream
from controller.web.noc.data import NocSnapshot, to_json
from controller.web.noc.feed import MEMORY_S, TOPIC, NocFeed
from tests.support.noc import FakeNoc, snapshot

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Script:
    """Snapshots one after the other; the last again and again."""

    def __init__(self, *snapshots: NocSnapshot) -> None:
        self._left = list(snapshots)

    async def snapshot(self) -> NocSnapshot:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]

    throughput = FakeNoc.throughput


@asynccontextmanager
async def running(feed: NocFeed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_all_watchers_share_one_look_a_second() -> None:
    noc, stream = FakeNoc(snapshot(NOW)), Stream()
    watchers = [stream.subscribe(TOPIC) for _ in range(20)]
    async with running(NocFeed(noc, stream)):
        for watcher in watchers:
            update = await watcher.next(5)
            assert update is not None
            assert update[1]["live_sessions"] == 187
    assert noc.asked <= 2


async def test_a_failing_look_is_tried_again() -> None:
    noc, stream = FakeNoc(snapshot(NOW)), Stream()
    noc.failing = True
    with stream.subscribe(TOPIC) as watcher:
        async with running(NocFeed(noc, stream)):
            async with asyncio.timeout(5):
                while noc.asked == 0:  # noqa: ASYNC110 - the fake counts, it does not signal
                    await asyncio.sleep(0.01)
            noc.failing = False
            assert await watcher.next(5) is not None


async def test_five_minutes_are_remembered_for_those_who_come_later() -> None:
    start = NOW
    looks = [snapshot(start + timedelta(seconds=n), live_sessions=n) for n in (0, 1, MEMORY_S, MEMORY_S + 1)]
    stream = Stream()
    feed = NocFeed(Script(*looks), stream)
    for _ in looks:
        feed._publish(await feed._data.snapshot())
    recent = feed.recent()
    assert recent["live_sessions"] == [1, MEMORY_S, MEMORY_S + 1]
    assert recent["at"][0] == (start + timedelta(seconds=1)).timestamp()
    assert {len(column) for column in recent.values()} == {3}


def test_a_snapshot_is_json_with_instants_in_utc() -> None:
    shown = to_json(dataclasses.replace(snapshot(NOW), downstream_bps=None))
    assert shown["at"] == "2026-11-01T12:00:00Z"
    assert shown["downstream_bps"] is None
    assert shown["devices"][3]["checked_at"] is None

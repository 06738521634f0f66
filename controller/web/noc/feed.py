"""Looks at the controller once a second for all watchers together, and remembers the last five minutes for new ones."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import structlog

from controller.store.stream import Stream
from controller.web.noc.data import NocData, NocSnapshot, to_json

log = structlog.get_logger()

TOPIC = "noc"
WATCHED_INTERVAL_S = 1.0
UNWATCHED_INTERVAL_S = 5.0
"""Nobody watches: the past five minutes are still kept, coarsely, so that an opened page is not empty."""
MEMORY_S = 300


class NocFeed:
    """Publishes snapshots to `stream` under TOPIC. `run` is the background task."""

    def __init__(self, data: NocData, stream: Stream) -> None:
        self._data = data
        self._stream = stream
        self._points: deque[dict[str, Any]] = deque()

    async def run(self) -> None:
        """Forever. A snapshot that fails is logged and the next one tried: the page then says it stands still."""
        loop, failing = asyncio.get_running_loop(), False
        while True:
            started = loop.time()
            try:
                self._publish(await self._data.snapshot())
                failing = False
            except Exception as error:
                if not failing:  # once, not every second
                    log.warning("noc.snapshot_failed", exc_info=error)
                failing = True
            await self._rest(started)

    async def _rest(self, started: float) -> None:
        loop = asyncio.get_running_loop()
        if not self._stream.watchers(TOPIC):
            # A page that opens ends the rest at once.
            try:
                async with asyncio.timeout_at(started + UNWATCHED_INTERVAL_S):
                    await self._stream.until_watched()
            except TimeoutError:
                return
        await asyncio.sleep(max(0.05, started + WATCHED_INTERVAL_S - loop.time()))

    def _publish(self, snapshot: NocSnapshot) -> None:
        self._points.append(point(snapshot))
        while snapshot.at.timestamp() - self._points[0]["at"] > MEMORY_S:
            self._points.popleft()
        self._stream.publish(TOPIC, to_json(snapshot))

    def recent(self) -> dict[str, list[Any]]:
        """The remembered points in columns, as the charts take them."""
        return {name: [p[name] for p in self._points] for name in POINT_FIELDS}


POINT_FIELDS = (
    "at",
    "live_sessions",
    "access_accepts_per_s",
    "access_rejects_per_s",
    "accounting_records_per_s",
    "downstream_bps",
    "upstream_bps",
)


def point(snapshot: NocSnapshot) -> dict[str, Any]:
    """What the charts draw of a snapshot; `at` as Unix seconds."""
    return {"at": snapshot.at.timestamp()} | {name: getattr(snapshot, name) for name in POINT_FIELDS[1:]}

"""Joins what many callers write into one batch at a time: whatever arrives while a batch is stored goes into the next.

A caller returns when its own batch is stored, or gets that batch's error. Refuses to hold more than `MAX_WAITING`
samples: further callers wait for room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from controller.store.timeseries_series import Point

MAX_WAITING = 200_000


class Batches:
    """`store` is called with one batch after the other, never two at once."""

    def __init__(self, store: Callable[[Sequence[Point]], Awaitable[None]]) -> None:
        self._store = store
        self._waiting: list[Point] = []
        self._batch: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._room = asyncio.Condition()

    async def add(self, points: Sequence[Point]) -> None:
        """Returns when the points are stored. Cancelling the caller does not take them back."""
        if not points:
            return
        async with self._room:
            await self._room.wait_for(lambda: len(self._waiting) < MAX_WAITING)
        self._waiting += points
        if self._batch is None:
            self._batch = asyncio.get_running_loop().create_future()
        batch = self._batch
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        await asyncio.shield(batch)

    async def finish(self) -> None:
        """Wait for everything that was added."""
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while self._batch is not None:
            points, batch = self._waiting, self._batch
            self._waiting, self._batch = [], None
            async with self._room:
                self._room.notify_all()
            try:
                await self._store(points)
            except Exception as error:  # handed to every caller whose samples were in this batch
                batch.set_exception(error)
                batch.exception()  # a caller that was cancelled meanwhile does not look any more
            else:
                batch.set_result(None)

"""One request at a time for each session: what is wanted last is sent last, and nothing of what was before it follows.

Within a process they wait for each other; among processes a row that is claimed, also one that something newer has
replaced, is a request that may be under way. The claim of a process that died ends by time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from weakref import WeakValueDictionary

from controller.domain.clock import Clock
from controller.store.engine import Database
from radius.dynamic import repository
from radius.dynamic.model import Change
from radius.dynamic.repository import Turn

CLAIM = timedelta(seconds=60)
"""Longer than all transmissions of one request: whoever holds a claim has answered by then, or is dead."""
_POLL_S = 0.1


class Turns:
    """Of one process."""

    def __init__(self, database: Database, clock: Clock, process: str) -> None:
        self._database = database
        self._clock = clock
        self._process = process
        self._sessions: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, change: Change, *, waits: bool) -> AsyncIterator[Turn]:
        """Send it while this lasts, if it is its turn; `waits` until it is, or until whoever is before it is dead."""
        lock = self._sessions.setdefault(change.session_key, asyncio.Lock())
        if lock.locked() and not waits:
            yield Turn.LATER
            return
        async with lock:
            yield await self._take(change, waits)

    async def _take(self, change: Change, waits: bool) -> Turn:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + CLAIM.total_seconds()
        while True:
            now = self._clock.now()
            async with self._database.begin() as conn:
                turn = await repository.take_turn(conn, change, now, now + CLAIM, process=self._process)
            if turn is not Turn.LATER or not waits or loop.time() >= until_s:
                return turn
            await asyncio.sleep(_POLL_S)  # for another process, whose commit nobody tells us of

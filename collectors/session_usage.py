"""Follows the usage log and keeps `session_octets` in the time series up to it, with a durable position of its own.

    read records after the position → points (pure) → write points → one transaction: memory and position

Points first, position second: after a crash in between, the same records make the same points again, which replace
themselves. The time series may be away for days; the log waits. `rebuild` starts over from the first record and ends
at the same points. Refuses to bill: billing reads the log, never this picture of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from collectors import metrics
from collectors.settings import UsageFollowerSettings
from collectors.tables import position, session, session_count
from collectors.usage_model import MEASUREMENT, Memory, SessionState, follow, touched
from controller.domain.errors import HeadendError
from controller.domain.identity import first_id
from controller.domain.ports import TimeSeries, UsageReader
from controller.domain.usage import LoggedRecord, SessionTotals
from controller.store.courtesy import Courtesy
from controller.store.engine import USAGE, Database
from controller.store.many import insert_rows, one_of, replacing

log = structlog.get_logger()

_FOLLOWER = "session_octets"
_SESSION = (
    "session_key",
    "service_id",
    "nas_id",
    "ordinal",
    "upstream_octets",
    "downstream_octets",
    "second",
    "in_second",
    "heard_at",
)
_PRUNED = 500
"""Sessions looked at in one transaction of pruning."""
_COUNT = ("service_id", "nas_id", "sessions")


class SessionUsage:
    """One follower per installation: run it in one process only."""

    def __init__(
        self,
        database: Database,
        usage: UsageReader,
        series: TimeSeries,
        settings: UsageFollowerSettings | None = None,
    ) -> None:
        self._database = database
        self._usage = usage
        self._series = series
        self._settings = settings or UsageFollowerSettings()
        self._memory = timedelta(days=self._settings.session_memory_days)
        self._heard_at: datetime | None = None
        self._prune_at_s = 0.0
        self._woken = asyncio.Event()
        database.on_commit(USAGE, self._woken.set)

    async def run(self) -> None:
        """Background task: follow the log. While the time series or the database is away, wait and try again."""
        wait_s, courtesy = 1.0, Courtesy(self._settings.share)
        while True:
            try:
                more = True
                while more:
                    async with courtesy:
                        more = await self.follow_once() > 0
                    wait_s = 1.0
                await self._prune()
            except (HeadendError, SQLAlchemyError, OSError) as error:
                log.warning("usage_follower.waiting", error=str(error), retry_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, self._settings.retry_most_s)
            else:
                await self._wait()

    async def follow_once(self) -> int:
        """Take one batch of records; returns how many. Raises what the time series raises, and has then not moved."""
        watermark = await self._usage.watermark()
        async with self._database.read() as conn:
            start = await _position(conn)
        metrics.USAGE_LAG.set(max(watermark - start, 0))
        batch = self._settings.batch
        records = [record async for record in self._usage.records_after(start, watermark, batch)]
        if not records:
            return 0
        async with self._database.read() as conn:
            memory = await _recall(conn, records)
        samples = follow(records, memory, self._memory)
        await self._series.write(samples)
        metrics.SAMPLES.labels(MEASUREMENT).inc(len(samples))
        async with self._database.begin() as conn:
            if await _position(conn, lock=True) != start:
                return len(records)  # another process follows the log too and was quicker; the points are the same
            await _remember(conn, memory)
            await _move(conn, records[-1].record_id)
        self._heard_at = records[-1].received_at
        metrics.USAGE_LAG.set(max(watermark - records[-1].record_id, 0))
        return len(records)

    async def forget(self) -> None:
        """Delete the sessions that nothing was heard of for so long that `follow` asks nothing of their rows.

        Counted from the last record followed: what still waits in the log is not late. A day more than `follow` asks
        for, because records of several writers do not arrive in exact order.
        """
        if self._heard_at is None:
            return
        heard_before = self._heard_at - self._memory - timedelta(days=1)
        after: str | None = ""
        while after is not None:
            async with self._database.begin() as conn:
                after = await _forget(conn, after, heard_before)

    async def _prune(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._prune_at_s:
            await self.forget()
            self._prune_at_s = now_s + self._settings.prune_every_s

    async def rebuild(self) -> None:
        """Forget position and memory: the next batches write every point of the log again. Stop `run` first."""
        async with self._database.begin() as conn:
            for table in (position, session, session_count):
                await conn.execute(delete(table))

    async def _wait(self) -> None:
        """Until a commit of ours, or a while: other processes append too. Then a moment, so that records gather."""
        self._woken.clear()
        try:
            async with asyncio.timeout(self._settings.idle_s):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._settings.gather_s)


async def _position(conn: AsyncConnection, *, lock: bool = False) -> int:
    query = select(position.c.record_id).where(position.c.follower == _FOLLOWER)
    return await conn.scalar(query.with_for_update() if lock else query) or 0


async def _recall(conn: AsyncConnection, records: Sequence[LoggedRecord]) -> Memory:
    keys, pairs = touched(records)
    memory = Memory({}, {})
    wanted = select(*(session.c[name] for name in _SESSION)).where(one_of(conn, session.c.session_key, sorted(keys)))
    for key, service_id, nas_id, ordinal, upstream, downstream, second, in_second, heard_at in await conn.execute(
        wanted
    ):
        totals = SessionTotals(upstream, downstream)
        memory.sessions[key] = SessionState(key, service_id, nas_id, ordinal, totals, second, heard_at, in_second)
    services = sorted({service_id for service_id, _ in pairs})
    columns = (session_count.c.service_id, session_count.c.nas_id, session_count.c.sessions)
    # Of every NAS: a service has few.
    for service_id, nas_id, count in await conn.execute(
        select(*columns).where(one_of(conn, session_count.c.service_id, services))
    ):
        if (service_id, nas_id) in pairs:
            memory.counts[service_id, nas_id] = count
    return memory


async def _remember(conn: AsyncConnection, memory: Memory) -> None:
    states = [
        (
            state.session_key,
            state.service_id,
            state.nas_id,
            state.ordinal,
            state.totals.upstream_octets,
            state.totals.downstream_octets,
            state.second,
            state.in_second,
            state.heard_at,
        )
        for state in memory.sessions.values()
    ]
    await insert_rows(conn, session, _SESSION, states, replacing(session, _SESSION))
    # Only those that `follow` changed.
    counts = [(*pair, count) for pair, count in memory.counts.items() if pair in memory.counted]
    await insert_rows(conn, session_count, _COUNT, counts, replacing(session_count, _COUNT))


async def _forget(conn: AsyncConnection, after: str, heard_before: datetime) -> str | None:
    """Delete some of the sessions with a key after this one that nothing was heard of; where to go on, or None."""
    query = (
        select(session.c.session_key, session.c.heard_at)
        .where(session.c.session_key > after, session.c.session_key < first_id(heard_before))
        .order_by(session.c.session_key)
        .limit(_PRUNED)
    )
    rows = (await conn.execute(query)).all()
    gone = [row.session_key for row in rows if row.heard_at < heard_before]
    if gone:
        await conn.execute(delete(session).where(one_of(conn, session.c.session_key, gone)))
    return rows[-1].session_key if len(rows) == _PRUNED else None


async def _move(conn: AsyncConnection, record_id: int) -> None:
    columns = ("follower", "record_id")
    await insert_rows(conn, position, columns, [(_FOLLOWER, record_id)], replacing(position, columns))

"""Who runs on this database: each process under a name of its own, and who has fallen silent.

    beats   A: 41 … 42 … 43 |killed|  43    43    43
    B sees           43           43    43    43 → declared lost, by compare-and-set on the 43
                                  └── dead_after_s by B's own clock ──┘

A process counts upwards in its row. Another one that has seen the count stand still for `dead_after_s`, by its own
clock, declares it lost; no two machines' clocks are compared. A process that was only slow learns of it at its next
beat and ends (ExecutorLost); before that, `require` keeps it from beginning anything new once it has been silent for
longer than it may.

Refuses: a name that a living process of another data directory has (one process's files are locked by `jobs`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import BigInteger, Column, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.errors import HeadendError, RuleError
from controller.store.engine import Database
from controller.store.metadata import metadata

log = structlog.get_logger()

executor = Table(
    "store_executor",
    metadata,
    Column("executor_id", String(64), primary_key=True),
    Column("data_dir_id", String(32), nullable=False),
    Column("life", String(32), nullable=True),
    Column("beats", BigInteger, nullable=False),
)
"""`life` names one run of the process; none while it has stopped, or was declared lost."""

_AWAY = (OperationalError, InterfaceError, PoolTimeout)


class ExecutorTaken(RuleError):
    code = "executor-taken"


class ExecutorLost(HeadendError):
    """Others have taken this process for dead and go on with its work: it must end, and may start again."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """`dead_after_s`: others go on with the work of a process that was silent for so long, in seconds."""

    dead_after_s: float = 30.0

    @property
    def beat_s(self) -> float:
        """Between two signs of life, in seconds: one small commit each, and nine may be lost."""
        return self.dead_after_s / 10

    @property
    def silent_s(self) -> float:
        """A process silent for so many seconds begins nothing new: what it had begun ends before others go on."""
        return self.dead_after_s / 2


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was last seen of another process, and since when (our monotonic clock) it has not changed."""

    life: str
    beats: int
    since: float


TakeOver = Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]


class Executors:
    """This process among the others. `claim` before it works, `run` in the background, `release` at a clean end."""

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        data_dir_id: str,
        life: str,
        settings: ExecutorSettings | None = None,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._database = database
        self._name = name
        self._data_dir_id = data_dir_id
        self._life = life
        self._settings = settings or ExecutorSettings()
        self._clock = clock  # counts while the machine sleeps: who slept was silent
        self._heard_at = clock()
        self._seen: dict[str, Sighting] = {}

    async def claim(self) -> None:
        """Take the name. Raises ExecutorTaken while a living process of another data directory has it."""
        since, first = self._clock(), -1
        while not await self._take(first):
            if first < 0:
                log.info("executor.name_in_use", executor=self._name, waiting_s=self._settings.dead_after_s)
                first = await self._beats_of(self._name)
            await asyncio.sleep(self._settings.beat_s / 3)
            if await self._beats_of(self._name) != first:
                raise ExecutorTaken(
                    f"another process runs on this database as {self._name!r}: give each process its own"
                    " HEADEND_EXECUTOR_ID"
                )
            if self._clock() - since < self._settings.dead_after_s:
                continue
            await self._declare_lost(self._name, first)
        self._heard_at = self._clock()

    async def beat(self) -> None:
        """One sign of life. Raises ExecutorLost when others have taken us for dead."""
        ours = update(executor).where(executor.c.executor_id == self._name, executor.c.life == self._life)
        before = self._clock()
        async with self._database.begin() as conn:
            changed = await conn.execute(ours.values(beats=executor.c.beats + 1))
        if changed.rowcount != 1:
            raise ExecutorLost(f"others have gone on with the work of {self._name!r}, which was silent for too long")
        self._heard_at = before

    def require(self) -> None:
        """Raises ExecutorLost when no sign of life got through for so long that others may be at our work."""
        silent_s = self._clock() - self._heard_at
        if silent_s > self._settings.silent_s:
            raise ExecutorLost(f"{self._name!r} has been silent for {silent_s:.0f} s: others may be at its work")

    async def ready(self) -> None:
        """Wait until we may begin something: at once, but after a silence only when a beat got through."""
        while True:
            try:
                return self.require()
            except ExecutorLost:
                await asyncio.sleep(self._settings.beat_s / 10)

    async def run(self, take_over: TakeOver | None = None) -> None:
        """For ever: give signs of life, and hand the names of the lost to `take_over`, again and again until empty.

        Taking over must be idempotent: several processes do it at once, and one that dies over it is followed.
        Raises ExecutorLost.
        """
        while True:
            try:
                await self.beat()
                if take_over is not None:
                    await self.look(take_over)
            except _AWAY as error:
                log.warning("executor.database_away", executor=self._name, error=type(error).__name__)
            await asyncio.sleep(self._settings.beat_s)

    async def look(self, take_over: TakeOver) -> None:
        """Declare lost who has fallen silent, then have the work of everyone who is lost taken over.

        The rows are held meanwhile, so that a process that comes back just now takes up its work after us, or before.
        """
        await self._find_silent()
        lost = select(executor.c.executor_id).where(executor.c.life.is_(None), executor.c.executor_id != self._name)
        async with self._database.read() as conn:
            if (await conn.execute(lost.limit(1))).first() is None:
                return
        async with self._database.begin() as conn:
            names = (await conn.execute(lost.order_by(executor.c.executor_id).with_for_update())).scalars().all()
            if names:
                await take_over(conn, names)

    async def living(self) -> list[str]:
        """The names of the processes that are not lost, ours included."""
        query = select(executor.c.executor_id).where(executor.c.life.is_not(None)).order_by(executor.c.executor_id)
        async with self._database.read() as conn:
            return list((await conn.execute(query)).scalars())

    async def release(self) -> None:
        """A clean end: others may go on with what we leave at once."""
        ours = update(executor).where(executor.c.executor_id == self._name, executor.c.life == self._life)
        async with self._database.begin() as conn:
            await conn.execute(ours.values(life=None))

    async def _take(self, standing_at: int) -> bool:
        """Enter our life into our row, where it is free or was this data directory's; whether it is ours now."""
        mine = {"data_dir_id": self._data_dir_id, "life": self._life, "beats": 0}
        free = executor.c.life.is_(None) | (executor.c.data_dir_id == self._data_dir_id)
        row = executor.c.executor_id == self._name
        try:
            async with self._database.begin() as conn:
                if (await conn.execute(update(executor).where(row, free).values(**mine))).rowcount == 1:
                    return True
                if (await conn.execute(select(executor.c.beats).where(row))).first() is not None:
                    return False
                await conn.execute(insert(executor).values(executor_id=self._name, **mine))
        except IntegrityError:  # another process entered the same name in this very moment
            return False
        return True

    async def _beats_of(self, name: str) -> int:
        async with self._database.read() as conn:
            found = await conn.scalar(select(executor.c.beats).where(executor.c.executor_id == name))
        return -1 if found is None else int(found)

    async def _find_silent(self) -> None:
        query = select(executor).where(executor.c.life.is_not(None), executor.c.executor_id != self._name)
        async with self._database.read() as conn:
            rows = (await conn.execute(query)).all()
        now, before, self._seen = self._clock(), self._seen, {}
        for name, _, life, beats in rows:
            seen = before.get(name)
            if seen is None or (seen.life, seen.beats) != (life, beats):
                seen = Sighting(life, beats, now)
            self._seen[name] = seen
            if now - seen.since >= self._settings.dead_after_s:
                await self._declare_lost(name, beats)

    async def _declare_lost(self, name: str, beats: int) -> None:
        """Unless it has given a sign of life in the meantime."""
        silent = update(executor).where(executor.c.executor_id == name, executor.c.beats == beats)
        async with self._database.begin() as conn:
            done = await conn.execute(silent.where(executor.c.life.is_not(None)).values(life=None))
        if done.rowcount == 1:
            log.warning("executor.lost", executor=name, by=self._name)

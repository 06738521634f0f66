"""Counts what services with an allowance use, by following the usage log: exactly once, a moment behind it.

Position, counters, steps and what follows from them move in one transaction, so a record is counted when it is counted,
however often a process dies. Services without an allowance cost the accounting path nothing, and this follower a
comparison in the database. Several processes take turns on the position.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.store.engine import USAGE, Database
from controller.store.metadata import to_micros
from controller.store.usage_reader import UsageLogReader
from controller.store.waking import woken
from radius.authorization.throttle import Throttle
from radius.quota import repository
from radius.quota.evaluation import Evaluation, write_login
from radius.quota.growth import CountedSession, follow

log = structlog.get_logger()

_LAG = Gauge("headend_radius_quota_lag_records", "Records of the usage log that fair use has not looked at yet.")
_RECORDS = 20_000
_SERVICES = 500
_MEMORY = timedelta(days=100)
_LATELY = timedelta(minutes=10)
_POLL_S = 1.0
_REST_S = 0.5
"""Between two looks at the log, which is written to a hundred times in that time: all of it in one transaction."""
_LOOK_AFTER_S = 15.0

Changed = Callable[[], Awaitable[None]]
"""Called when a step was put into force: logins are to be read again, and sessions to be told."""


class QuotaCounter:
    """`run` is the loop; it looks at least every second, for periods end by the clock."""

    def __init__(self, database: Database, clock: Clock, evaluation: Evaluation, changed: Changed) -> None:
        self._database = database
        self._clock = clock
        self._evaluation = evaluation
        self._changed = changed
        self._reader = UsageLogReader(database)
        self._wake = asyncio.Event()
        self._look_after_at_s = 0.0
        database.on_commit(USAGE, self._wake.set)

    async def run(self) -> None:
        """For ever. A database that is away is logged and tried again."""
        while True:
            self._wake.clear()
            try:
                await self.catch_up()
                await self._look_after()
            except (SQLAlchemyError, OSError) as error:
                log.warning("radius.quota.database_away", error=type(error).__name__)
            await asyncio.sleep(_REST_S)
            await woken(self._wake, _POLL_S)

    async def catch_up(self) -> None:
        """Count all that the log has, then end the periods that are over."""
        while await self._count():
            pass
        await self.end_periods()

    async def _count(self) -> bool:
        """One batch; whether there may be more."""
        async with self._database.read() as conn:
            position = await repository.get_position(conn) if await repository.any_quota(conn) else None
        if position is None:
            return False
        watermark = await self._reader.watermark()
        _LAG.set(max(0, watermark - position))
        if watermark <= position:
            return False
        async with self._database.begin() as conn:
            position = await repository.lock_position(conn)
            if position is None or watermark <= position:
                return False
            until = min(watermark, position + _RECORDS)
            services = await _add(conn, position, until)
            await repository.move_position(conn, until)
            changed = await self._evaluation.evaluate(conn, services, self._clock.now()) if services else []
        if changed:
            await self._changed()
        return until < watermark

    async def end_periods(self) -> None:
        """Counters of periods that are over rest; the services begin anew."""
        while True:
            now = self._clock.now()
            async with self._database.read() as conn:
                services = await repository.over(conn, to_micros(now), _SERVICES)
            if not services:
                return
            async with self._database.begin() as conn:
                changed = await self._evaluation.evaluate(conn, services, now)
            if changed:
                await self._changed()

    async def _look_after(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._look_after_at_s:
            self._look_after_at_s = now_s + _LOOK_AFTER_S
            await self.look_after()

    async def look_after(self) -> None:
        """Logins that were written anew learn of their step, and sessions that began in its very moment; sessions
        unheard of for long are forgotten."""
        now = self._clock.now()
        async with self._database.read() as conn:
            if not await repository.any_quota(conn):
                return
            astray = await repository.out_of_step(conn, _SERVICES)
            untold = await repository.untold(conn, now - _LATELY, _SERVICES)
        async with self._database.begin() as conn:
            await self._evaluation.tell_latecomers(conn, untold)
            for row in await repository.lock_quotas(conn, astray):
                left = Throttle(row.allowance.profile(row.step)) if row.step else None
                await write_login(conn, row.service_id, left, now)
            await repository.forget_sessions(conn, to_micros(now - _MEMORY), _RECORDS)
        if astray:
            await self._changed()


async def _add(conn: AsyncConnection, after: int, until: int) -> list[str]:
    """Add what records of the log say; the services that they are of."""
    readings = await repository.readings(conn, after, until)
    if not readings:
        return []
    services = sorted({reading.service_id for reading in readings})
    allowances = {row.service_id: row.allowance for row in await repository.lock_quotas(conn, services)}
    states: dict[str, CountedSession] = await repository.counted_sessions(conn, (r.session_key for r in readings))
    added: dict[tuple[str, int], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    for reading in readings:
        allowance = allowances.get(reading.service_id)
        if allowance is None:
            continue
        states[reading.session_key], growths = follow(states.get(reading.session_key), reading, allowance)
        for growth in growths:
            up, down, _ = added[reading.service_id, growth.period_start_us]
            total = (up + growth.upstream_octets, down + growth.downstream_octets, 0)
            added[reading.service_id, growth.period_start_us] = total
    await repository.put_sessions(conn, states.values())
    await repository.add_usage(conn, added)
    return services

"""Debits what prepaid sessions use, by following the usage log: each record once, a moment behind it.

Position, balances, movements and what follows from them for logins and sessions move in one transaction, so a record
is debited when it is debited, however often a process dies. Several processes take turns on the position. Services that
are not prepaid cost accounting nothing, and this follower a comparison in the database.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_bridge.prepaid import log_rows, repository
from billing_bridge.prepaid.closing import PrepaidClosing
from billing_bridge.prepaid.service import PrepaidService
from billing_bridge.zones import today_of
from controller.domain.clock import Clock
from controller.domain.ports import UsageReader
from controller.store.engine import USAGE, Database
from controller.store.waking import woken

log = structlog.get_logger()

_LAG = Gauge("headend_prepaid_lag_records", "Records of the usage log that prepaid balances do not know of yet.")
_RECORDS = 20_000
_SERVICES = 200
_MEMORY = timedelta(days=100)
_POLL_S = 1.0
_REST_S = 0.5
"""Between two looks at the log, which is written to a hundred times in that time: all of it in one transaction."""


class PrepaidCounter:
    """`run` is the loop; it looks at least every second, for slices expire by the clock."""

    def __init__(
        self, database: Database, clock: Clock, usage: UsageReader, prepaid: PrepaidService, closing: PrepaidClosing
    ) -> None:
        self._database = database
        self._clock = clock
        self._usage = usage
        self._prepaid = prepaid
        self._closing = closing
        self._wake = asyncio.Event()
        database.on_commit(USAGE, self._wake.set)

    async def run(self) -> None:
        """For ever. A database that is away is logged and tried again."""
        while True:
            self._wake.clear()
            try:
                await self.catch_up()
            except (DBAPIError, PoolTimeout, OSError) as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                log.error("prepaid.batch_failed", error=f"{type(error).__name__}: {cause}")
            await asyncio.sleep(_REST_S)
            await woken(self._wake, _POLL_S)

    async def catch_up(self) -> None:
        """Debit all that the log has; then give back the slices whose validity is over, and close what is counted."""
        while await self.step():
            pass
        await self.expire()
        await self._closing.settle()

    async def step(self) -> bool:
        """One batch; whether there may be more."""
        async with self._database.read() as conn:
            position = await log_rows.get_position(conn)
        if position is None:
            return False
        watermark = await self._usage.watermark()
        _LAG.set(max(0, watermark - position))
        if watermark <= position:
            return False
        async with self._database.begin() as conn:
            position = await log_rows.lock_position(conn)
            if position is None or watermark <= position:
                return False
            until, now = min(watermark, position + _RECORDS), self._clock.now()
            readings = await log_rows.readings(conn, position, until)
            await log_rows.move_position(conn, until)
            said = False
            if readings:
                keys = {r.session_key for r in readings}
                books = await self._prepaid.locked_all(conn, {r.service_id for r in readings}, keys)
                known = {s.session_key for book in books.values() for s in book.sessions.values()}
                stations = await self._prepaid.stations(conn, keys - known)
                for reading in readings:
                    if reading.service_id in books:
                        found = replace(reading, station=stations.get(reading.session_key, ""))
                        books[reading.service_id].report(found, now)
                said = await self._prepaid.keep(conn, list(books.values()), now)
        if said:
            await self._prepaid.follow()
        return until < watermark

    async def expire(self) -> None:
        """Give back slices of sessions that fell silent or never began, and forget sessions long unheard of; take
        credit whose time is over."""
        while True:
            now = self._clock.now()
            async with self._database.read() as conn:
                lapsing = await repository.lapsing(conn, await today_of(conn, now, self._prepaid.zone), _SERVICES)
                services = {*lapsing, *await repository.expired(conn, now, _SERVICES)}
            if not services:
                return
            async with self._database.begin() as conn:
                books = await self._prepaid.locked_all(conn, services)
                for book in books.values():
                    book.expire(now)
                    book.lapse(now)
                said = await self._prepaid.keep(conn, list(books.values()), now)
                await repository.forget_sessions(conn, now - _MEMORY)
            if said:
                await self._prepaid.follow()

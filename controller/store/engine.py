"""Opens a database and hands out transactions: SQLite (WAL) in the data directory, or PostgreSQL.

    async with database.begin() as conn:   # a write transaction, committed at the end of the block
    async with database.read() as conn:    # a read-only look

On SQLite one writer may write at a time and waiting writers are not queued fairly, so `begin` queues them here, in
order of arrival: the accounting commit loop cannot starve a bill run, nor a bill run the loop.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import in_greenlet

EVENTS = "events"
"""A commit that wrote to the outbox."""
SETTLED = "settled"
"""A commit that moved a subscriber of the outbox."""
USAGE = "usage"
"""A commit of the usage log."""

BUSY_TIMEOUT_S = 30
"""How long a statement waits for another process's SQLite transaction (a CLI beside the server)."""

ASK_AFTER_S = 1.0
"""How long a connection to PostgreSQL may have rested before it is asked whether it is there still."""

SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=8000")
"""Of every connection. Whoever commits beyond that many pages writes the log back into the file: at the default of 1000
one small commit pays for the accounting of a tenth of a second, and pages that change all the time are written again
and again."""


class Database:
    """One database. `is_sqlite` tells which of the two it is; everything else is the same for callers."""

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._after_commit: dict[str, list[Callable[[], None]]] = {}
        self._writer: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            self.engine: AsyncEngine = create_async_engine(
                self.url, connect_args={"timeout": BUSY_TIMEOUT_S}, pool_size=pool_size
            )
            event.listen(self.engine.sync_engine, "connect", _configure_sqlite)
            event.listen(self.engine.sync_engine, "begin", begin_sqlite)
            event.listen(self.engine.sync_engine, "invalidate", _end_transaction)
        else:
            self.engine = create_async_engine(self.url, pool_size=pool_size, max_overflow=4)
            event.listen(self.engine.sync_engine, "checkin", _rest)
            event.listen(self.engine.sync_engine, "checkout", self._ask_the_rested)

    @property
    def writer(self) -> AbstractAsyncContextManager[Any]:
        """The fair queue of writers. Only for code that writes on a connection of its own (the usage log)."""
        return self._writer

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A write transaction. An exception in the block rolls it back."""
        async with self._writer, self.engine.connect() as connection:
            if self.is_sqlite:
                connection = await connection.execution_options(headend_write=True)
            about: set[str] = connection.info.setdefault(_ABOUT, set())
            about.clear()
            async with connection.begin():
                yield connection
        for topic in about:
            self.notify_committed(topic)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent read: one snapshot for the whole block. Writing in it is an error on PostgreSQL."""
        async with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            async with connection.begin():
                yield connection

    def on_commit(self, topic: str, callback: Callable[[], None]) -> None:
        """Call `callback` after each commit of this process that is about `topic` (EVENTS, SETTLED, USAGE).

        Followers are woken at once instead of at their next poll, and only by what they follow.
        """
        self._after_commit.setdefault(topic, []).append(callback)

    def notify_committed(self, topic: str) -> None:
        """Only for code that commits on a connection of its own; `begin` tells by itself."""
        for callback in self._after_commit.get(topic, ()):
            callback()

    def _ask_the_rested(self, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
        """Replace a connection that PostgreSQL has given up while nobody used it.

        Asking before each use (`pool_pre_ping`) costs a round trip for each transaction; whoever worked a moment ago
        is there still, or tells so by himself.
        """
        rested_s = time.monotonic() - record.info.get(_RESTS_SINCE, math.inf)
        if rested_s > ASK_AFTER_S:
            try:
                self.engine.dialect.do_ping(dbapi_connection)
            except self.engine.dialect.loaded_dbapi.Error as error:
                raise InvalidatePoolError(str(error)) from error

    async def close(self) -> None:
        await self.engine.dispose()

    async def check(self) -> None:
        """Prove that the database answers. Raises what the driver raises."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


_ABOUT = "headend_about"
_RESTS_SINCE = "headend_rests_since"


def tell(connection: AsyncConnection, topic: str) -> None:
    """Note that the caller's transaction is about `topic`: who follows it is woken when it has committed."""
    connection.info.setdefault(_ABOUT, set()).add(topic)


def _rest(_dbapi_connection: Any, record: Any) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


def _configure_sqlite(dbapi_connection: Any, _record: Any) -> None:
    """Durable (synchronous=FULL) WAL with foreign keys enforced; transactions are ours, not the driver's."""
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in (*SQLITE_PRAGMAS, f"busy_timeout={BUSY_TIMEOUT_S * 1000}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _end_transaction(dbapi_connection: Any, _record: Any, _error: BaseException | None) -> None:
    """Who is cancelled in the middle of a statement has his connection closed. SQLite then keeps its transaction, and
    the lock that all writers wait for, until the cursor is gone too; and that may be held by a traceback for minutes.
    """
    if in_greenlet():
        dbapi_connection.rollback()


def begin_sqlite(connection: Any) -> None:
    """BEGIN IMMEDIATE for writers: a deferred transaction that later writes fails at once under WAL, untried."""
    write = connection.get_execution_options().get("headend_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

"""The embedded time series: one SQLite file of its own (WAL), clustered by (hour, series, slot).

    series  id ← (measurement, field, tags)         labels  (name, value) → series, for filters
    sample  (hour, series, slot) → value            WITHOUT ROWID: the key is the order on disk

New samples land at the end of the file's order, one subscriber's month is one seek per hour, and retention deletes
from the front. Writers' batches are joined while a commit is under way; one thread writes, others read. A late sample
goes where it belongs, and the same (series, instant) again replaces the value, so writing twice changes nothing.
Nothing is aggregated ahead: what a read says was computed from the samples.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from controller.domain.errors import RuleError
from controller.domain.usage import Bucket, CounterSample
from controller.store.timeseries_batch import Batches
from controller.store.timeseries_series import (
    Grid,
    Point,
    SeriesKey,
    Tags,
    TimeSeriesUnavailable,
    canonical_tags,
    grid,
    millis,
    point,
)

_HOUR_MS = 3_600_000
_READERS = 2
_STEPS_BETWEEN_LOOKS = 200_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, field TEXT NOT NULL, tags TEXT NOT NULL,
  UNIQUE (measurement, field, tags));
CREATE TABLE IF NOT EXISTS label (
  name TEXT NOT NULL, value TEXT NOT NULL, series INTEGER NOT NULL,
  PRIMARY KEY (name, value, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sample (
  hour INTEGER NOT NULL, series INTEGER NOT NULL, slot INTEGER NOT NULL, value NOT NULL,
  PRIMARY KEY (hour, series, slot)) WITHOUT ROWID;
"""

# Hours that hold anything at all, so that a read of a thousand years costs no more than what was kept.
_HOURS = """WITH RECURSIVE
    bound(first, last) AS (
        SELECT max(:first, (SELECT min(hour) FROM sample)), min(:last, (SELECT max(hour) FROM sample))),
    hours(hour) AS (
        SELECT first FROM bound WHERE first <= last
        UNION ALL SELECT hour + 1 FROM hours WHERE hour < (SELECT last FROM bound)),
"""
_SAMPLES = """
    FROM hours CROSS JOIN wanted CROSS JOIN sample s ON s.hour = hours.hour AND s.series = wanted.series
    WHERE s.hour * 3600000 + s.slot >= :since AND s.hour * 3600000 + s.slot < :until
"""
_BUCKET = "(s.hour * 3600000 + s.slot - :since) / :step AS bucket"

# CROSS JOIN fixes the order: one seek per (hour, series), which follows the order on disk. total() rather than sum():
# SQLite's sum() of integers fails beyond 64 bits.
_SELECT = {
    "sum": f"SELECT {_BUCKET}, total(s.value) {_SAMPLES} GROUP BY bucket",
    "avg": f"SELECT {_BUCKET}, total(s.value) / count(*) {_SAMPLES} GROUP BY bucket",
    "max": f"SELECT {_BUCKET}, max(s.value) {_SAMPLES} GROUP BY bucket",
    # The newest sample of the bucket; among series with the same newest instant, the greatest.
    "last": f"""
        SELECT bucket, value FROM (
            SELECT {_BUCKET}, s.value AS value, row_number() OVER (
                PARTITION BY (s.hour * 3600000 + s.slot - :since) / :step
                ORDER BY s.hour DESC, s.slot DESC, s.value DESC) AS place
            {_SAMPLES})
        WHERE place = 1""",  # noqa: S608 - only texts of this module
}


class SqliteTimeSeries:
    """`TimeSeries` in one file. `retention` bounds what is kept; None keeps everything.

    A read that takes longer than `read_timeout_s` is refused: a question too large must not keep the others waiting.
    """

    def __init__(
        self, path: Path, *, retention: timedelta | None = timedelta(days=800), read_timeout_s: float = 20.0
    ) -> None:
        self._path = path
        self._retention = retention
        self._read_timeout_s = read_timeout_s
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="timeseries-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="timeseries-read")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._ids: dict[SeriesKey, int] = {}
        self._batches = Batches(self._commit)

    async def write(self, samples: Sequence[CounterSample]) -> None:
        """Returns when the samples are on disk, in one commit with whatever else is written meanwhile.

        Raises RuleError for a sample no store can hold, TimeSeriesUnavailable when the file cannot be written.
        """
        await self._batches.add([point(sample) for sample in samples])

    async def read(
        self,
        measurement: str,
        field: str,
        *,
        since: datetime,
        until: datetime,
        step_s: int,
        tags: Sequence[tuple[str, str]] = (),
        aggregate: str = "sum",
    ) -> Sequence[Bucket]:
        wanted = grid(since, until, step_s, aggregate)
        loop = asyncio.get_running_loop()
        try:
            values = await loop.run_in_executor(
                self._readers, self._read, measurement, field, canonical_tags(tags), wanted, aggregate
            )
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                message = f"more than {self._read_timeout_s:g} s of samples: ask for fewer series or a shorter time"
                raise RuleError(message, code="time-series") from None
            raise TimeSeriesUnavailable(f"{self._path}: {error}") from error
        except sqlite3.Error as error:
            raise TimeSeriesUnavailable(f"{self._path}: {error}") from error
        return wanted.buckets(values)

    async def expire(self, now: datetime) -> int:
        """Delete what is older than the retention, whole hours at a time; returns the number of samples."""
        if self._retention is None:
            return 0
        before = millis(now - self._retention) // _HOUR_MS
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, self._expire, before)
        except sqlite3.Error as error:
            raise TimeSeriesUnavailable(f"{self._path}: {error}") from error

    async def close(self) -> None:
        """Finish the commit under way and close the file."""
        await self._batches.finish()
        await asyncio.to_thread(self._shut_down)

    async def _commit(self, points: Sequence[Point]) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store, points)
        except sqlite3.Error as error:
            raise TimeSeriesUnavailable(f"{self._path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection; the first one to come makes the tables."""
        existing: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if existing is not None:
            return existing
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768", "mmap_size=1073741824"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_SCHEMA)
        self._connections.append(connection)
        self._local.connection = connection
        return connection

    def _store(self, points: Sequence[Point]) -> None:
        connection = self._connection()
        fresh: dict[SeriesKey, int] = {}
        connection.execute("BEGIN IMMEDIATE")
        try:
            rows = []
            for key, at_ms, value in points:
                series = self._ids.get(key) or fresh.get(key)
                if series is None:
                    series = fresh[key] = _register(connection, key)
                rows.append((*divmod(at_ms, _HOUR_MS), series, value))
            rows.sort(key=lambda row: (row[0], row[2], row[1]))
            connection.executemany(
                "INSERT INTO sample (hour, slot, series, value) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = excluded.value",
                rows,
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        self._ids.update(fresh)

    def _read(self, measurement: str, field: str, tags: Tags, wanted: Grid, aggregate: str) -> dict[int, float]:
        series, parameters = _matching(measurement, field, tags)
        parameters |= {
            "since": wanted.since_ms,
            "until": wanted.until_ms,
            "step": wanted.step_ms,
            "first": wanted.since_ms // _HOUR_MS,
            "last": (wanted.until_ms - 1) // _HOUR_MS,
        }
        query = " ".join((_HOURS, "wanted(series) AS MATERIALIZED (", series, ")", _SELECT[aggregate]))
        connection, deadline = self._connection(), time.monotonic() + self._read_timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
        return {bucket: float(value) for bucket, value in connection.execute(query, parameters)}

    def _expire(self, before_hour: int) -> int:
        connection, deleted = self._connection(), 0
        while True:  # one hour per transaction, so that writers need not wait for a month to go
            oldest = connection.execute("SELECT min(hour) FROM sample").fetchone()[0]
            if oldest is None or oldest >= before_hour:
                return deleted
            deleted += connection.execute("DELETE FROM sample WHERE hour = ?", (oldest,)).rowcount

    def _shut_down(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()


def _register(connection: sqlite3.Connection, key: SeriesKey) -> int:
    tags = json.dumps(key.tags, ensure_ascii=False, separators=(",", ":"))
    identity = (key.measurement, key.field, tags)
    row = connection.execute("SELECT id FROM series WHERE measurement = ? AND field = ? AND tags = ?", identity)
    known = row.fetchone()
    if known is not None:
        return int(known[0])
    made = connection.execute("INSERT INTO series (measurement, field, tags) VALUES (?, ?, ?)", identity).lastrowid
    assert made is not None
    connection.executemany("INSERT INTO label VALUES (?, ?, ?)", [(name, value, made) for name, value in key.tags])
    return made


def _matching(measurement: str, field: str, tags: Tags) -> tuple[str, dict[str, str | int]]:
    """SQL and parameters that select the ids of the series whose tags contain `tags`."""
    query = "SELECT id FROM series WHERE measurement = :measurement AND field = :field"
    parameters: dict[str, str | int] = {"measurement": measurement, "field": field}
    for n, (name, value) in enumerate(tags):
        query += f" AND id IN (SELECT series FROM label WHERE name = :name{n} AND value = :value{n})"  # noqa: S608
        parameters |= {f"name{n}": name, f"value{n}": value}
    return query + " ORDER BY id", parameters

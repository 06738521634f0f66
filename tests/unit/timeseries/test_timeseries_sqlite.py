from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.errors import RuleError
from controller.domain.usage import CounterSample
from controller.store.timeseries_series import TimeSeriesUnavailable
from controller.store.timeseries_sqlite import SqliteTimeSeries

T0 = datetime(2026, 5, 1, 11, 59, tzinfo=UTC)


def sample(at: datetime, value: float, device: str = "a") -> CounterSample:
    return CounterSample("interface", (("device", device),), "octets", at, value)


async def total(series: SqliteTimeSeries, since: datetime, hours: int = 24) -> float | None:
    until = since + timedelta(hours=hours)
    (bucket,) = await series.read("interface", "octets", since=since, until=until, step_s=hours * 3600)
    return bucket.value


async def test_a_new_value_for_the_same_instant_replaces_the_old(tmp_path: Path) -> None:
    series = SqliteTimeSeries(tmp_path / "ts.db")
    await series.write([sample(T0, 5), sample(T0, 6)])
    await series.write([sample(T0, 7)])
    assert await total(series, T0) == 7
    await series.close()


async def test_samples_survive_a_restart(tmp_path: Path) -> None:
    series = SqliteTimeSeries(tmp_path / "ts.db")
    await series.write([sample(T0, 5)])
    await series.close()
    again = SqliteTimeSeries(tmp_path / "ts.db")
    await again.write([sample(T0 + timedelta(seconds=1), 6)])
    assert await total(again, T0) == 11
    await again.close()


async def test_a_finished_write_is_durable_and_visible_to_another_process(tmp_path: Path) -> None:
    series = SqliteTimeSeries(tmp_path / "ts.db")
    await series.write([sample(T0, 5)])
    other = sqlite3.connect(tmp_path / "ts.db")
    assert other.execute("SELECT value FROM sample").fetchall() == [(5,)]
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    await series.close()


async def test_samples_older_than_the_retention_go_and_newer_ones_stay(tmp_path: Path) -> None:
    series = SqliteTimeSeries(tmp_path / "ts.db", retention=timedelta(days=2))
    await series.write([sample(T0 - timedelta(days=3), 1), sample(T0 - timedelta(days=1), 2), sample(T0, 4)])
    assert await series.expire(T0) == 1
    assert await total(series, T0 - timedelta(days=4), hours=24 * 5) == 6
    await series.close()


async def test_an_unusable_file_is_a_clear_error_for_every_waiting_writer(tmp_path: Path) -> None:
    (tmp_path / "ts.db").write_bytes(b"this is not a database, " * 100)
    series = SqliteTimeSeries(tmp_path / "ts.db")
    results = await asyncio.gather(*(series.write([sample(T0, n)]) for n in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [TimeSeriesUnavailable] * 3
    await series.close()


async def test_a_read_that_takes_too_long_is_refused_and_others_go_on(tmp_path: Path) -> None:
    series = SqliteTimeSeries(tmp_path / "ts.db", read_timeout_s=0)
    await series.write([sample(T0 + timedelta(seconds=n), 1, str(n % 50)) for n in range(30_000)])
    with pytest.raises(RuleError, match="shorter time"):
        await total(series, T0)
    series._read_timeout_s = 20
    assert await total(series, T0) == 30_000
    await series.close()


async def test_reading_an_unusable_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "ts.db").write_bytes(b"this is not a database, " * 100)
    series = SqliteTimeSeries(tmp_path / "ts.db")
    with pytest.raises(TimeSeriesUnavailable):
        await total(series, T0)
    await series.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4 * 3_600_000), st.integers(0, 2), st.integers(-(10**9), 10**9)), max_size=60),
    st.integers(2, 7_000),
)
def test_every_sample_is_in_exactly_one_bucket(rows: list[tuple[int, int, int]], step_s: int) -> None:
    async def run(directory: str) -> None:
        series = SqliteTimeSeries(Path(directory) / "ts.db")
        batch = [sample(T0 + timedelta(milliseconds=ms), value, str(device)) for ms, device, value in rows]
        random.Random(step_s).shuffle(batch)
        kept = {(s.at, s.tags): s.value for s in batch}
        await series.write(batch)
        expected: dict[int, float] = defaultdict(float)
        for (at, _), value in kept.items():
            expected[int((at - T0).total_seconds() * 1000) // (step_s * 1000)] += value
        buckets = await series.read("interface", "octets", since=T0, until=T0 + timedelta(hours=5), step_s=step_s)
        assert {n: b.value for n, b in enumerate(buckets) if b.value is not None} == pytest.approx(dict(expected))
        assert all(b.start == T0 + timedelta(seconds=n * step_s) for n, b in enumerate(buckets))
        await series.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(run(directory))

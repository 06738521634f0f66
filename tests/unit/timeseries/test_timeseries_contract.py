"""What every `TimeSeries` does, on the embedded file and on a real VictoriaMetrics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.domain.errors import RuleError
from controller.domain.usage import CounterSample
from controller.store.timeseries import KeptTimeSeries, TimeSeriesSettings, open_time_series
from controller.store.timeseries_influx import InfluxTimeSeries

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "victoria-metrics"])
async def series(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeptTimeSeries]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("victoria_metrics").url
    opened = open_time_series(TimeSeriesSettings(url=url), tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def name() -> str:
    """A measurement of this test alone: the server is shared."""
    return f"m{uuid.uuid4().hex}"


def sample(name: str, at: datetime, value: float, **tags: str) -> CounterSample:
    return CounterSample(name, tuple(tags.items()), "octets", at, value)


async def values(
    series: KeptTimeSeries,
    name: str,
    *,
    since: datetime = T0,
    minutes: int = 3,
    step_s: int = 60,
    expected: Sequence[float | None] | None = None,
    aggregate: str = "sum",
    **tags: str,
) -> list[float | None]:
    """Read; a server shows what it holds a moment after it took it, so look again until `expected` is there."""
    if isinstance(series, InfluxTimeSeries):
        await series._get("/internal/force_flush")  # a look that comes too early is remembered for ten seconds
    for _ in range(60):
        buckets = await series.read(
            name,
            "octets",
            since=since,
            until=since + minutes * MINUTE,
            step_s=step_s,
            tags=tuple(tags.items()),
            aggregate=aggregate,
        )
        found = [bucket.value for bucket in buckets]
        if expected is None or found == expected:
            break
        await asyncio.sleep(0.25)
    return found


async def test_buckets_are_half_open_and_a_gap_is_none_never_zero(series: KeptTimeSeries, name: str) -> None:
    await series.write(
        [
            sample(name, T0, 1),
            sample(name, T0 + MINUTE - timedelta(milliseconds=1), 2),
            sample(name, T0 + 2 * MINUTE, 4),
            sample(name, T0 + 3 * MINUTE, 8),
        ]
    )
    expected = [3.0, None, 4.0]
    assert await values(series, name, expected=expected) == expected


async def test_a_sample_of_zero_is_a_zero_and_not_a_gap(series: KeptTimeSeries, name: str) -> None:
    await series.write([sample(name, T0, 0)])
    assert await values(series, name, expected=[0.0, None, None]) == [0.0, None, None]


async def test_writing_the_same_samples_again_changes_nothing(series: KeptTimeSeries, name: str) -> None:
    batch = [sample(name, T0 + n * timedelta(seconds=10), 5, device="a") for n in range(18)]
    for _ in range(3):
        await series.write(batch)
    assert await values(series, name, expected=[30.0] * 3) == [30.0] * 3


async def test_a_sample_of_25_hours_ago_changes_the_bucket_it_belongs_to(series: KeptTimeSeries, name: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    early = now - timedelta(hours=25)
    await series.write([sample(name, now, 1), sample(name, early - MINUTE, 2)])
    await series.write([sample(name, early + timedelta(seconds=5), 7)])
    assert await values(series, name, since=early, expected=[7.0, None, None]) == [7.0, None, None]


@pytest.mark.parametrize("step_s", [10, 60])
async def test_what_was_written_just_now_is_in_the_bucket_that_still_runs(
    series: KeptTimeSeries, name: str, step_s: int
) -> None:
    now = datetime.now(UTC)
    since = now - timedelta(seconds=5)
    await series.write([sample(name, now, 3)])
    expected = [3.0] + [None] * (120 // step_s - 1)
    asked_at = asyncio.get_running_loop().time()
    assert await values(series, name, since=since, minutes=2, step_s=step_s, expected=expected) == expected
    assert asyncio.get_running_loop().time() - asked_at < 5


async def test_tags_select_the_series_that_contain_them(series: KeptTimeSeries, name: str) -> None:
    await series.write(
        [
            sample(name, T0, 1, device="a", direction="in"),
            sample(name, T0, 2, device="a", direction="out"),
            sample(name, T0, 4, device="b", direction="out"),
        ]
    )
    assert (await values(series, name, expected=[7.0, None, None]))[0] == 7
    assert (await values(series, name, device="a"))[0] == 3
    assert (await values(series, name, device="a", direction="out"))[0] == 2
    assert (await values(series, name, device="c"))[0] is None


@pytest.mark.parametrize(
    "value",
    ["a b", "a,b=c", 'quo"te', "ünïcode/1.2", "back\\slash", "line\nbreak", "tail\\", "{a}", "x'; DROP TABLE sample"],
)
async def test_any_tag_value_is_found_again(series: KeptTimeSeries, name: str, value: str) -> None:
    await series.write([sample(name, T0, 6, if_name=value), sample(name, T0, 1, if_name="other")])
    assert await values(series, name, expected=[6.0, None, None], if_name=value) == [6.0, None, None]


@pytest.mark.parametrize(("aggregate", "expected"), [("sum", 18.0), ("avg", 4.5), ("max", 9.0), ("last", 2.0)])
async def test_aggregates_run_over_every_sample_of_every_series(
    series: KeptTimeSeries, name: str, aggregate: str, expected: float
) -> None:
    second = timedelta(seconds=1)
    await series.write(
        [
            sample(name, T0, 9, device="a"),
            sample(name, T0 + second, 6, device="b"),
            sample(name, T0 + 2 * second, 1, device="b"),
            sample(name, T0 + 2 * second, 2, device="a"),
        ]
    )
    wanted = [expected, None, None]
    assert await values(series, name, aggregate=aggregate, expected=wanted) == wanted


async def test_floats_and_large_integers_keep_their_value(series: KeptTimeSeries, name: str) -> None:
    await series.write([sample(name, T0, -21.37, kind="dbm"), sample(name, T0, 2**52 + 1, kind="octets")])
    assert await values(series, name, kind="dbm", expected=[-21.37, None, None]) == [-21.37, None, None]
    assert (await values(series, name, kind="octets"))[0] == 2**52 + 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63])
async def test_a_value_that_a_store_would_drop_is_refused(series: KeptTimeSeries, name: str, value: float) -> None:
    with pytest.raises(RuleError):
        await series.write([sample(name, T0, value)])


@pytest.mark.parametrize("bad", ["Upper", "with space", "", "1st", 'a"b'])
async def test_a_name_that_a_store_would_misread_is_refused(series: KeptTimeSeries, bad: str) -> None:
    with pytest.raises(RuleError):
        await series.write([sample(bad, T0, 1)])


async def test_an_impossible_read_is_refused(series: KeptTimeSeries, name: str) -> None:
    for until, step_s, aggregate in (
        (T0, 60, "sum"),
        (T0 + MINUTE, 0, "sum"),
        (T0 + 30 * timedelta(days=1), 1, "sum"),
        (T0 + MINUTE, 60, "p95"),
    ):
        with pytest.raises(RuleError):
            await series.read(name, "octets", since=T0, until=until, step_s=step_s, aggregate=aggregate)


async def test_many_writers_at_once_all_return_with_their_samples_stored(series: KeptTimeSeries, name: str) -> None:
    await asyncio.gather(
        *(series.write([sample(name, T0 + timedelta(seconds=n), 1, device=str(n % 7))]) for n in range(40))
    )
    assert await values(series, name, expected=[40.0, None, None]) == [40.0, None, None]

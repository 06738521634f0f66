"""The usage log as a time series: nothing lost, nothing twice, whatever crashes in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from collectors.session_usage import SessionUsage
from collectors.settings import UsageFollowerSettings
from collectors.tables import session
from collectors.usage_model import Memory, follow
from controller.domain.identity import first_id
from controller.domain.usage import CounterSample, LoggedRecord, RecordKind, UsageRecord
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.timeseries_series import TimeSeriesUnavailable
from controller.store.timeseries_sqlite import SqliteTimeSeries
from controller.store.usage_log import UsageLog, row_of
from controller.store.usage_reader import UsageLogReader
from tests.support.series import FakeTimeSeries

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(
    number: int,
    session: str,
    seconds: float,
    up: int | None,
    down: int | None,
    *,
    service: str | None = "service-1",
    nas: str = "nas-1",
    kind: str = "interim",
) -> LoggedRecord:
    at = T0 + timedelta(seconds=seconds)
    return LoggedRecord(
        record_id=number, kind=kind, session_key=session, nas_id=nas, acct_session_id=b"x", username="u",
        service_id=service, event_at=at, received_at=at + timedelta(seconds=1), session_time_s=None,
        upstream_octets=up, downstream_octets=down, packet_sha256=b"", record_sha256=b"", intact=True,
    )  # fmt: skip


def points(samples: Sequence[CounterSample]) -> dict[tuple[object, ...], float]:
    found = {(s.tags, s.at): s.value for s in samples}
    assert len(found) == len(samples), "two samples share a point"
    return found


def downstream(samples: Sequence[CounterSample]) -> list[tuple[float, float]]:
    return [((s.at - T0).total_seconds(), s.value) for s in samples if ("direction", "downstream") in s.tags]


def test_running_totals_become_growth_at_the_time_of_the_event() -> None:
    records = [
        record(1, "a", 0, 0, 0, kind="start"),
        record(2, "a", 60, 10, 100),
        record(3, "a", 120, 10, 250, kind="stop"),
    ]
    found = follow(records, Memory({}, {}))
    assert downstream(found) == [(60, 100), (120, 150)]
    assert {dict(s.tags)["service"] for s in found} == {"service-1"}


def test_octets_of_hours_are_spread_over_them_and_lose_none() -> None:
    records = [record(1, "a", 0, 0, 0, kind="start"), record(2, "a", 4 * 3600, 0, 1_000_001)]
    found = downstream(follow(records, Memory({}, {})))
    assert [at for at, _ in found] == [1800 * k for k in range(1, 9)]
    assert sum(octets for _, octets in found) == 1_000_001
    assert max(octets for _, octets in found) - min(octets for _, octets in found) <= 1


def test_repeated_and_overtaken_records_add_nothing() -> None:
    records = [record(1, "a", 120, 5, 200), record(2, "a", 60, 2, 100), record(3, "a", 120, 5, 200)]
    assert downstream(follow(records, Memory({}, {}))) == [(120, 200)]


def test_absent_octets_are_not_zero() -> None:
    records = [record(1, "a", 60, None, 100), record(2, "a", 120, None, None), record(3, "a", 180, 7, 150)]
    found = follow(records, Memory({}, {}))
    assert downstream(found) == [(60, 100), (180, 50)]


def test_two_records_of_one_second_are_two_points() -> None:
    records = [record(1, "a", 60, 0, 100), record(2, "a", 60, 0, 130, kind="stop"), record(3, "b", 60, 0, 7)]
    found = follow(records, Memory({}, {}))
    assert downstream(found) == [(60, 100), (60.001, 30), (60.008, 7)]


def test_a_ninth_record_of_one_second_goes_to_the_next() -> None:
    found = follow([record(n, "a", 60, 0, n) for n in range(1, 10)], Memory({}, {}))
    assert [at for at, _ in downstream(found)] == [60 + n / 1000 for n in range(8)] + [61]


def test_an_event_time_ahead_of_its_arrival_is_taken_as_the_arrival() -> None:
    late = record(1, "a", 60, 0, 100)
    wrong = LoggedRecord(**{n: getattr(late, n) for n in late.__slots__} | {"event_at": T0 + timedelta(days=400)})
    assert downstream(follow([wrong], Memory({}, {}))) == [(61, 100)]


def test_usage_of_no_known_service_is_kept_apart_by_session() -> None:
    records = [record(1, "a", 60, 0, 100, service=None), record(2, "b", 60, 0, 50, service=None)]
    found = follow(records, Memory({}, {}))
    points(found)
    assert {dict(s.tags).get("session") for s in found} == {"a", "b"}


def test_a_session_whose_service_becomes_known_continues_under_the_service() -> None:
    records = [record(1, "a", 60, 0, 100, service=None), record(2, "a", 120, 0, 150)]
    found = follow(records, Memory({}, {}))
    assert [(dict(s.tags).get("service"), s.value) for s in found] == [(None, 100), ("service-1", 50)]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 5), st.integers(0, 1000), st.sampled_from(["s1", "s2"])
    ),
    max_size=60,
).map(
    lambda rows: [
        record(n, f"{service}-{session}", at, total, total * 2, service=service)
        for n, (session, at, total, service) in enumerate(rows, 1)
    ]
)


@given(RECORDS, st.lists(st.integers(1, 10), min_size=1))
def test_the_points_do_not_depend_on_the_batches_and_add_up_to_the_totals(
    records: list[LoggedRecord], sizes: list[int]
) -> None:
    whole = points(follow(records, Memory({}, {})))
    memory, parts, start = Memory({}, {}), [], 0
    while start < len(records):
        size = sizes[start % len(sizes)]
        parts += follow(records[start : start + size], memory)
        start += size
    assert points(parts) == whole
    highest: dict[str, int] = {}
    for one in records:
        highest[one.session_key] = max(highest.get(one.session_key, 0), one.downstream_octets or 0)
    assert sum(value for (tags, _), value in whole.items() if ("direction", "downstream") in tags) == sum(  # type: ignore[operator]
        highest.values()
    )


@pytest.fixture
async def log(database: Database) -> AsyncIterator[UsageLog]:
    opened = UsageLog(database, "writer-1")
    yield opened
    await opened.close()


def usage(session: str, seconds: int, up: int, down: int, service: str | None = "5" * 32) -> UsageRecord:
    at = T0 + timedelta(seconds=seconds)
    key, acct_session_id = session * 32, session.encode()
    return UsageRecord(
        RecordKind.INTERIM, key, "a" * 32, acct_session_id, "user", service, at, at, seconds, up, down, bytes(32)
    )


async def append(log: UsageLog, *records: UsageRecord) -> None:
    await log.append([row_of(one) for one in records], to_micros(T0))


async def follow_all(follower: SessionUsage) -> int:
    taken = 0
    while count := await follower.follow_once():
        taken += count
    return taken


async def test_the_log_is_followed_to_its_end_and_then_only_what_is_new(database: Database, log: UsageLog) -> None:
    series = FakeTimeSeries()
    follower = SessionUsage(database, UsageLogReader(database), series, UsageFollowerSettings(batch=3))
    await append(log, *(usage("a", 60 * n, n, 10 * n) for n in range(1, 9)))
    assert await follow_all(follower) == 8
    assert series.total("session_octets", direction="downstream") == 80
    await append(log, usage("a", 600, 9, 100), usage("b", 600, 1, 1))
    assert await follow_all(follower) == 2
    assert series.total("session_octets", direction="downstream", service="5" * 32, nas="a" * 32) == 101
    assert series.total("session_octets", direction="upstream") == 10


async def test_a_crash_between_writing_and_remembering_changes_nothing(
    database: Database, log: UsageLog, tmp_path: Path
) -> None:
    class Dies(Exception):
        pass

    class DyingSeries(SqliteTimeSeries):
        dying = True

        async def write(self, samples: Sequence[CounterSample]) -> None:
            await super().write(samples)
            if self.dying:
                raise Dies

    series = DyingSeries(tmp_path / "series.db")
    reader = UsageLogReader(database)
    await append(log, usage("a", 60, 1, 10), usage("b", 60, 1, 20), usage("a", 60, 1, 15))
    for _ in range(3):
        with pytest.raises(Dies):
            await SessionUsage(database, reader, series).follow_once()
        await append(log, usage("a", 60, 1, 40), usage("c", 60, 2, 2))
    series.dying = False
    await follow_all(SessionUsage(database, reader, series))
    until, tags = T0 + timedelta(hours=1), [("direction", "downstream")]
    (bucket,) = await series.read("session_octets", "octets", since=T0, until=until, step_s=3600, tags=tags)
    assert bucket.value == 40 + 20 + 2
    await series.close()


async def test_while_the_time_series_is_away_the_position_stands_still(database: Database, log: UsageLog) -> None:
    series = FakeTimeSeries()
    follower = SessionUsage(database, UsageLogReader(database), series)
    await append(log, usage("a", 60, 1, 10))
    series.away = True
    with pytest.raises(TimeSeriesUnavailable):
        await follower.follow_once()
    series.away = False
    assert await follow_all(follower) == 1
    assert series.total("session_octets") == 11


async def test_rebuilding_ends_at_the_same_points(database: Database, log: UsageLog) -> None:
    series = FakeTimeSeries()
    follower = SessionUsage(database, UsageLogReader(database), series, UsageFollowerSettings(batch=2))
    await append(log, *(usage(s, 60 * n, n, 10 * n) for n in range(1, 5) for s in "abc"))
    await follow_all(follower)
    before = dict(series.points)
    await follower.rebuild()
    assert await follow_all(follower) == 12
    assert series.points == before
    series.points.clear()
    await follower.rebuild()
    await follow_all(follower)
    assert series.points == before


async def test_two_followers_of_one_log_write_the_same_points(database: Database, log: UsageLog) -> None:
    class Overtaken(FakeTimeSeries):
        """While the first follower writes, a second one takes the same records, and newer ones."""

        async def write(self, samples: Sequence[CounterSample]) -> None:
            await super().write(samples)
            if self.writes == 1:
                await append(log, usage("a", 60, 9, 90))
                await follow_all(second)

    series = Overtaken()
    reader = UsageLogReader(database)
    first, second = SessionUsage(database, reader, series), SessionUsage(database, reader, series)
    await append(log, usage("a", 60, 1, 10))
    await follow_all(first)
    assert series.total("session_octets", direction="downstream") == 90
    assert await follow_all(second) == 0


LONG = 102 * 86_400
OLD = f"{first_id(T0):0<32}"
"""A session that began at the start."""


@pytest.mark.parametrize("pruned", [True, False])
async def test_what_a_forgotten_session_reports_is_not_added_a_second_time(
    database: Database, log: UsageLog, pruned: bool
) -> None:
    """Whether its row was deleted already does not matter; what it gains from then on is drawn again."""
    series = FakeTimeSeries()
    follower = SessionUsage(database, UsageLogReader(database), series)
    old = replace(usage("a", 60, 1, 100), session_key=OLD)
    await append(log, old, usage("b", LONG, 0, 1))
    await follow_all(follower)
    if pruned:
        await follower.forget()
    async with database.read() as conn:
        left = set(await conn.scalars(select(session.c.session_key)))
    assert left == ({"b" * 32} if pruned else {OLD, "b" * 32})
    for seconds, total in ((LONG, 120), (LONG + 60, 130)):
        at = T0 + timedelta(seconds=seconds)
        await append(log, replace(old, event_at=at, received_at=at, downstream_octets=total))
    await follow_all(follower)
    assert series.total("session_octets", direction="downstream") == 100 + 1 + 10
    points_then = dict(series.points)
    series.points.clear()
    await follower.rebuild()
    await follow_all(follower)
    assert series.points == points_then

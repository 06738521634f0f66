"""Growth and attribution: nothing counts twice, and the parts of an interval sum to the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.growth import SessionState, follow
from controller.domain.usage import LoggedRecord
from tests.support.billing_fakes import UsageLogInMemory, record

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 9, 30, 21, 50, tzinfo=UTC)  # 23:50 in Berlin
MEMORY = timedelta(days=100)


def grow(records: list[LoggedRecord]) -> list[tuple[int, int]]:
    state: SessionState | None = None
    found = []
    for row in records:
        state, growth = follow(state, row, MEMORY)
        if growth is not None:
            found.append((growth.upstream_octets, growth.downstream_octets))
    return found


def stored(*records: LoggedRecord) -> list[LoggedRecord]:
    log = UsageLogInMemory()
    log.append(*records)
    return log.rows


def test_growth_is_the_difference_of_running_totals() -> None:
    rows = stored(
        record("s", START, 0, 0, kind="start"),
        record("s", START + timedelta(minutes=5), 10, 100),
        record("s", START + timedelta(minutes=10), 15, 300, kind="stop"),
    )
    assert grow(rows) == [(10, 100), (5, 200)]


def test_records_without_octets_and_repeated_records_add_nothing() -> None:
    at = START + timedelta(minutes=5)
    rows = stored(record("s", at, 10, 100), record("s", at, 10, 100), record("s", at, None, None, kind="stop"))
    assert grow(rows) == [(10, 100)]


def test_interim_that_arrives_after_the_stop_adds_nothing_it_already_told() -> None:
    rows = stored(record("s", START, 50, 500, kind="stop"), record("s", START - timedelta(minutes=5), 40, 400))
    assert grow(rows) == [(50, 500)]


def test_first_heard_session_began_its_session_time_ago() -> None:
    state, growth = follow(None, stored(record("s", START, 1, 1, session_time_s=600))[0], MEMORY)
    assert state is not None
    assert growth is not None
    assert (growth.since, growth.until) == (START - timedelta(minutes=10), START)


totals = st.tuples(st.none() | st.integers(0, 10**15), st.none() | st.integers(0, 10**15), st.integers(0, 10_000))


@given(st.lists(totals, max_size=12), st.randoms())
def test_any_order_and_repetition_sums_to_the_highest_total(rows: list[tuple[int, int, int]], random: object) -> None:
    records = [record("s", START + timedelta(seconds=at), up, down) for up, down, at in rows]
    shuffled = [*records, *records]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    grown = grow(stored(*shuffled))
    assert sum(up for up, _ in grown) == max((up or 0 for up, _, _ in rows), default=0)
    assert sum(down for _, down in grown) == max((down or 0 for _, down, _ in rows), default=0)


@given(st.lists(totals, max_size=12))
def test_growth_is_found_again_from_the_records_it_names(rows: list[tuple[int, int, int]]) -> None:
    log = stored(*(record("s", START + timedelta(seconds=at), up, down) for up, down, at in rows))
    state: SessionState | None = None
    for row in log:
        state, growth = follow(state, row, MEMORY)
        if growth is None:
            continue
        *before, last = (log[i - 1] for i in growth.record_ids)
        assert last is row
        known_up = max((b.upstream_octets or 0 for b in before), default=0)
        known_down = max((b.downstream_octets or 0 for b in before), default=0)
        assert growth.upstream_octets == max(0, (row.upstream_octets or 0) - known_up)
        assert growth.downstream_octets == max(0, (row.downstream_octets or 0) - known_down)


def test_session_over_the_end_of_the_month_is_split_by_time() -> None:
    parts = split_by_day(START, START + timedelta(minutes=30), 100, 3001, BERLIN)
    assert [(p.day.isoformat(), p.upstream_octets, p.downstream_octets) for p in parts] == [
        ("2026-09-30", 33, 1000),
        ("2026-10-01", 67, 2001),
    ]


instants = st.integers(0, 365 * 86_400).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


@given(instants, st.integers(0, 20 * 86_400), st.integers(0, 10**16), st.integers(0, 10**16))
def test_parts_touch_and_sum_to_the_whole(since: datetime, seconds: int, up: int, down: int) -> None:
    until = since + timedelta(seconds=seconds)
    parts = split_by_day(since, until, up, down, BERLIN)
    assert sum(p.upstream_octets for p in parts) == up
    assert sum(p.downstream_octets for p in parts) == down
    assert parts[0].since == since
    assert parts[-1].until == until
    for a, b in pairwise(parts):
        assert a.until == b.since
        assert a.day < b.day
    assert all(p.upstream_octets >= 0 and p.downstream_octets >= 0 for p in parts)

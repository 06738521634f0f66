"""Periods in the zone of whoever sold the service, steps, and which period octets belong to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.allowance import Allowance, Counted, FairUseStep, PeriodKind
from controller.domain.service import SpeedProfile
from controller.store.metadata import to_micros
from radius.quota.growth import CountedSession, Reading, follow

GB = 10**9
SLOW, SLOWER = SpeedProfile("slow", 2_000_000, 1_000_000), SpeedProfile("slower", 64_000, 64_000)
MONTHLY = Allowance(10 * GB, PeriodKind.MONTH, (FairUseStep(0, SLOW), FairUseStep(5 * GB, SLOWER)), "Europe/Berlin")


@pytest.mark.parametrize(
    ("kind", "first_day", "zone", "at", "start", "end"),
    [
        ("month", 1, "Europe/Berlin", "2026-10-31T22:59:59+00:00", "2026-09-30T22:00:00", "2026-10-31T23:00:00"),
        ("month", 1, "Europe/Berlin", "2026-10-31T23:00:00+00:00", "2026-10-31T23:00:00", "2026-11-30T23:00:00"),
        ("month", 15, "America/New_York", "2026-03-14T12:00:00+00:00", "2026-02-15T05:00:00", "2026-03-15T04:00:00"),
        ("day", 1, "Europe/Berlin", "2026-03-29T12:00:00+00:00", "2026-03-28T23:00:00", "2026-03-29T22:00:00"),
        ("day", 1, "Europe/Berlin", "2026-10-25T12:00:00+00:00", "2026-10-24T22:00:00", "2026-10-25T23:00:00"),
        ("week", 1, "Asia/Tokyo", "2026-11-01T16:00:00+00:00", "2026-11-01T15:00:00", "2026-11-08T15:00:00"),
        ("month", 28, "UTC", "2026-03-01T00:00:00+00:00", "2026-02-28T00:00:00", "2026-03-28T00:00:00"),
    ],
)
def test_a_period_begins_at_local_midnight(kind: str, first_day: int, zone: str, at: str, start: str, end: str) -> None:
    made = replace(MONTHLY, period=PeriodKind(kind), first_day=first_day, zone=zone)
    period = made.period_at(datetime.fromisoformat(at))
    assert period.start.isoformat() == start + "+00:00"
    assert period.end.isoformat() == end + "+00:00"


@given(st.integers(0, 4 * 10**8), st.sampled_from(PeriodKind), st.integers(1, 7))
def test_every_instant_lies_in_one_period_and_the_next_begins_where_it_ends(
    seconds: int, kind: PeriodKind, first_day: int
) -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    made = replace(MONTHLY, period=kind, first_day=first_day)
    period = made.period_at(at)
    assert period.start <= at < period.end
    assert made.period_at(period.end).start == period.end
    assert made.period_at(period.start) == period


@pytest.mark.parametrize(
    ("used", "topped_up", "step"),
    [(0, 0, 0), (10 * GB - 1, 0, 0), (10 * GB, 0, 1), (15 * GB, 0, 2), (15 * GB, 1 * GB, 1), (15 * GB, 6 * GB, 0)],
)
def test_steps_are_reached_by_octets_and_left_by_a_top_up(used: int, topped_up: int, step: int) -> None:
    assert MONTHLY.step_at(used, topped_up) == step


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": ()}, "begin with the one beyond 0"),
        ({"steps": (FairUseStep(1, SLOW),)}, "begin with the one beyond 0"),
        ({"steps": (FairUseStep(0, None), FairUseStep(1, SLOW))}, "nothing comes after"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"first_day": 29}, "begins on day 29"),
        ({"octets": -1}, "no less than 0"),
    ],
)
def test_what_cannot_be_an_allowance_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(MONTHLY, **change)


def test_octets_count_in_the_directions_that_were_agreed() -> None:
    assert [kind.of(3, 5) for kind in (Counted.BOTH, Counted.DOWNSTREAM, Counted.UPSTREAM)] == [8, 5, 3]


# --- growth ---

MIDNIGHT = datetime(2026, 10, 31, 23, tzinfo=UTC)  # in Berlin


def reading(at: datetime, up: int | None, down: int | None) -> Reading:
    return Reading("k", "s", up, down, to_micros(at))


def test_octets_of_an_interval_over_the_end_of_a_period_are_split_by_time() -> None:
    before = CountedSession("k", "s", 0, 100, to_micros(MIDNIGHT - timedelta(minutes=15)))
    after, growth = follow(before, reading(MIDNIGHT + timedelta(minutes=45), 41, 500), MONTHLY)
    assert [(g.upstream_octets, g.downstream_octets) for g in growth] == [(10, 100), (31, 300)]
    assert growth[1].period_start_us == to_micros(MIDNIGHT)
    assert (after.upstream_octets, after.downstream_octets) == (41, 500)


def test_a_record_that_comes_again_or_late_adds_nothing() -> None:
    now, _ = follow(None, reading(MIDNIGHT, 10, 20), MONTHLY)
    assert follow(now, reading(MIDNIGHT, 10, 20), MONTHLY) == (now, [])
    assert follow(now, reading(MIDNIGHT - timedelta(hours=1), 5, 6), MONTHLY) == (now, [])
    assert follow(now, reading(MIDNIGHT + timedelta(hours=1), None, None), MONTHLY)[1] == []


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6)), min_size=1, max_size=10)
)
def test_over_whichever_periods_octets_are_spread_their_sum_is_what_was_reported(
    steps: list[tuple[int, int, int]],
) -> None:
    daily, state, at, up, down = replace(MONTHLY, period=PeriodKind.DAY), None, MIDNIGHT, 0, 0
    counted = [0, 0]
    for more_up, more_down, seconds in steps:
        at, up, down = at + timedelta(seconds=seconds), up + more_up, down + more_down
        state, growth = follow(state, reading(at, up, down), daily)
        for part in growth:
            assert part.upstream_octets >= 0
            assert part.downstream_octets >= 0
            counted[0] += part.upstream_octets
            counted[1] += part.downstream_octets
    assert counted == [up, down]

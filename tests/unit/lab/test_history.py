"""The instants of the demo's history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from lab.history import ZONE, steps


def test_a_step_over_the_end_of_summer_time_lasts_as_long_as_it_lasts() -> None:
    at = steps(date(2026, 10, 24), datetime(2026, 10, 26, 12, tzinfo=UTC))
    assert [f"{instant.astimezone(ZONE):%d %H}" for instant in at[3:6]] == ["24 20", "25 02", "25 08"]
    assert [b - a for a, b in pairwise(at[3:6])] == [timedelta(hours=6), timedelta(hours=7)]
    assert all(instant.tzinfo is UTC for instant in at)

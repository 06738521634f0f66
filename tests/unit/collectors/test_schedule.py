from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors.schedule import Schedule, next_due, offset_s

T0 = datetime(2026, 5, 1, tzinfo=UTC)


@given(st.text(max_size=20), st.integers(1, 3600), st.datetimes(timezones=st.just(UTC)))
def test_the_next_instant_is_later_and_within_one_interval(key: str, interval_s: int, after: datetime) -> None:
    due = next_due(key, interval_s, after)
    assert after < due <= after + timedelta(seconds=interval_s)
    assert next_due(key, interval_s, due) == due + timedelta(seconds=interval_s)


def test_devices_are_spread_over_the_interval() -> None:
    tenths = [int(offset_s(f"device-{n}", 60) // 6) for n in range(500)]
    assert all(25 <= tenths.count(tenth) <= 80 for tenth in range(10))


def test_a_device_is_polled_once_however_late_the_poller_comes() -> None:
    schedule = Schedule(60)
    schedule.keep(["a"], T0)
    assert schedule.start_due(T0 + timedelta(minutes=7)) == ["a"]
    schedule.finished("a")
    assert schedule.start_due(T0 + timedelta(minutes=7)) == []
    assert schedule.start_due(T0 + timedelta(minutes=8)) == ["a"]


def test_a_device_still_being_polled_is_not_started_again() -> None:
    schedule = Schedule(60)
    schedule.keep(["a"], T0)
    assert schedule.start_due(T0 + timedelta(minutes=1)) == ["a"]
    assert schedule.start_due(T0 + timedelta(minutes=3)) == []
    schedule.finished("a")
    assert schedule.start_due(T0 + timedelta(minutes=5)) == ["a"]


def test_new_devices_come_soon_and_removed_ones_are_forgotten() -> None:
    schedule = Schedule(60)
    schedule.keep(["a", "b"], T0)
    assert sorted(schedule.start_due(T0 + timedelta(seconds=3))) == ["a", "b"]
    schedule.keep(["b"], T0 + timedelta(seconds=4))
    schedule.finished("a")
    schedule.finished("b")
    assert schedule.start_due(T0 + timedelta(minutes=2)) == ["b"]


def test_the_wait_is_until_the_next_device_is_due() -> None:
    schedule = Schedule(60)
    assert schedule.wait_s(T0, 5) == 5
    schedule.keep(["a"], T0)
    assert 0 <= schedule.wait_s(T0, 5) <= 3
    assert schedule.wait_s(T0 + timedelta(hours=1), 5) == 0

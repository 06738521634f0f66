"""Time is an argument. Code that must ask for it is given a `Clock`.

Instants are aware UTC datetimes. The local calendar appears only where a bill needs a date, with the zone as an
argument: what an account has and uses is counted in its zone, books are kept in that of their legal entity.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """Tells the present instant, aware and in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class MovableClock:
    """A clock that stands where it was put: the demo makes its history with it, tests move it."""

    def __init__(self, at: datetime) -> None:
        self._at = require_utc(at)

    def now(self) -> datetime:
        return self._at

    def move_to(self, at: datetime) -> None:
        """Move to a later instant. Raises ValueError for an earlier one: time never goes back."""
        if require_utc(at) < self._at:
            raise ValueError(f"the clock stands at {self._at.isoformat()} and cannot go back to {at.isoformat()}")
        self._at = at

    def advance(self, by: timedelta) -> None:
        self.move_to(self._at + by)


def require_utc(at: datetime) -> datetime:
    """Return `at` converted to UTC. Raises ValueError when it is naive."""
    if at.tzinfo is None:
        raise ValueError(f"naive datetime {at!r}: instants are aware UTC")
    return at.astimezone(UTC)


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """The calendar day on which `at` falls in `zone`."""
    return require_utc(at).astimezone(zone).date()


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The UTC instant at which `day` begins in `zone` (not always midnight: some zones skip it at DST)."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or its last one: 31 January + 1 is 28 or 29 February. Count from the first."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))

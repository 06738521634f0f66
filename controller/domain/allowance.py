"""How much a service may carry in a period, and what is left of its speed beyond that. Filled by the API or by billing.

    octets ──────────────┬── steps[0] ───────┬── steps[1] ─────────── used →
    the plan's speed     │ its profile       │ its profile, or nothing
                         └ beyond 0 octets   └ beyond so many octets

Top-ups move all of it to the right. Periods begin at local midnight in the zone of the legal entity that sold the
service, so the day on which clocks change has 23 or 25 hours of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.domain.clock import local_date, start_of_day
from controller.domain.service import SpeedProfile


class PeriodKind(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Counted(StrEnum):
    """Which octets count, in the subscriber's directions."""

    BOTH = "both"
    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"

    def of(self, upstream_octets: int, downstream_octets: int) -> int:
        up = 0 if self is Counted.DOWNSTREAM else upstream_octets
        down = 0 if self is Counted.UPSTREAM else downstream_octets
        return up + down


@dataclass(frozen=True, slots=True)
class FairUseStep:
    """From `beyond_octets` past the allowance on, `profile` holds; None is a cap: no session at all."""

    beyond_octets: int
    profile: SpeedProfile | None


@dataclass(frozen=True, slots=True)
class Period:
    """Half-open, aware UTC instants."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Allowance:
    """`first_day` is the day of the month (1 to 28) or the ISO weekday (1 Monday to 7) on which a period begins.

    Raises ValueError for what cannot be.
    """

    octets: int
    period: PeriodKind
    steps: tuple[FairUseStep, ...]
    zone: str
    first_day: int = 1
    counted: Counted = Counted.BOTH

    def __post_init__(self) -> None:
        if self.octets < 0:
            raise ValueError("an allowance is no less than 0 octets")
        beyond = [step.beyond_octets for step in self.steps]
        if not beyond or beyond[0] != 0 or beyond != sorted(set(beyond)):
            raise ValueError("steps begin with the one beyond 0 octets, and each further one is beyond more")
        if any(step.profile is None for step in self.steps[:-1]):
            raise ValueError("nothing comes after a step without a speed")
        if not 1 <= self.first_day <= {PeriodKind.WEEK: 7}.get(self.period, 28):
            raise ValueError(f"no {self.period} begins on day {self.first_day}")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{self.zone!r} is no time zone such as Europe/Berlin") from None

    def step_at(self, used_octets: int, topped_up_octets: int) -> int:
        """How many steps were reached: 0 leaves the plan's speed, n is `steps[n - 1]`."""
        beyond = used_octets - self.octets - topped_up_octets
        return sum(step.beyond_octets <= beyond for step in self.steps)

    def limit(self, step: int, topped_up_octets: int) -> int:
        """The octets with which step 1, 2 … is reached."""
        return self.octets + topped_up_octets + self.steps[step - 1].beyond_octets

    def profile(self, step: int) -> SpeedProfile | None:
        """The speed of step 1, 2 …; None where nothing is left."""
        return self.steps[step - 1].profile

    def period_at(self, at: datetime) -> Period:
        """The period that an aware instant lies in."""
        zone = ZoneInfo(self.zone)
        first = self._first_day(local_date(at, zone))
        return Period(start_of_day(first, zone), start_of_day(self._next(first), zone))

    def _first_day(self, day: date) -> date:
        if self.period is PeriodKind.DAY:
            return day
        if self.period is PeriodKind.WEEK:
            return day - timedelta(days=(day.isoweekday() - self.first_day) % 7)
        this = day.replace(day=self.first_day)
        return this if this <= day else (this.replace(day=1) - timedelta(days=1)).replace(day=self.first_day)

    def _next(self, first: date) -> date:
        if self.period is PeriodKind.MONTH:
            return (first.replace(day=1) + timedelta(days=31)).replace(day=self.first_day)
        return first + timedelta(days=1 if self.period is PeriodKind.DAY else 7)

"""Billing periods: cycles of months that begin on an anchor day, or of weeks, in the zone of the account.

The anchor is stored and each period is computed from it, so 31 → 28 February → 31 March does not drift to the 28th.
Which month a longer cycle begins in, and which weekday a week, is that of the subscription's `phase_on`: the day on
which it became known. Pure: days in, days out.

    anchor 1, said on 11 June to be 15      |---- June ----|- rest -|---- 15 July … 14 August ----|
                                            1              1 July   15

An anchor that is changed holds from the end of the period in which that was said. The days until it comes are the rest
of a period: priced by the days of that whole one.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from billing_bridge.rating.proration import DaySpan, Rest
from controller.domain.price import CYCLE_MONTHS, Cycle


@dataclass(frozen=True, slots=True)
class Calendar:
    """Of one subscription. Raises ValueError unless `anchor_day` is 1 … 31.

    `changes` are other anchor days with the days on which they were said, in order of time.
    """

    anchor_day: int = 1
    phase_on: date = date(2000, 1, 1)
    changes: tuple[tuple[date, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.anchor_day <= 31:
            raise ValueError(f"anchor day {self.anchor_day} is not a day of a month")

    @property
    def newest_anchor(self) -> int:
        return self.changes[-1][1] if self.changes else self.anchor_day

    def period(self, day: date, cycle: Cycle = "month") -> DaySpan:
        """The period that `day` falls in, or the rest of one."""
        if not self.changes or cycle not in CYCLE_MONTHS:
            return self._regular(day, cycle)
        *before, (said_on, anchor_day) = self.changes
        known = Calendar(self.anchor_day, self.phase_on, tuple(before))
        ends_on = known.period(said_on, cycle).until_on
        if day < ends_on:
            return known.period(day, cycle)
        begins_on = Calendar(anchor_day)._regular(ends_on - timedelta(days=1), "month").until_on
        now = Calendar(anchor_day, begins_on)
        if day >= begins_on:
            return now._regular(day, cycle)
        return Rest(ends_on, begins_on, now._regular(ends_on, cycle).days)

    def _regular(self, day: date, cycle: Cycle) -> DaySpan:
        months = CYCLE_MONTHS.get(cycle)
        if months is None:
            first_on = day - timedelta(days=(day - self.phase_on).days % 7)
            return DaySpan(first_on, first_on + timedelta(days=7))
        first = self._month(day)
        if months > 1:
            phase = self._month(self.phase_on)
            first = phase + (first - phase) // months * months
        return DaySpan(self._begin(first), self._begin(first + months))

    def periods(self, first: date, last: date, cycle: Cycle = "month") -> list[DaySpan]:
        """Every period from that of `first` to that of `last`; empty when `last` is before `first`."""
        if last < first:
            return []
        found = [self.period(first, cycle)]
        while found[-1].until_on <= last:
            found.append(self.period(found[-1].until_on, cycle))
        return found

    def earliest(self, day: date, cycles: Iterable[Cycle]) -> date:
        """The first day of the longest of the periods of these cycles that `day` falls in; of a month at least."""
        return min(self.period(day, cycle).first_on for cycle in {"month", *cycles})

    def _month(self, day: date) -> int:
        """The month, counted from the year 0, in which the month from anchor to anchor begins that `day` falls in."""
        month = day.year * 12 + day.month - 1
        return month if day >= self._begin(month) else month - 1

    def _begin(self, month: int) -> date:
        return _anchored(month, self.anchor_day)


@lru_cache(maxsize=4096)
def _anchored(month: int, anchor_day: int) -> date:
    """The anchor day of a month counted from the year 0, or its last day. A bill run asks for a few of them only."""
    year, month = divmod(month, 12)
    return date(year, month + 1, min(anchor_day, calendar.monthrange(year, month + 1)[1]))


def period_containing(day: date, anchor_day: int = 1) -> DaySpan:
    """The month from anchor to anchor that `day` falls in. Raises ValueError unless `anchor_day` is 1 … 31."""
    return Calendar(anchor_day).period(day)

"""Billing periods: months that begin on an anchor day, counted in the zone of the legal entity.

The anchor is stored and each period is computed from it, so 31 → 28 February → 31 March does not drift to the 28th.
Pure: days in, days out.
"""

from __future__ import annotations

import calendar
from datetime import date

from billing_bridge.rating.proration import DaySpan


def period_containing(day: date, anchor_day: int = 1) -> DaySpan:
    """The period that `day` falls in. Raises ValueError unless `anchor_day` is 1 … 31."""
    if not 1 <= anchor_day <= 31:
        raise ValueError(f"anchor day {anchor_day} is not a day of a month")
    first_on = _anchored(day.year, day.month, anchor_day)
    if first_on > day:
        return DaySpan(_anchored(*_month_before(day.year, day.month), anchor_day), first_on)
    return DaySpan(first_on, _anchored(*_month_after(day.year, day.month), anchor_day))


def periods_from(first: date, last: date, anchor_day: int = 1) -> list[DaySpan]:
    """Every period from that of `first` to that of `last`; empty when `last` is before `first`."""
    if last < first:
        return []
    found = [period_containing(first, anchor_day)]
    while found[-1].until_on <= last:
        found.append(period_containing(found[-1].until_on, anchor_day))
    return found


def _anchored(year: int, month: int, anchor_day: int) -> date:
    return date(year, month, min(anchor_day, calendar.monthrange(year, month)[1]))


def _month_before(year: int, month: int) -> tuple[int, int]:
    return (year - 1, 12) if month == 1 else (year, month - 1)


def _month_after(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)

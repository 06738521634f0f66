"""Instants and lengths as files of call records write them: ISO, epochs, clocks on the wall, h:mm:ss. Pure.

A local time of the hour that comes twice a year has two instants. `span` takes those that the length of the call bears
out, and where nothing does the first. A time that the clock was put forward over is none. A started second counts
whole.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from itertools import product
from typing import Literal
from zoneinfo import ZoneInfo

Times = Literal["iso", "epoch", "epoch-ms", "format"]
Durations = Literal["seconds", "milliseconds", "clock"]

_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", re.ASCII)
_CLOCK = re.compile(r"(?:([0-9]{1,5}):)?([0-9]{1,2}):([0-5][0-9](?:\.[0-9]{1,9})?)", re.ASCII)
_DAY = timedelta(days=1)


class NoTime(Exception):
    """What is wrong with a time, or a length."""


def check_format(pattern: str) -> None:
    """Raises ValueError for a strptime format that does not read an instant back, to the minute at least."""
    at = datetime(2026, 11, 22, 17, 8, 59, tzinfo=UTC)
    found = datetime.strptime(at.strftime(pattern), pattern).replace(tzinfo=UTC)
    if found.replace(second=59) != at:
        raise ValueError(f"{pattern!r} does not say year, month, day, hour and minute")


def instants(text: str, form: Times, pattern: str, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants, in UTC, that `text` may be: one, or two in the hour that comes twice. Raises NoTime."""
    try:
        if form in ("epoch", "epoch-ms"):
            seconds = int(text.partition(".")[0])
            return (_believed(datetime.fromtimestamp(seconds / 1000 if form == "epoch-ms" else seconds, UTC), text),)
        if form == "format":
            found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is that of the file
        else:
            found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return (_believed(found.astimezone(UTC), text),)
        both = (found.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        real = [at for at in both if at.astimezone(zone).replace(tzinfo=None) == found]
    except (ValueError, OverflowError, OSError):
        raise NoTime(f"{text!r} is no instant") from None
    if not real:
        raise NoTime(f"{text!r} does not exist in {zone.key}: the clock was put forward over it")
    return tuple(dict.fromkeys(_believed(at, text) for at in real))


def span(
    begins: tuple[datetime, ...], ends: tuple[datetime, ...], duration_s: int | None, *, next_day: bool = False
) -> tuple[datetime, datetime]:
    """Begin and end: of what they may be, what `duration_s` bears out best, and of equals the first.

    `next_day`: an end is a time of day only, so one before the begin is of the day after.
    """
    pairs = [(since, until + _DAY if next_day and until < since else until) for since, until in product(begins, ends)]
    if duration_s is not None and len(pairs) > 1:
        length = timedelta(seconds=duration_s)
        return min(pairs, key=lambda pair: abs(pair[1] - pair[0] - length))
    return next((pair for pair in pairs if pair[0] <= pair[1]), pairs[0])


def seconds(text: str, form: Durations, decimal: str) -> int:
    """Whole seconds of a length; of a fraction the started one. Raises NoTime."""
    plain = text if decimal == "." else text.replace(decimal, ".")
    if form == "clock":
        clock = _CLOCK.fullmatch(plain)
        if clock is None:
            raise NoTime(f"{text!r} is no length such as 0:01:05")
        exact = int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + Decimal(clock[3])
    elif _NUMBER.fullmatch(plain):
        exact = Decimal(plain) / (1000 if form == "milliseconds" else 1)
    else:
        raise NoTime(f"{text!r} is no whole number")
    return int(exact.to_integral_value(rounding=ROUND_UP))


def _believed(at: datetime, text: str) -> datetime:
    if not 1970 <= at.year < 2200:
        raise NoTime(f"{text!r} is no instant of our time")
    return at

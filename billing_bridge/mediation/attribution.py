"""Which local day carried the octets of an interval: cut at midnight, in proportion to time, exact to the octet.

A session that reports at 23:50 and at 00:20 carried one third of the difference on the first day. Parts are
differences of rounded-down running shares, so they always sum to the whole, however often an interval is cut. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from controller.domain.clock import local_date, start_of_day

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DayPart:
    """The part of an interval on one local day."""

    day: date
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int


def split_by_day(
    since: datetime,
    until: datetime,
    upstream_octets: int,
    downstream_octets: int,
    zone: ZoneInfo,
    also: Sequence[datetime] = (),
) -> list[DayPart]:
    """Cut [since, until) at the midnights of `zone`, and at the instants `also` that lie within.

    An interval without duration belongs to the day of `until`.
    """
    first, last = local_date(since, zone), local_date(until, zone)
    within = {at for at in also if since < at < until}
    if (first == last and not within) or since >= until:
        return [DayPart(last, min(since, until), until, upstream_octets, downstream_octets)]
    cuts = [since, *sorted({*_midnights(first, last, zone, until), *within}), until]
    whole = (until - since) // _MICROSECOND
    parts: list[DayPart] = []
    for begin, end in pairwise(cuts):
        before, after = (begin - since) // _MICROSECOND, (end - since) // _MICROSECOND
        upstream = upstream_octets * after // whole - upstream_octets * before // whole
        downstream = downstream_octets * after // whole - downstream_octets * before // whole
        parts.append(DayPart(local_date(begin, zone), begin, end, upstream, downstream))
    return parts


def _midnights(first: date, last: date, zone: ZoneInfo, until: datetime) -> list[datetime]:
    days = (first + timedelta(days=n) for n in range(1, (last - first).days + 1))
    return [at for day in days if (at := start_of_day(day, zone)) < until]

"""Usage as the rating function takes it: days, and their quarters of an hour where a plan has hours.

Quarters are made from the very intervals that a day is the sum of, and so add up to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import evidence
from billing_bridge.billing.model import BookedInterval, DayUsage, Subscription
from billing_bridge.rating.book import OctetBook, OctetRecord, micros
from billing_bridge.rating.line import Octets, Usage
from billing_bridge.sources.booked import BookedCall, standing
from billing_bridge.sources.ports import Ports

DayOf = tuple[str, date]
"""A service and the day on which its octets were used."""

_NO_PORTS = Ports()

Quarters = Mapping[DayOf, Mapping[int, Octets]]


async def quarters_of(conn: AsyncConnection, subscriptions: Iterable[Subscription]) -> Quarters:
    """The quarters of all their days, each by the clock of its zone."""
    found: dict[DayOf, Mapping[int, Octets]] = {}
    for s in subscriptions:
        for day in s.usage:
            found[day.service_id, day.day] = cut(await evidence.intervals(conn, day), s.zone)
    return found


def cut(intervals: Sequence[BookedInterval], zone: ZoneInfo) -> dict[int, Octets]:
    """The intervals of one service and day by quarters of the local clock."""
    book = OctetBook(zone, quarters=True)
    book.add(_record(booked) for booked in intervals)
    quarters: dict[int, Octets] = {}
    for of_day in book.usage("").by_quarter.values():
        for quarter, octets in of_day.items():
            before = quarters.get(quarter)
            quarters[quarter] = octets if before is None else _sum(before, octets)
    return quarters


def usage_of(
    days: Sequence[DayUsage], quarters: Quarters, calls: Sequence[BookedCall] = (), ports: Ports = _NO_PORTS
) -> Usage:
    """What counts on which day: on itself, or on the one to which it was released; and the calls that stand."""
    by_day: dict[date, Octets] = {}
    by_quarter: dict[date, dict[int, Octets]] = {}
    for used in days:
        day, octets = used.counted_on, Octets(used.upstream_octets, used.downstream_octets)
        before = by_day.get(day)
        by_day[day] = octets if before is None else _sum(before, octets)
        if not quarters:
            continue
        counted = by_quarter.setdefault(day, {})
        for quarter, octets in quarters.get((used.service_id, used.day), {}).items():
            known = counted.get(quarter)
            counted[quarter] = octets if known is None else _sum(known, octets)
    return Usage(by_day, by_quarter, [call.for_rating for call in standing(calls)], ports.bins)


def _sum(one: Octets, other: Octets) -> Octets:
    return Octets(one.upstream + other.upstream, one.downstream + other.downstream)


def _record(booked: BookedInterval) -> OctetRecord:
    i = booked.interval
    return "", micros(i.since), micros(i.until), i.upstream_octets, i.downstream_octets

"""What was moved because of what a person said of an identifier: taken from one service, given to another.

A move names the bookings that it made, first to last; what was taken back stands among them below zero. Of what is cut
at the instant, the part that a service keeps is taken back and given again: only what is left of that is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import and_, case, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources.assignments import CALLS, OCTETS
from billing_bridge.sources.tables import call, move
from billing_bridge.tables import usage_interval


@dataclass(frozen=True, slots=True)
class MovedBooking:
    """Taken from a service (negative) or given to it by the entry of `since`; days are local ones."""

    since: datetime
    service_id: str
    octets: int
    calls: int
    duration_s: int
    first_on: date
    last_on: date


async def of_identifier(conn: AsyncConnection, kind: str, name: str) -> list[MovedBooking]:
    """In order of the entries, what was taken before what was given."""
    found = [*await _octets(conn, kind, name), *await _calls(conn, kind, name)]
    return sorted(found, key=lambda m: (m.since, m.octets > 0 or m.calls > 0, m.service_id, m.first_on))


async def _octets(conn: AsyncConnection, kind: str, name: str) -> list[MovedBooking]:
    i = usage_interval.c
    octets = i.upstream_octets + i.downstream_octets
    within = and_(i.interval_id >= move.c.first_id, i.interval_id <= move.c.last_id)
    query = (
        select(move.c.since, i.service_id, func.sum(octets).label("octets"), func.min(i.day), func.max(i.day))
        .select_from(move.join(usage_interval, within))
        .where(move.c.kind == kind, move.c.identifier == name, move.c.measure == OCTETS)
        .group_by(move.c.since, i.service_id)
    )
    return [
        MovedBooking(since, service_id, int(total), 0, 0, first_on, last_on)
        for since, service_id, total, first_on, last_on in await conn.execute(query)
        if total
    ]


async def _calls(conn: AsyncConnection, kind: str, name: str) -> list[MovedBooking]:
    c = call.c
    sign = case((c.duration_s < 0, -1), else_=literal(1))
    within = and_(c.call_id >= move.c.first_id, c.call_id <= move.c.last_id)
    query = (
        select(move.c.since, c.service_id, func.sum(sign), func.sum(c.duration_s), func.min(c.day), func.max(c.day))
        .select_from(move.join(call, within))
        .where(move.c.kind == kind, move.c.identifier == name, move.c.measure == CALLS)
        .group_by(move.c.since, c.service_id)
    )
    return [
        MovedBooking(since, service_id, 0, int(count), int(seconds), first_on, last_on)
        for since, service_id, count, seconds, first_on, last_on in await conn.execute(query)
        if count
    ]

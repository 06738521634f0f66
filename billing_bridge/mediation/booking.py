"""Books growth of known services: cut at midnight, added to intervals and days, and settled against their plans.

Midnight is that of the service's own zone; `zone` is that of all who have none (billing_bridge.zones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation import repository
from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.growth import Growth
from billing_bridge.mediation.repository import Booking, Standing
from billing_bridge.sources.ledger import RATED
from billing_bridge.suspense.dispositions import counts_as, day_items
from billing_bridge.suspense.settle import rate_again, settle
from billing_bridge.zones import zones_of

_UNKNOWN = Standing()

Shares = Mapping[str, int]
"""Octets by what they count as in the ledger of usage."""


@dataclass(frozen=True, slots=True)
class Posted:
    """`unrated`: what the bookings count as that are not simply rated, by their places."""

    last_interval_id: int
    unrated: Mapping[int, str]

    def disposition(self, place: int) -> str:
        """What the booking in the place of `place` counts as."""
        return self.unrated.get(place, RATED)


@dataclass(frozen=True, slots=True)
class Booked:
    """`unrated`: what was booked and is not simply rated, by its place, with what it is instead."""

    last_interval_id: int
    unrated: Mapping[int, Shares]

    def shares(self, place: int, octets: int) -> Shares:
        """What the octets booked in the place of `place` count as."""
        return self.unrated.get(place) or {RATED: octets}


async def book(
    conn: AsyncConnection,
    grown: Sequence[Growth],
    last_interval_id: int,
    *,
    zone: ZoneInfo,
    now: datetime,
    source: str | None = None,
) -> Booked:
    """Book `grown`, each of which names a service.

    Their record ids are those of the usage log, or of `source`. The caller holds the position, moves it to the id of
    the last interval, and counts what it gave in the ledger.
    """
    standings = await repository.standings(conn, (str(g.service_id) for g in grown))
    zones = await zones_of(conn, (g.service_id for g in grown), zone)
    by_growth = [_parts(g, standings.get(str(g.service_id), _UNKNOWN), zones.of(g.service_id), source) for g in grown]
    bookings = [booking for parts in by_growth for booking in parts]
    found = await post(conn, bookings, standings, last_interval_id, zone=zone, now=now)
    if not found.unrated:
        return Booked(found.last_interval_id, {})
    unrated: dict[int, Shares] = {}
    place = 0
    for n, parts in enumerate(by_growth):
        sums: dict[str, int] = {}
        for booking in parts:
            disposition = found.disposition(place)
            sums[disposition] = sums.get(disposition, 0) + booking.octets
            place += 1
        if sums.keys() - {RATED}:
            unrated[n] = sums
    return Booked(found.last_interval_id, unrated)


async def post(
    conn: AsyncConnection,
    bookings: Sequence[Booking],
    standings: Mapping[str, Standing],
    last_interval_id: int,
    *,
    zone: ZoneInfo,
    now: datetime,
) -> Posted:
    """Add these to the intervals and days of their services, whose standings are held, and settle the days."""
    await repository.add_bookings(conn, bookings, last_interval_id)
    late: dict[str, date] = {}
    unsure: dict[str, date] = {}
    for booking in bookings:
        if booking.adjustment:
            _earliest(late, booking)
        if not standings.get(booking.service_id, _UNKNOWN).entitles(booking.day):
            _earliest(unsure, booking)
    await rate_again(conn, late)
    unrated: dict[int, str] = {}
    if unsure:
        services, since = sorted(unsure), min(unsure.values())
        await settle(conn, services, zone=zone, now=now, since=since, upto=last_interval_id)
        items = await day_items(conn, services, since)
        for place, booking in enumerate(bookings):
            of_day = items.get((booking.service_id, booking.day), ())
            disposition = counts_as(last_interval_id + 1 + place, of_day)
            if disposition != RATED:
                unrated[place] = disposition
    return Posted(last_interval_id + len(bookings), unrated)


def _parts(growth: Growth, standing: Standing, zone: ZoneInfo, source: str | None) -> list[Booking]:
    return [
        Booking(
            str(growth.service_id),
            part.day,
            growth.session_key,
            growth.grown_since or growth.since,
            part.since,
            part.until,
            part.upstream_octets,
            part.downstream_octets,
            growth.record_ids,
            standing.bills_late(part.day),
            source,
        )
        for part in split_by_day(growth.since, growth.until, growth.upstream_octets, growth.downstream_octets, zone)
        if part.upstream_octets or part.downstream_octets
    ]


def _earliest(days: dict[str, date], booking: Booking) -> None:
    days[booking.service_id] = min(days.get(booking.service_id, booking.day), booking.day)

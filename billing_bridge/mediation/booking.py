"""Books growth of known services: cut at midnight, added to intervals and days, and settled against their plans."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation import repository
from billing_bridge.mediation.attribution import split_by_day
from billing_bridge.mediation.growth import Growth
from billing_bridge.mediation.repository import Booking, Standing
from billing_bridge.suspense.settle import rate_again, settle

_UNKNOWN = Standing()


async def book(
    conn: AsyncConnection,
    grown: Sequence[Growth],
    last_interval_id: int,
    *,
    zone: ZoneInfo,
    now: datetime,
    source: str | None = None,
) -> int:
    """Book `grown`, each of which names a service; returns the id of the last interval.

    Their record ids are those of the usage log, or of `source`. The caller holds the position, and moves it to the id
    returned.
    """
    standings = await repository.standings(conn, (str(g.service_id) for g in grown))
    bookings = [
        booking
        for growth in grown
        for booking in _parts(growth, standings.get(str(growth.service_id), _UNKNOWN), zone, source)
    ]
    await repository.add_bookings(conn, bookings, last_interval_id)
    late: dict[str, date] = {}
    unsure: dict[str, date] = {}
    for booking in bookings:
        if booking.adjustment:
            _earliest(late, booking)
        if not standings.get(booking.service_id, _UNKNOWN).entitles(booking.day):
            _earliest(unsure, booking)
    await rate_again(conn, late)
    if unsure:
        await settle(conn, sorted(unsure), zone=zone, now=now, since=min(unsure.values()))
    return last_interval_id + len(bookings)


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
            standing.billed_until is not None and part.day < standing.billed_until,
            source,
        )
        for part in split_by_day(growth.since, growth.until, growth.upstream_octets, growth.downstream_octets, zone)
        if part.upstream_octets or part.downstream_octets
    ]


def _earliest(days: dict[str, date], booking: Booking) -> None:
    days[booking.service_id] = min(days.get(booking.service_id, booking.day), booking.day)

"""Puts a service on the days of its account's zone, also what it has used already.

Most services are dated when they are ordered, before anything is used. What came earlier all the same (a login that was
made by hand, a session that is older than its order) was booked by the usual days: it is taken back and booked again,
to the octet, and stays what it was in the ledger of usage. The second count of the usage log follows.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge import zones
from billing_bridge.checks import recount
from billing_bridge.mediation.moving import date_anew
from billing_bridge.mediation.repository import Position, lock_position, move_position
from billing_bridge.sources import booked, calls
from billing_bridge.sources.ledger import RADIUS
from billing_bridge.suspense.dispositions import live, parts_of
from billing_bridge.tables import usage_day


async def put_on_own_days(
    conn: AsyncConnection, service_id: str, account_id: str, usual: ZoneInfo, now: datetime
) -> ZoneInfo:
    """Count the days of the service in the zone of the account; returns it. Mediation's position is held from now on,
    so that usage of a service which no subscription names yet meets its activation here."""
    position = await lock_position(conn)
    is_new = await zones.follow(conn, service_id, account_id, usual)
    zone = (await zones.zones_of(conn, [service_id], usual)).of(service_id)
    if is_new:
        until = await recount.counted_until(conn)
        before = await _octets(conn, service_id, until)
        last_interval_id = await date_anew(conn, service_id, position.last_interval_id, zone=usual, now=now)
        await move_position(conn, Position(position.record_id, last_interval_id))
        after = await _octets(conn, service_id, until)
        await recount.shift(conn, service_id, {day: after[day] - before[day] for day in {*before, *after}})
        await booked.date_anew(conn, service_id, zone)
        await calls.change_of_timeline(conn, service_id, zone=usual, now=now)
    return zone


async def _octets(conn: AsyncConnection, service_id: str, until: int) -> Counter[date]:
    """By day, what records of the usage log up to `until` have added."""
    used = await conn.scalars(select(usage_day.c.day).where(usage_day.c.service_id == service_id))
    found: Counter[date] = Counter()
    for part in live(await parts_of(conn, {(service_id, day) for day in used})):
        if part.source == RADIUS and part.record_ids[-1] <= until:
            found[part.day] += part.octets
    return found

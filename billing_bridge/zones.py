"""In which zone the days of an account and of its services are counted: its own, which it was opened in.

Kept are those of accounts in another zone than the usual one, the legal entity's: a copy, told by events and never
changed. A service has the zone of its account from the moment its order is known; what was booked before that by the
usual days is booked again by its own (billing.dating).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Column, ColumnElement, Date, and_, case, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.tables import own_zone
from controller.domain.clock import local_date, start_of_day
from controller.store.many import insert_rows, one_of

_COLUMNS = ("owner_id", "zone")
_ONCE = "ON CONFLICT (owner_id) DO NOTHING"


@dataclass(frozen=True, slots=True)
class Zones:
    """`own` by account or service; whoever is not in it is in the `usual` one."""

    usual: ZoneInfo
    own: Mapping[str, ZoneInfo] = field(default_factory=dict)

    def of(self, owner_id: str | None) -> ZoneInfo:
        """The zone of an account, of a service, or (None) of nobody's usage."""
        return self.usual if owner_id is None else self.own.get(owner_id, self.usual)

    def midnights(self, owners: Iterable[str | None], since: datetime, until: datetime) -> set[datetime]:
        """Where days of any of them begin between two instants."""
        return {at for zone in {self.of(owner) for owner in owners} for at in midnights(since, until, zone)}


def midnights(since: datetime, until: datetime, zone: ZoneInfo) -> list[datetime]:
    """Where days begin after `since` and before `until`."""
    first, last = local_date(since, zone), local_date(until, zone)
    days = (first + timedelta(days=n) for n in range(1, (last - first).days + 1))
    return [at for day in days if since < (at := start_of_day(day, zone)) < until]


async def zones_of(conn: AsyncConnection, owner_ids: Iterable[str | None], usual: ZoneInfo) -> Zones:
    """The zones of these accounts, or services; one query for all of them."""
    ids = sorted({i for i in owner_ids if i is not None})
    if not ids:
        return Zones(usual)
    query = select(own_zone.c.owner_id, own_zone.c.zone).where(one_of(conn, own_zone.c.owner_id, ids))
    return Zones(usual, {owner_id: ZoneInfo(zone) for owner_id, zone in await conn.execute(query)})


async def every_zone(conn: AsyncConnection, usual: ZoneInfo) -> set[ZoneInfo]:
    """All in which days of anybody are counted."""
    names = await conn.scalars(select(own_zone.c.zone).distinct())
    return {usual, *map(ZoneInfo, names)}


async def put(conn: AsyncConnection, account_id: str, zone: str, usual: ZoneInfo) -> None:
    """An account was opened in `zone`."""
    if zone != usual.key:
        await insert_rows(conn, own_zone, _COLUMNS, [(account_id, zone)], _ONCE)


async def follow(conn: AsyncConnection, service_id: str, account_id: str, usual: ZoneInfo) -> bool:
    """The service is the account's; whether that may change the days of what it has used already.

    The caller holds mediation's position, so that nothing is booked meanwhile.
    """
    known = await zones_of(conn, [service_id, account_id], usual)
    if account_id not in known.own or service_id in known.own:
        return False
    await insert_rows(conn, own_zone, _COLUMNS, [(service_id, known.own[account_id].key)], _ONCE)
    return True


@dataclass(frozen=True, slots=True)
class Today:
    """What day it is in the usual zone, and in every other that somebody is in, by its name."""

    usual: date
    own: Mapping[str, date]

    def has_come(self, day: Column[date], account_id: Column[str]) -> ColumnElement[bool]:
        """The condition that a day has begun for an account."""
        if not self.own:
            return day <= self.usual
        zone = select(own_zone.c.zone).where(own_zone.c.owner_id == account_id).scalar_subquery()
        days = [(zone == name, literal(on, Date)) for name, on in sorted(self.own.items())]
        return and_(day <= max(self.usual, *self.own.values()), day <= case(*days, else_=literal(self.usual, Date)))


async def today_of(conn: AsyncConnection, now: datetime, usual: ZoneInfo) -> Today:
    zones = await every_zone(conn, usual)
    return Today(local_date(now, usual), {zone.key: local_date(now, zone) for zone in zones - {usual}})

"""Who may log in and who did, service by service: what others compare with what they know. Looks only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, Table, func, select

from controller.store.engine import Database
from controller.store.many import total
from controller.store.metadata import from_micros, to_micros
from controller.store.turns import in_turns
from radius.accounting.session import LIVE
from radius.accounting.tables import history, sessions
from radius.tables import subscriber


@dataclass(frozen=True, slots=True)
class Login:
    """A user name that is not given up. `is_open` is False where it is refused or sent to the walled garden."""

    username: str
    service_id: str
    is_open: bool
    profile_name: str
    downstream_bps: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Carried:
    """Sessions of a user name on a service (None: of no service that RADIUS knows), taken together."""

    username: str
    service_id: str | None
    first_at: datetime
    last_at: datetime
    is_live: bool
    octets: int


class LiveAccess:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def logins(self) -> list[Login]:
        """Every login there is."""
        s = subscriber.c
        query = select(
            s.username, s.service_id, s.enabled, s.suspended, s.profile_name, s.downstream_bps, s.updated_at
        ).where(s.withdrawn.is_(False))
        async with self._database.read() as conn:
            return [
                Login(
                    r.username,
                    r.service_id,
                    r.enabled and not r.suspended,
                    r.profile_name,
                    r.downstream_bps,
                    r.updated_at,
                )
                async for r in in_turns(await conn.execute(query.order_by(s.username)))
            ]

    async def carried(self, since: datetime) -> list[Carried]:
        """Sessions that something was heard of at `since` or later."""
        found: dict[tuple[str, str | None], Carried] = {}
        async with self._database.read() as conn:
            for table in (history, sessions):
                async for row in in_turns(await conn.execute(_carried(table, to_micros(since)))):
                    one = Carried(
                        row.username,
                        row.service_id,
                        from_micros(row.first_us),
                        from_micros(row.last_us),
                        bool(row.live),
                        int(row.octets),
                    )
                    known = found.get((one.username, one.service_id))
                    found[one.username, one.service_id] = one if known is None else _both(known, one)
        return list(found.values())


def _carried(table: Table, since_us: int) -> Select[Any]:
    c = table.c
    return (
        select(
            c.username,
            c.service_id,
            func.min(c.started_us).label("first_us"),
            func.max(c.last_seen_us).label("last_us"),
            func.count().filter(c.state == LIVE).label("live"),
            total(c.upstream_octets + c.downstream_octets).label("octets"),
        )
        .where(c.last_seen_us >= since_us)
        .group_by(c.username, c.service_id)
    )


def _both(one: Carried, other: Carried) -> Carried:
    return Carried(
        one.username,
        one.service_id,
        min(one.first_at, other.first_at),
        max(one.last_at, other.last_at),
        one.is_live or other.is_live,
        one.octets + other.octets,
    )

"""Which source bills a service: data, per measure and from an instant on. The others are compared, never added.

    a person said     that source
    nobody did        octets: RADIUS · calls: the source that told of the service first (its claim)
                      rates of ports: our own polls of interfaces

A word about the service itself outdoes one about all of them ("*").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, select, tuple_
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources.tables import service_source
from controller.store.many import one_of

OCTETS, CALLS, RATES = "octets", "calls", "rates"
"""`RATES`: the bins of ports behind a price by percentile."""
ALL = "*"
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Assignment:
    service_id: str
    measure: str
    since: datetime
    source: str
    claimed: bool
    decided_by: str


class Assigned:
    """What was said about some services, and about all of them."""

    def __init__(self, found: Iterable[Assignment]) -> None:
        self._by_service: dict[str, list[Assignment]] = {}
        for assignment in sorted(found, key=lambda a: a.since):
            self._by_service.setdefault(assignment.service_id, []).append(assignment)

    def __bool__(self) -> bool:
        return bool(self._by_service)

    def at(self, service_id: str, at: datetime) -> Assignment | None:
        """What holds for a service at an instant; a claim yields to what a person said about all services."""
        own = _last(self._by_service.get(service_id, ()), at)
        common = _last(self._by_service.get(ALL, ()), at)
        return common if common is not None and (own is None or own.claimed) else own

    def source(self, service_id: str, at: datetime) -> str | None:
        found = self.at(service_id, at)
        return None if found is None else found.source

    def claim(self, assignment: Assignment) -> None:
        """Take note of a claim that is made in this transaction."""
        self._by_service.setdefault(assignment.service_id, []).append(assignment)


async def of_services(conn: AsyncConnection, measure: str, service_ids: Iterable[str | None]) -> Assigned:
    """What was said about these services."""
    wanted = sorted({i for i in service_ids if i is not None} | {ALL})
    query = select(service_source).where(
        one_of(conn, service_source.c.service_id, wanted), service_source.c.measure == measure
    )
    return Assigned([_assignment(row) for row in await conn.execute(query)])


async def put(conn: AsyncConnection, assignment: Assignment) -> Assignment:
    """Say it; returns what holds then: another one when that was said before for the same instant."""
    insert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    values = {
        "service_id": assignment.service_id, "measure": assignment.measure, "since": assignment.since,
        "source": assignment.source, "claimed": assignment.claimed, "decided_by": assignment.decided_by,
    }  # fmt: skip
    await conn.execute(insert(service_source).values(values).on_conflict_do_nothing())
    query = select(service_source).where(
        service_source.c.service_id == assignment.service_id,
        service_source.c.measure == assignment.measure,
        service_source.c.since == assignment.since,
    )
    return _assignment((await conn.execute(query)).one())


async def page(
    conn: AsyncConnection, service_id: str | None, after: tuple[str, str, datetime] | None, limit: int
) -> list[Assignment]:
    keys = (service_source.c.service_id, service_source.c.measure, service_source.c.since)
    query = select(service_source).order_by(*keys).limit(limit)
    if service_id is not None:
        query = query.where(service_source.c.service_id == service_id)
    if after is not None:
        query = query.where(tuple_(*keys) > after)
    return [_assignment(row) for row in await conn.execute(query)]


def _last(found: Sequence[Assignment], at: datetime) -> Assignment | None:
    return next((a for a in reversed(found) if a.since <= at), None)


def _assignment(row: Row[Any]) -> Assignment:
    return Assignment(row.service_id, row.measure, row.since, row.source, row.claimed, row.decided_by)

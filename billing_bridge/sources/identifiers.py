"""Whose is a username, an address, a telephone number or a port: a timeline per identifier, kept by people.

    alice   |---- service A ----|-- nobody --|---- service B ----
            since               since        since

Half-open: the instant of a change belongs to what follows. Usage that spans a change is cut there, in proportion to
time, by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, tuple_
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.sources.tables import identifier
from controller.store.many import one_of

USERNAME, ADDRESS, PHONE, PORT, SERVICE = "username", "address", "phone", "port", "service"
KINDS = (USERNAME, ADDRESS, PHONE, PORT, SERVICE)
"""`service`: the usage names our own service; there is no timeline of those."""

Timeline = Sequence[tuple[datetime, str | None]]
"""(since, service or nobody), in order of time."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """One entry of a timeline, and who decided it."""

    kind: str
    identifier: str
    since: datetime
    service_id: str | None
    overrides: bool
    mapped_at: datetime
    mapped_by: str


def owner(timeline: Timeline, at: datetime) -> str | None:
    """The service at the instant `at`."""
    found = None
    for since, service_id in timeline:
        if since <= at:
            found = service_id
    return found


def decided(timeline: Timeline, at: datetime) -> bool:
    """Whether anything was decided about the instant `at`."""
    return bool(timeline) and timeline[0][0] <= at


def changes_within(timeline: Timeline, since: datetime, until: datetime) -> list[datetime]:
    """Instants strictly between these two at which it changes hands."""
    return [at for at, _ in timeline if since < at < until]


async def timelines(
    conn: AsyncConnection, kind: str, identifiers: Iterable[str]
) -> dict[str, list[tuple[datetime, str | None]]]:
    """Of each identifier of which anything was decided."""
    return {name: both[0] for name, both in (await _both(conn, kind, identifiers)).items()}


async def both(conn: AsyncConnection, kind: str, name: str) -> tuple[Timeline, Timeline]:
    """Of one identifier: all that was decided, and what is stronger than RADIUS."""
    return (await _both(conn, kind, [name])).get(name, ([], []))


async def usernames(conn: AsyncConnection, names: Iterable[str]) -> dict[str, tuple[Timeline, Timeline]]:
    """Of usernames: all that was decided, for usage that RADIUS knew nobody for, and what is stronger than RADIUS."""
    return dict(await _both(conn, USERNAME, names))


async def _both(
    conn: AsyncConnection, kind: str, names: Iterable[str]
) -> dict[str, tuple[list[tuple[datetime, str | None]], list[tuple[datetime, str | None]]]]:
    query = (
        select(identifier.c.identifier, identifier.c.since, identifier.c.service_id, identifier.c.overrides)
        .where(identifier.c.kind == kind, one_of(conn, identifier.c.identifier, sorted(set(names))))
        .order_by(identifier.c.identifier, identifier.c.since)
    )
    found: dict[str, tuple[list[tuple[datetime, str | None]], list[tuple[datetime, str | None]]]] = {}
    for name, since, service_id, overrides in await conn.execute(query):
        every, strong = found.setdefault(name, ([], []))
        every.append((since, service_id))
        if overrides:
            strong.append((since, service_id))
    return found


async def put(
    conn: AsyncConnection,
    kind: str,
    name: str,
    since: datetime,
    service_id: str | None,
    now: datetime,
    actor: str,
    *,
    overrides: bool = False,
) -> str | None:
    """From `since` on `name` is that of `service_id`; returns whose it is then, which was perhaps decided before."""
    insert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    values = {
        "kind": kind, "identifier": name, "since": since, "service_id": service_id,
        "overrides": overrides, "mapped_at": now, "mapped_by": actor,
    }  # fmt: skip
    await conn.execute(insert(identifier).values(values).on_conflict_do_nothing())
    query = select(identifier.c.service_id).where(
        identifier.c.kind == kind, identifier.c.identifier == name, identifier.c.since == since
    )
    found: str | None = (await conn.execute(query)).scalar_one()
    return found


async def entries(conn: AsyncConnection, kind: str, name: str) -> list[Mapped]:
    """All that was ever decided about one identifier, in order of time."""
    own = select(identifier).where(identifier.c.kind == kind, identifier.c.identifier == name)
    return [_mapped(row) for row in await conn.execute(own.order_by(identifier.c.since))]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries a page holds; None is any. `begins` is how the identifier begins."""

    kind: str | None = None
    name: str | None = None
    begins: str | None = None
    service_id: str | None = None


async def page(
    conn: AsyncConnection, wanted: Wanted, after: tuple[str, str, datetime] | None, limit: int
) -> list[Mapped]:
    """In order of kind, identifier and time."""
    keys = (identifier.c.kind, identifier.c.identifier, identifier.c.since)
    query = select(identifier).order_by(*keys).limit(limit)
    for column, value in (
        (identifier.c.kind, wanted.kind),
        (identifier.c.identifier, wanted.name),
        (identifier.c.service_id, wanted.service_id),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.begins is not None:
        query = query.where(identifier.c.identifier.startswith(wanted.begins, autoescape=True))
    if after is not None:
        query = query.where(tuple_(*keys) > after)
    return [_mapped(row) for row in await conn.execute(query)]


def _mapped(row: Row[Any]) -> Mapped:
    return Mapped(row.kind, row.identifier, row.since, row.service_id, row.overrides, row.mapped_at, row.mapped_by)

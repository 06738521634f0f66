"""The outbox: events written in the transaction of their fact, delivered afterwards, at least once and in order.

Each subscriber keeps its own position. An event that its handler refuses again and again is parked: it stays visible
with its error and can be delivered again; the ones behind it go on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, get_type_hints

from sqlalchemy import Column, Index, Integer, String, Table, Text, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.events import EVENT_TYPES, Event
from controller.store.engine import EVENTS, SETTLED, tell
from controller.store.many import insert_all
from controller.store.metadata import BigId, Id, Instant, metadata

outbox = Table(
    "store_outbox",
    metadata,
    Column("position", BigId, primary_key=True, autoincrement=True),
    Column("event_id", Id, nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("payload", Text, nullable=False),
    sqlite_autoincrement=True,
)

positions = Table(
    "store_outbox_position",
    metadata,
    Column("subscriber", String(64), primary_key=True),
    Column("position", BigId, nullable=False),
)

parked = Table(
    "store_outbox_parked",
    metadata,
    Column("subscriber", String(64), primary_key=True),
    Column("position", BigId, primary_key=True),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("parked_at", Instant, nullable=False),
    Index("ix_store_outbox_parked_parked_at", "parked_at"),
)

# One key for pg_advisory_xact_lock: writers of events commit one after the other, so a position that is visible has no
# lower one still to come. Events are few; high-rate data does not pass through here.
_ORDER_LOCK = 0x4845_4144_0001


@dataclass(frozen=True, slots=True)
class Delivery:
    position: int
    event: Event


async def append(conn: AsyncConnection, *events: Event) -> None:
    """Write events in the caller's transaction. Call it last: it queues behind other writers of events."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ORDER_LOCK})
    rows = [
        {"event_id": e.event_id, "name": e.name, "at": e.at, "actor": e.actor, "payload": encode(e)} for e in events
    ]
    if rows:
        await insert_all(conn, outbox, rows)
        tell(conn, EVENTS)


async def pending(conn: AsyncConnection, subscriber: str, names: Sequence[str], limit: int) -> list[Delivery]:
    """Events after the subscriber's position that it asked for, oldest first."""
    after = await conn.scalar(select(positions.c.position).where(positions.c.subscriber == subscriber)) or 0
    query = (
        select(outbox.c.position, outbox.c.name, outbox.c.payload)
        .where(outbox.c.name.in_(names), outbox.c.position > after)
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return [Delivery(row.position, decode(row.name, row.payload)) for row in await conn.execute(query)]


async def settle(conn: AsyncConnection, subscriber: str, position: int) -> None:
    """Move the subscriber's position to `position`: everything up to it was handled or parked."""
    upsert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    statement = upsert(positions).values(subscriber=subscriber, position=position)
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=[positions.c.subscriber], set_={"position": statement.excluded.position}
        )
    )
    tell(conn, SETTLED)


async def park(
    conn: AsyncConnection, subscriber: str, position: int, *, error: str, attempts: int, now: datetime
) -> None:
    """Set one event aside for one subscriber, with what its handler said."""
    await conn.execute(
        insert(parked).values(
            subscriber=subscriber, position=position, error=error[:2000], attempts=attempts, parked_at=now
        )
    )


async def list_parked(conn: AsyncConnection) -> list[dict[str, Any]]:
    """Everything that waits for a human, oldest first."""
    query = (
        select(parked, outbox.c.name, outbox.c.event_id)
        .join(outbox, outbox.c.position == parked.c.position)
        .order_by(parked.c.position, parked.c.subscriber)
    )
    return [dict(row._mapping) for row in await conn.execute(query)]


async def count_parked(
    conn: AsyncConnection, subscriber: str | None = None, names: Sequence[str] = (), up_to: int | None = None
) -> int:
    """How many wait for a human: all, or those of one subscriber, of these names, up to this position."""
    query = select(func.count()).select_from(parked).join(outbox, outbox.c.position == parked.c.position)
    if subscriber is not None:
        query = query.where(parked.c.subscriber == subscriber)
    if names:
        query = query.where(outbox.c.name.in_(names))
    if up_to is not None:
        query = query.where(parked.c.position <= up_to)
    return int(await conn.scalar(query) or 0)


async def take_parked(conn: AsyncConnection, subscriber: str, position: int) -> Delivery | None:
    """Remove a parked event and return it for another delivery in the same transaction."""
    row = (
        await conn.execute(select(outbox.c.name, outbox.c.payload).where(outbox.c.position == position))
    ).one_or_none()
    gone = await conn.execute(delete(parked).where(parked.c.subscriber == subscriber, parked.c.position == position))
    return Delivery(position, decode(row.name, row.payload)) if row and gone.rowcount else None


async def recent(conn: AsyncConnection, limit: int) -> list[Delivery]:
    """The newest events, newest first: for the NOC page."""
    query = select(outbox.c.position, outbox.c.name, outbox.c.payload).order_by(outbox.c.position.desc()).limit(limit)
    return [Delivery(row.position, decode(row.name, row.payload)) for row in await conn.execute(query)]


def encode(event: Event) -> str:
    """An event as JSON; instants as ISO 8601 in UTC."""
    # Events are flat; `dataclasses.asdict` copies each value deeply, and a bill run writes one event for each document.
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return _json(values)


def decode(name: str, payload: str) -> Event:
    """The event that `encode` wrote. Unknown names are a bug: events are never renamed, only added."""
    kind = EVENT_TYPES[name]
    values = json.loads(payload)
    for field, annotation in get_type_hints(kind).items():
        if field not in values:
            continue
        if annotation is datetime:
            values[field] = datetime.fromisoformat(values[field])
        elif annotation in (date, date | None):
            values[field] = None if values[field] is None else date.fromisoformat(values[field])
        elif isinstance(values[field], list):
            values[field] = tuple(values[field])
    return kind(**values)


def _iso(value: Any) -> str:
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong in an event")


_json = json.JSONEncoder(default=_iso, separators=(",", ":")).encode

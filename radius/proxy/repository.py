"""Rows of proxying, in and out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.secrets import SecretBox
from radius.protocol import dictionary
from radius.proxy.model import HomeServer, Kind, Route
from radius.proxy.tables import home_server, mirror, proxy_realm


def server_context(name: str) -> str:
    """What a sealed secret of a home server is bound to."""
    return f"home-server:{name}"


async def servers(conn: AsyncConnection, box: SecretBox) -> list[HomeServer]:
    """Every home server with its secret opened. Raises RuleError when one does not open."""
    found = []
    for row in await conn.execute(select(home_server).order_by(home_server.c.name)):
        values = {name: getattr(row, name) for name in HomeServer.__dataclass_fields__}
        values["secret"] = None if row.secret is None else box.open(row.secret, server_context(row.name))
        found.append(HomeServer(**values))
    return found


async def routes(conn: AsyncConnection) -> list[Route]:
    return [
        Route(
            realm=row.realm,
            pool=row.pool,
            accounting=row.accounting,
            strips=row.strips,
            request_drops=kinds(row.request_drops.split()),
            reply_allows=None if row.reply_allows is None else kinds(row.reply_allows.split()),
        )
        for row in await conn.execute(select(proxy_realm).order_by(proxy_realm.c.realm))
    ]


def kinds(names: Iterable[str]) -> frozenset[Kind]:
    """Attributes by name. Raises KeyError for one that no dictionary has."""
    return frozenset(dictionary.number(name) for name in names)


async def put(conn: AsyncConnection, table: Table, values: dict[str, Any]) -> dict[str, Any] | None:
    """Write a row by its primary key; returns what was there before."""
    (key,) = table.primary_key.columns
    before = (await conn.execute(select(table).where(key == values[key.name]))).one_or_none()
    if before is None:
        await conn.execute(insert(table).values(**values))
        return None
    await conn.execute(update(table).where(key == values[key.name]).values(**values))
    return dict(before._mapping)


async def drop(conn: AsyncConnection, table: Table, name: str) -> bool:
    (key,) = table.primary_key.columns
    return bool((await conn.execute(delete(table).where(key == name))).rowcount)


async def index(conn: AsyncConnection, table: Table, *, after: str | None, limit: int) -> list[dict[str, Any]]:
    (key,) = table.primary_key.columns
    query = select(table).order_by(key).limit(limit)
    if after is not None:
        query = query.where(key > after)
    return [dict(row._mapping) for row in await conn.execute(query)]


# --- the mirror's queue ---

_NEVER_US = 2**62
"""When a record is due that fits into no packet."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record to be sent on."""

    mirror_id: str
    realm: str
    pool: str
    packet: bytes
    received_us: int
    attempts: int


async def enqueue(conn: AsyncConnection, rows: list[dict[str, Any]], *, is_sqlite: bool) -> None:
    """Store records; one that is there already stays as it is."""
    make = sqlite.insert if is_sqlite else postgresql.insert
    await conn.execute(make(mirror).on_conflict_do_nothing(), rows)


async def claim(conn: AsyncConnection, pools: list[str], *, now_us: int, until_us: int, limit: int) -> list[Waiting]:
    """The oldest that are due, taken from the other processes until `until_us`."""
    due = (
        select(mirror.c.mirror_id)
        .where(mirror.c.due_us <= now_us, mirror.c.pool.in_(pools))
        .order_by(mirror.c.due_us, mirror.c.mirror_id)
        .limit(limit)
    )
    if conn.dialect.name == "postgresql":
        due = due.with_for_update(skip_locked=True)
    taken = (
        update(mirror)
        .where(mirror.c.mirror_id.in_(due))
        .values(due_us=until_us)
        .returning(*(mirror.c[name] for name in Waiting.__dataclass_fields__))
    )
    rows = [Waiting(*row) for row in await conn.execute(taken)]
    return sorted(rows, key=lambda row: row.mirror_id)


async def sent(conn: AsyncConnection, mirror_ids: list[str]) -> None:
    await conn.execute(delete(mirror).where(mirror.c.mirror_id.in_(mirror_ids)))


async def postpone(conn: AsyncConnection, mirror_ids: list[str], due_us: int) -> None:
    await conn.execute(
        update(mirror).where(mirror.c.mirror_id.in_(mirror_ids)).values(due_us=due_us, attempts=mirror.c.attempts + 1)
    )


async def set_aside(conn: AsyncConnection, mirror_ids: list[str]) -> None:
    """Keep records that can never be sent, out of the way of all others."""
    await postpone(conn, mirror_ids, _NEVER_US)


async def backlog(conn: AsyncConnection) -> dict[str, tuple[int, datetime | int | None]]:
    """Pool → how many wait, and when the oldest of them arrived (UTC microseconds)."""
    query = select(mirror.c.pool, func.count(), func.min(mirror.c.received_us)).group_by(mirror.c.pool)
    return {row[0]: (row[1], row[2]) for row in await conn.execute(query.where(mirror.c.due_us < _NEVER_US))}


async def aside(conn: AsyncConnection) -> dict[str, int]:
    """Pool → how many were set aside."""
    query = select(mirror.c.pool, func.count()).where(mirror.c.due_us >= _NEVER_US).group_by(mirror.c.pool)
    return {row[0]: row[1] for row in await conn.execute(query)}

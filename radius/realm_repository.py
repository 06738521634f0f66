"""Rows of radius_realm, in and out. A realm that was taken back stays as a row that says nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from radius.repository import next_revision
from radius.tables import realm as realm_table

_columns = realm_table.c


async def put_realm(conn: AsyncConnection, realm: str, becomes: str | None, now: datetime) -> None:
    values = {"becomes": becomes, "updated_at": now, "revision": await next_revision(conn, realm_table)}
    changed = await conn.execute(update(realm_table).where(_columns.realm == realm).values(**values))
    if not changed.rowcount:
        await conn.execute(insert(realm_table).values(realm=realm, **values))


async def get_realm(conn: AsyncConnection, realm: str) -> str | None:
    """What it becomes; None for a realm that is left alone."""
    return await conn.scalar(select(_columns.becomes).where(_columns.realm == realm))


async def list_realms(conn: AsyncConnection, *, after: str | None, limit: int) -> list[tuple[str, str]]:
    """(realm, what it becomes) by realm, those after `after`."""
    query = select(_columns.realm, _columns.becomes).where(_columns.becomes.is_not(None))
    if after is not None:
        query = query.where(_columns.realm > after)
    return [(row.realm, row.becomes) for row in await conn.execute(query.order_by(_columns.realm).limit(limit))]


async def realms_after(conn: AsyncConnection, revision: int) -> list[tuple[int, str, str | None]]:
    """(revision, realm, what it becomes) of every realm changed after `revision`."""
    query = select(_columns.revision, _columns.realm, _columns.becomes).where(_columns.revision > revision)
    return [tuple(row) for row in await conn.execute(query.order_by(_columns.revision))]

"""Rows of radius_line, in and out. Revisions grow in the order of commits, as those of user names do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from radius.authorization.line import Line
from radius.repository import next_revision
from radius.tables import line as line_table
from radius.tables import subscriber as subscriber_table

_OF = (line_table.c.kind, line_table.c.value, line_table.c.nas_id)


def _is(line: Line) -> object:
    return and_(line_table.c.kind == line.kind, line_table.c.value == line.value, line_table.c.nas_id == line.nas_id)


async def lines_of(conn: AsyncConnection, service_id: str) -> list[Line]:
    """The lines that lead to a service."""
    query = select(*_OF).where(line_table.c.service_id == service_id, line_table.c.withdrawn.is_(False)).order_by(*_OF)
    return [Line(*row) for row in await conn.execute(query)]


async def holder_of(conn: AsyncConnection, line: Line) -> tuple[str, bool] | None:
    """(service, whether it gave the line up) of a line that was ever stored."""
    query = select(line_table.c.service_id, line_table.c.withdrawn).where(_is(line))  # type: ignore[arg-type]
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else (row.service_id, row.withdrawn)


async def put_lines(
    conn: AsyncConnection, service_id: str, gained: Sequence[Line], lost: Sequence[Line], now: datetime
) -> None:
    """Give a service lines, and take lines from it. Those it keeps are not touched."""
    revision = await next_revision(conn, line_table)
    values = {"service_id": service_id, "revision": revision, "updated_at": now}
    for line in lost:
        query = update(line_table).where(_is(line))  # type: ignore[arg-type]
        await conn.execute(query.values(**values, withdrawn=True))
    for line in gained:
        query = update(line_table).where(_is(line))  # type: ignore[arg-type]
        changed = await conn.execute(query.values(**values, withdrawn=False))
        if not changed.rowcount:
            key = {"kind": line.kind, "value": line.value, "nas_id": line.nas_id}
            await conn.execute(insert(line_table).values(**key, **values, withdrawn=False))


async def touch_lines(conn: AsyncConnection, service_id: str, now: datetime) -> None:
    """Have every process look at a service's lines again: its user name is another one."""
    query = update(line_table).where(line_table.c.service_id == service_id, line_table.c.withdrawn.is_(False))
    await conn.execute(query.values(revision=await next_revision(conn, line_table), updated_at=now))


async def lines_after(conn: AsyncConnection, revision: int) -> list[tuple[int, Line, str | None]]:
    """(revision, line, user name of its service or None) of every line changed after `revision`."""
    login = and_(
        subscriber_table.c.service_id == line_table.c.service_id,
        subscriber_table.c.withdrawn.is_(False),
        line_table.c.withdrawn.is_(False),
    )
    query = (
        select(line_table.c.revision, *_OF, subscriber_table.c.username)
        .select_from(line_table.outerjoin(subscriber_table, login))
        .where(line_table.c.revision > revision)
        .order_by(line_table.c.revision)
    )
    return [(row[0], Line(*row[1:4]), row[4]) for row in await conn.execute(query)]

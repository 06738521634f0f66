"""Rows of balances that are being closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, delete, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.model import Closing, State
from billing_bridge.prepaid.tables import GRANTED, call, closing, session, wallet
from controller.domain.identity import ServiceId
from controller.store.many import insert_rows, one_of, replacing

_COLUMNS = tuple(f.name for f in fields(Closing))
_AWAITED = [s.value for s in (State.PENDING, State.OPEN, State.FINAL)]


async def put(conn: AsyncConnection, made: Closing) -> None:
    row = tuple(getattr(made, name) for name in _COLUMNS)
    await insert_rows(conn, closing, _COLUMNS, [row], replacing(closing, _COLUMNS))


async def remove(conn: AsyncConnection, service_id: str) -> None:
    await conn.execute(delete(closing).where(closing.c.service_id == service_id))


async def get(conn: AsyncConnection, service_id: str) -> Closing | None:
    """Held for the caller until its transaction ends."""
    query = select(closing).where(closing.c.service_id == service_id).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _closing(row)


async def of(conn: AsyncConnection, service_ids: Iterable[str]) -> dict[str, Closing]:
    """Those of these services, to look at."""
    query = select(closing).where(one_of(conn, closing.c.service_id, service_ids))
    return {row.service_id: _closing(row) for row in await conn.execute(query)}


async def ready(conn: AsyncConnection, position: int, now: datetime, after: str, limit: int) -> list[ServiceId]:
    """Services whose balance is to be looked at: nothing is waited for, or for too long. In their order."""
    c, w, s = closing.c, wallet.c, session.c
    telling = exists().where(s.service_id == c.service_id, s.state.in_(_AWAITED), s.expires_at > now)
    talking = exists().where(call.c.service_id == c.service_id, text(GRANTED))
    counted = and_(c.record_id <= position, or_(c.is_over, w.balance == 0, and_(~telling, ~talking)))
    query = (
        select(c.service_id)
        .join(wallet, w.service_id == c.service_id)
        .where(
            c.service_id > after, w.closing_at.is_not(None), or_(counted, and_(c.until_at <= now, c.is_over.is_(False)))
        )
    )
    return [ServiceId(found) for found in await conn.scalars(query.order_by(c.service_id).limit(limit))]


async def unpaid(conn: AsyncConnection, after: str, limit: int) -> list[Closing]:
    """Of balances that are closed, and whose rest is still to be paid out; in the order of services."""
    query = _unpaid(select(closing)).where(closing.c.service_id > after)
    return [_closing(row) for row in await conn.execute(query.order_by(closing.c.service_id).limit(limit))]


async def count_unpaid(conn: AsyncConnection) -> int:
    return int(await conn.scalar(_unpaid(select(func.count()).select_from(closing))) or 0)


def _unpaid(query: Select[Any]) -> Select[Any]:
    return query.join(wallet, wallet.c.service_id == closing.c.service_id).where(wallet.c.closed_at.is_not(None))


def _closing(row: Any) -> Closing:
    return Closing(**{name: getattr(row, name) for name in _COLUMNS})

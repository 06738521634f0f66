"""Rows of balances that are being closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, exists, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.model import Closing, State
from billing_bridge.prepaid.tables import GRANTED, call, closing, session, wallet
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


async def ready(conn: AsyncConnection, position: int, now: datetime, limit: int) -> list[str]:
    """Services whose balance is to be looked at: nothing is waited for, or for too long."""
    c, w, s = closing.c, wallet.c, session.c
    telling = exists().where(s.service_id == c.service_id, s.state.in_(_AWAITED), s.expires_at > now)
    talking = exists().where(call.c.service_id == c.service_id, text(GRANTED))
    counted = and_(c.record_id <= position, or_(c.is_over, w.balance == 0, and_(~telling, ~talking)))
    query = (
        select(c.service_id)
        .join(wallet, w.service_id == c.service_id)
        .where(w.closing_at.is_not(None), or_(counted, and_(c.until_at <= now, c.is_over.is_(False))))
    )
    return list(await conn.scalars(query.order_by(c.service_id).limit(limit)))


async def unpaid(conn: AsyncConnection, limit: int) -> list[Closing]:
    """Of balances that are closed, and whose rest is still to be paid out."""
    query = select(closing).join(wallet, wallet.c.service_id == closing.c.service_id)
    rows = await conn.execute(query.where(wallet.c.closed_at.is_not(None)).order_by(closing.c.service_id).limit(limit))
    return [_closing(row) for row in rows]


def _closing(row: Any) -> Closing:
    return Closing(**{name: getattr(row, name) for name in _COLUMNS})

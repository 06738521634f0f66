"""Rows of stock as frozen values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from erp.inventory.model import StockItem, StockMove, StockState
from erp.inventory.tables import item, move


async def add(conn: AsyncConnection, made: StockItem) -> bool:
    """False when the serial stands already: of two that receive it at once, one gets True."""
    upsert = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    statement = upsert(item).values(
        item_id=made.item_id,
        serial=made.serial,
        kind=made.kind,
        model=made.model,
        state=made.state.value,
        place=made.place,
        holder=made.holder,
        received_at=made.received_at,
        moved_at=made.moved_at,
    )
    statement = statement.on_conflict_do_nothing(index_elements=[item.c.serial])
    return await conn.scalar(statement.returning(item.c.item_id)) is not None


async def change(conn: AsyncConnection, before: StockItem, after: StockItem) -> bool:
    """Move an item out of the state of `before`. False when it is not in it any more: somebody was faster."""
    result = await conn.execute(
        update(item)
        .where(item.c.item_id == before.item_id, item.c.state == before.state.value)
        .values(
            state=after.state.value,
            place=after.place,
            holder=after.holder,
            order_id=after.order_id,
            service_id=after.service_id,
            moved_at=after.moved_at,
        )
    )
    return result.rowcount == 1


async def add_move(conn: AsyncConnection, item_id: str, moved: StockMove) -> None:
    await conn.execute(
        insert(move).values(
            item_id=item_id,
            at=moved.at,
            actor=moved.actor,
            from_place=moved.from_place,
            to_place=moved.to_place,
            state=moved.state.value,
            why=moved.why,
        )
    )


async def by_id(conn: AsyncConnection, item_id: str) -> StockItem | None:
    return await _one(conn, item.c.item_id == item_id)


async def by_serial(conn: AsyncConnection, serial: str) -> StockItem | None:
    return await _one(conn, item.c.serial == serial)


async def of_order(conn: AsyncConnection, order_id: str) -> Sequence[StockItem]:
    return await _list(conn, item.c.order_id == order_id)


async def of_service(conn: AsyncConnection, service_id: str) -> Sequence[StockItem]:
    return await _list(conn, item.c.service_id == service_id)


async def list_items(
    conn: AsyncConnection, *, serial: str | None, state: str | None, after: str | None, limit: int
) -> Sequence[StockItem]:
    query = select(item).order_by(item.c.item_id).limit(limit)
    if serial is not None:
        query = query.where(item.c.serial == serial)
    if state is not None:
        query = query.where(item.c.state == state)
    if after is not None:
        query = query.where(item.c.item_id > after)
    return [_item(row) for row in await conn.execute(query)]


async def moves(conn: AsyncConnection, item_id: str) -> Sequence[StockMove]:
    query = select(move).where(move.c.item_id == item_id).order_by(move.c.sequence)
    return [
        StockMove(row.at, row.actor, row.from_place, row.to_place, StockState(row.state), row.why)
        for row in await conn.execute(query)
    ]


async def _one(conn: AsyncConnection, condition: Any) -> StockItem | None:
    found = await _list(conn, condition)
    return found[0] if found else None


async def _list(conn: AsyncConnection, condition: Any) -> list[StockItem]:
    return [_item(row) for row in await conn.execute(select(item).where(condition).order_by(item.c.item_id))]


def _item(row: Row[Any]) -> StockItem:
    return StockItem(
        item_id=row.item_id,
        serial=row.serial,
        kind=row.kind,
        model=row.model,
        state=StockState(row.state),
        place=row.place,
        holder=row.holder,
        order_id=row.order_id,
        service_id=row.service_id,
        received_at=row.received_at,
        moved_at=row.moved_at,
    )

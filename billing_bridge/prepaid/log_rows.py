"""The usage log, as the follower of prepaid services reads it, and how far it has come.

Whoever moves the position holds its row: who debits and who opens a first balance take turns there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.prepaid.model import Reading, State
from billing_bridge.prepaid.repository import SESSION, any_open
from billing_bridge.prepaid.tables import position, session, wallet
from billing_bridge.tables import session as mediated
from controller.store.many import insert_rows
from controller.store.metadata import from_micros
from controller.store.usage_log import usage_links, usage_records

_FOLLOWER = "prepaid"


async def get_position(conn: AsyncConnection) -> int | None:
    return await conn.scalar(select(position.c.record_id).where(position.c.follower == _FOLLOWER))


async def newest(conn: AsyncConnection) -> int:
    """The highest record that is in the log, whatever may still appear below it."""
    return await conn.scalar(select(func.max(usage_links.c.last_record_id))) or 0


async def lock_position(conn: AsyncConnection) -> int | None:
    """Who debits and who opens a first balance take turns here."""
    query = select(position.c.record_id).where(position.c.follower == _FOLLOWER).with_for_update()
    return await conn.scalar(query)


async def begin_at(conn: AsyncConnection, record_id: int) -> None:
    """Have the log followed from here, unless it is followed for somebody."""
    make = pg_insert if conn.dialect.name == "postgresql" else sqlite_insert
    await conn.execute(make(position).values(follower=_FOLLOWER, record_id=record_id).on_conflict_do_nothing())
    await lock_position(conn)
    if not await any_open(conn):
        await move_position(conn, record_id)


async def move_position(conn: AsyncConnection, record_id: int) -> None:
    await conn.execute(update(position).where(position.c.follower == _FOLLOWER).values(record_id=record_id))


async def readings(conn: AsyncConnection, after: int, until: int) -> list[Reading]:
    """What the log says of prepaid services, in the order of the log; nothing of others is read out."""
    r = usage_records.c
    query = (
        select(
            r.record_id, r.kind, r.session_key, r.nas_id, r.service_id, r.event_us, r.received_us, r.session_time_s,
            r.upstream_octets, r.downstream_octets,
        )
        .join(wallet, wallet.c.service_id == r.service_id)
        .where(r.record_id > after, r.record_id <= until, r.session_key != "")
        .order_by(r.record_id)
    )  # fmt: skip
    return [
        Reading(id_, kind, key, nas_id, service_id, from_micros(event_us), from_micros(received_us), *totals)
        for id_, kind, key, nas_id, service_id, event_us, received_us, *totals in await conn.execute(query)
    ]


async def begin_with_what_was(conn: AsyncConnection, service_id: str, now: datetime, validity: timedelta) -> None:
    """What the service's sessions carried before costs nothing: the totals of live ones, as mediation knows them.

    What it does not know yet is told by the time at which it was carried (`free_until`).
    """
    lately = now - timedelta(days=2)
    query = select(mediated).where(mediated.c.service_id == service_id, mediated.c.heard_at > lately)
    known = [
        (
            row.session_key, service_id, "", "", row.session_key, State.OPEN.value, row.upstream_octets,
            row.downstream_octets, 0, 0, row.seen_until, now, now + validity, now, 0,
        )
        for row in await conn.execute(query)
    ]  # fmt: skip
    await insert_rows(conn, session, SESSION, known, "ON CONFLICT DO NOTHING")

"""Rows of pools and leases. What is read to be changed is locked, in the order of the primary key, so that two
processes wait for each other and never for ever."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement, Select

from controller.store.many import insert_rows, one_of
from radius import repository
from radius.accounting.addressing import ALL_PORTS, DELEGATED_PREFIX, FRAMED_IPV6, FRAMED_PREFIX
from radius.accounting.session import LIVE
from radius.accounting.tables import session_addresses, sessions
from radius.pools.lease import FREE, HELD, LEASED, Lease, Tenant
from radius.pools.model import DELEGATED, IPV4, IPV6, Pool
from radius.pools.owner import station_of
from radius.pools.tables import leases, pools
from radius.tables import subscriber

_LEASE = [leases.c[name] for name in Lease.__dataclass_fields__]
_NEW = ("pool_id", "position", "address", "state", "changed_us", "station")
_CHANGING = tuple(name for name in Lease.__dataclass_fields__ if name not in ("pool_id", "position", "address"))
_FIXED = {IPV4: "framed_ipv4", IPV6: "ipv6_prefix", DELEGATED: "delegated_prefix"}
"""Where the directory keeps addresses that subscribers have for good."""
_CHUNK = 500


# --- pools ---


@dataclass(frozen=True, slots=True)
class PoolRow:
    pool: Pool
    size: int
    made: int
    withdrawn: bool
    revision: int
    updated_at: datetime


async def insert_pool(conn: AsyncConnection, pool: Pool, now: datetime) -> None:
    revision = await repository.next_revision(conn, pools)
    fixed = {"size": pool.size, "made": 0, "withdrawn": False, "created_at": now}
    await conn.execute(insert(pools).values(**_pool_values(pool), **fixed, updated_at=now, revision=revision))


async def update_pool(conn: AsyncConnection, pool: Pool, now: datetime) -> None:
    values = _pool_values(pool) | {"size": pool.size, "updated_at": now}
    await _change_pool(conn, pool.pool_id, values)


async def withdraw_pool(conn: AsyncConnection, pool_id: str, now: datetime) -> None:
    """The row stays, so that who follows by revision learns of its end; its addresses go."""
    await conn.execute(delete(leases).where(leases.c.pool_id == pool_id))
    await _change_pool(conn, pool_id, {"withdrawn": True, "updated_at": now})


async def _change_pool(conn: AsyncConnection, pool_id: str, values: dict[str, Any]) -> None:
    revision = await repository.next_revision(conn, pools)
    await conn.execute(update(pools).where(pools.c.pool_id == pool_id).values(**values, revision=revision))


def _pool_values(pool: Pool) -> dict[str, Any]:
    values = {name: getattr(pool, name) for name in Pool.__dataclass_fields__}
    return values | {"ranges": json.dumps(pool.ranges)}


async def get_pool(conn: AsyncConnection, pool_id: str) -> PoolRow | None:
    query = select(pools).where(pools.c.pool_id == pool_id, pools.c.withdrawn.is_(False))
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _pool_row(row)


async def all_pools(conn: AsyncConnection) -> list[PoolRow]:
    """By name."""
    query = select(pools).where(pools.c.withdrawn.is_(False)).order_by(pools.c.name, pools.c.kind)
    return [_pool_row(row) for row in await conn.execute(query)]


async def pools_after(conn: AsyncConnection, revision: int) -> list[PoolRow]:
    query = select(pools).where(pools.c.revision > revision).order_by(pools.c.revision)
    return [_pool_row(row) for row in await conn.execute(query)]


def _pool_row(row: Any) -> PoolRow:
    pool = Pool(row.pool_id, row.name, row.kind, tuple(json.loads(row.ranges)), row.prefix_length, row.hold_s)
    return PoolRow(pool, row.size, row.made, row.withdrawn, row.revision, row.updated_at)


async def make(conn: AsyncConnection, row: PoolRow, count: int) -> bool:
    """Make rows for the next `count` addresses; False when another process made them, or there are none left."""
    count = min(count, row.size - row.made)
    if count <= 0:
        return False
    known = and_(pools.c.pool_id == row.pool.pool_id, pools.c.made == row.made)
    changed = await conn.execute(update(pools).where(known).values(made=row.made + count))
    if not changed.rowcount:
        return False
    new = [(row.pool.pool_id, n, text, FREE, 0, "") for n, text in row.pool.addresses(row.made, count)]
    await insert_rows(conn, leases, _NEW, new)
    return True


# --- leases ---


async def take_turns(conn: AsyncConnection, service_ids: Iterable[str]) -> None:
    """Wait for other processes that decide about logins of these services: what is read after this is as they left it.

    A service that never had an address has no row to be locked; without this, two would be made its own. All take
    these locks first and in one order. SQLite has one writer.
    """
    if conn.dialect.name == "postgresql":
        await conn.exec_driver_sql(_TURNS, (sorted(set(service_ids)),))


_TURNS = (
    "SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT hashtextextended(service_id, 4846) AS key"
    " FROM unnest(%s::text[]) AS service_id ORDER BY key) AS keys"
)


async def lock_of_services(
    conn: AsyncConnection, service_ids: Iterable[str], pool_ids: Sequence[str] = ()
) -> list[Lease]:
    """Every lease that these services have or had last, of all pools or of some."""
    query = select(*_LEASE).where(one_of(conn, leases.c.service_id, sorted(set(service_ids))))
    if pool_ids:
        query = query.where(leases.c.pool_id.in_(pool_ids))
    query = query.order_by(leases.c.pool_id, leases.c.position).with_for_update()
    return [Lease(*row) for row in await conn.execute(query)]


async def take_free(conn: AsyncConnection, pool: Pool, count: int, taken: Iterable[int]) -> list[Lease]:
    """Up to `count` free addresses, longest unused first, that nobody else takes: those locked elsewhere are passed
    over. None that a subscriber has for good, nor any of the positions `taken`."""
    query = _free(pool).where(leases.c.position.not_in(list(taken)))
    query = query.order_by(leases.c.changed_us, leases.c.position).limit(count)
    return [Lease(*row) for row in await conn.execute(query.with_for_update(skip_locked=True))]


async def fixed_among(conn: AsyncConnection, pool: Pool, addresses: Iterable[str]) -> set[str]:
    """Those that a subscriber has for good."""
    column = subscriber.c[_FIXED[pool.kind]]
    query = select(column).where(one_of(conn, column, addresses), subscriber.c.withdrawn.is_(False))
    return {row[0] for row in await conn.execute(query)}


async def wait_for_free(conn: AsyncConnection, pool: Pool) -> bool:
    """Whether an address is free; one that another process has locked is waited for. Only where nothing is locked."""
    return (await conn.execute(_free(pool).limit(1).with_for_update())).first() is not None


def _free(pool: Pool) -> Select[Any]:
    column = subscriber.c[_FIXED[pool.kind]]
    fixed = exists().where(column == leases.c.address, subscriber.c.withdrawn.is_(False))
    return select(*_LEASE).where(leases.c.pool_id == pool.pool_id, leases.c.state == FREE, ~fixed)


async def expire(conn: AsyncConnection, pool_id: str, now_us: int) -> int:
    """Free what was held and never used; how many. Where a session lives, `settle` looks whose it is."""
    lives = exists().where(sessions.c.service_id == leases.c.service_id, sessions.c.state == LIVE)
    over = and_(leases.c.pool_id == pool_id, leases.c.state == HELD, leases.c.held_until_us <= now_us, ~lives)
    found = select(leases.c.position).where(over).with_for_update(skip_locked=True)
    positions = [row.position for row in await conn.execute(found)]
    free = {"state": FREE, "changed_us": now_us, "held_since_us": None, "held_until_us": None}
    for start in range(0, len(positions), _CHUNK):
        some = leases.c.position.in_(positions[start : start + _CHUNK])
        await conn.execute(update(leases).where(leases.c.pool_id == pool_id, some).values(**free))
    return len(positions)


async def write(conn: AsyncConnection, changed: Iterable[Lease]) -> None:
    rows = [{f"new_{name}": getattr(lease, name) for name in (*_CHANGING, "pool_id", "position")} for lease in changed]
    if rows:
        await conn.execute(_WRITE, rows)


async def tell_addresses(conn: AsyncConnection, changed: Iterable[Lease], tenants: Mapping[str, Tenant]) -> None:
    """Have sessions hold the prefixes that were leased to them: many a NAS reports a delegated prefix late, or never.

    What it did report stands already, and goes before what it was given.
    """
    given = {(lease.session_key, lease.address): lease for lease in changed if ":" in lease.address}
    for (session_key, address), lease in given.items():
        tenant = None if session_key is None else tenants.get(session_key)
        if lease.state != LEASED or tenant is None:
            continue
        kind = await _kind_of(conn, lease)
        c = session_addresses.c
        reported = select(c.session_key).where(c.session_key == session_key, c.kind == kind).limit(1)
        if (await conn.execute(reported)).first() is None:
            row = {"kind": kind, "network": address, "since_us": tenant.started_us, "received_us": tenant.started_us}
            ports = {"first_port": ALL_PORTS[0], "last_port": ALL_PORTS[1]}
            values = row | ports | {"session_key": session_key, "packet_sha256": b""}
            make = sqlite.insert if conn.dialect.name == "sqlite" else postgresql.insert
            await conn.execute(make(session_addresses).values(**values).on_conflict_do_nothing())


async def _kind_of(conn: AsyncConnection, lease: Lease) -> str:
    if await conn.scalar(select(pools.c.kind).where(pools.c.pool_id == lease.pool_id)) == DELEGATED:
        return DELEGATED_PREFIX
    return FRAMED_IPV6 if lease.address.endswith("/128") else FRAMED_PREFIX


_WRITE = (
    update(leases)
    .where(leases.c.pool_id == bindparam("new_pool_id"), leases.c.position == bindparam("new_position"))
    .values(**{name: bindparam(f"new_{name}") for name in _CHANGING})
)


async def tenants(conn: AsyncConnection, service_ids: Iterable[str]) -> list[Tenant]:
    """The live sessions of these services."""
    c = sessions.c
    columns = (c.session_key, c.service_id, c.calling_station_id, c.nas_id, c.nas_port_id, c.started_us, c.framed_ipv4)
    query = select(*columns).where(one_of(conn, c.service_id, sorted(set(service_ids))), c.state == LIVE)
    return [
        Tenant(
            row.session_key,
            row.service_id,
            station_of(row.calling_station_id, row.nas_port_id, row.nas_id),
            row.started_us,
            row.framed_ipv4,
        )
        for row in await conn.execute(query)
    ]


async def services_of_sessions(conn: AsyncConnection, session_keys: Iterable[str]) -> list[str]:
    """Of these sessions' services those that a pool has to do with."""
    known = exists().where(leases.c.service_id == sessions.c.service_id)
    query = select(sessions.c.service_id).distinct().where(one_of(conn, sessions.c.session_key, session_keys), known)
    return [row.service_id for row in await conn.execute(query)]


async def unsettled(conn: AsyncConnection, now_us: int, limit: int) -> list[str]:
    """Services whose leases are not what their sessions say, or hold what nobody came for."""
    live = exists().where(sessions.c.session_key == leases.c.session_key, sessions.c.state == LIVE)
    gone = and_(leases.c.state == LEASED, ~live)
    over = and_(leases.c.state == HELD, leases.c.held_until_us <= now_us)
    back = exists().where(
        sessions.c.service_id == leases.c.service_id,
        sessions.c.state == LIVE,
        sessions.c.framed_ipv4 == leases.c.address,
    )
    query = select(leases.c.service_id).distinct()
    query = query.where(or_(gone, over, and_(leases.c.state.in_((FREE, HELD)), back))).limit(limit)
    return [row.service_id for row in await conn.execute(query) if row.service_id is not None]


async def used_by_strangers(conn: AsyncConnection, limit: int) -> list[tuple[str, str, str]]:
    """(address, service it is leased to, session of another service that uses it)."""
    query = (
        select(leases.c.address, leases.c.service_id, sessions.c.session_key)
        .join(sessions, sessions.c.framed_ipv4 == leases.c.address)
        .where(leases.c.state != FREE, sessions.c.state == LIVE, sessions.c.service_id != leases.c.service_id)
        .limit(limit)
    )
    return [(row.address, row.service_id, row.session_key) for row in await conn.execute(query)]


async def usage(conn: AsyncConnection, pool_id: str | None = None) -> dict[tuple[str, str], int]:
    """(pool_id, state) → how many, of held and leased ones: of one pool or of all."""
    query = select(leases.c.pool_id, leases.c.state, func.count()).where(leases.c.state.in_((HELD, LEASED)))
    query = query.group_by(leases.c.pool_id, leases.c.state)
    query = query if pool_id is None else query.where(leases.c.pool_id == pool_id)
    return {(row[0], row[1]): row[2] for row in await conn.execute(query)}


async def list_leases(
    conn: AsyncConnection, pool_id: str, *, state: str | None, service_id: str | None, after: int | None, limit: int
) -> list[Lease]:
    """By position; of a pool that is free in great parts ask for a state."""
    conditions: list[ColumnElement[bool]] = [leases.c.pool_id == pool_id]
    if state is not None:
        conditions.append(leases.c.state == state)
    if service_id is not None:
        conditions.append(leases.c.service_id == service_id)
    if after is not None:
        conditions.append(leases.c.position > after)
    query = select(*_LEASE).where(*conditions).order_by(leases.c.position).limit(limit)
    return [Lease(*row) for row in await conn.execute(query)]


async def lock_address(conn: AsyncConnection, pool_id: str, address: str) -> Lease | None:
    query = select(*_LEASE).where(leases.c.pool_id == pool_id, leases.c.address == address).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else Lease(*row)

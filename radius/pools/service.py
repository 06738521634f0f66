"""Use cases of pools: make, change and withdraw one, look at it, and free a lease by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.domain.identity import new_id
from controller.store import audit
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.follower import Follower
from radius.pools import model, repository
from radius.pools.keeper import counted
from radius.pools.lease import FREE, Lease
from radius.pools.model import Pool
from radius.pools.repository import PoolRow
from radius.repository import take_turn

_MADE_AT_ONCE = 65_536
"""Addresses whose rows are made with the pool; the others are made when they are needed."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool and how many of its addresses are free, held and leased."""

    pool: Pool
    size: int
    free: int
    held: int
    leased: int
    updated_at: datetime


class PoolService:
    """Each change is one transaction with its audit entry; logins follow at once."""

    def __init__(
        self, database: Database, clock: Clock, follower: Follower, *, made_at_once: int = _MADE_AT_ONCE
    ) -> None:
        self._database = database
        self._made_at_once = made_at_once
        self._clock = clock
        self._follower = follower

    async def create(
        self, *, name: str, kind: str, ranges: Sequence[str], prefix_length: int, hold_s: int, actor: str
    ) -> PoolState:
        """Raises Conflict for a name or an address that another pool has, RuleError for what cannot be."""
        now = self._clock.now()
        pool = model.checked(Pool(new_id(now), name, kind, tuple(ranges), prefix_length, hold_s))
        async with self._database.begin() as conn:
            await take_turn(conn)
            _refuse_twins(pool, await repository.all_pools(conn))
            await repository.insert_pool(conn, pool, now)
            row = await repository.get_pool(conn, pool.pool_id)
            assert row is not None, "it was just made"
            await repository.make(conn, row, self._made_at_once)
            await self._record(conn, now, actor, "pool.create", pool.pool_id, None, pool)
        await self._follower.refresh_pools()
        return PoolState(pool, pool.size, pool.size, 0, 0, now)

    async def change(
        self, pool_id: str, *, more_ranges: Sequence[str] = (), hold_s: int | None = None, actor: str
    ) -> PoolState:
        """Add ranges, or change how long is waited for a Start. Raises NotFound and what `create` raises.

        What was given stays where it is, so ranges are only added; a pool that shall shrink is replaced by another.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await take_turn(conn)
            before = (await self._row(conn, pool_id)).pool
            pool = dataclasses.replace(
                before, ranges=before.ranges + tuple(more_ranges), hold_s=hold_s or before.hold_s
            )
            model.checked(pool)
            _refuse_twins(pool, await repository.all_pools(conn))
            await repository.update_pool(conn, pool, now)
            await self._record(conn, now, actor, "pool.change", pool_id, before, pool)
        await self._follower.refresh_pools()
        return await self.show(pool_id)

    async def withdraw(self, pool_id: str, *, actor: str) -> None:
        """Raises NotFound, and Conflict while an address of it is held or leased."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            await take_turn(conn)
            before = await self._row(conn, pool_id)
            counts = counted(before, await repository.usage(conn, pool_id))
            if counts[FREE] != before.size:
                used = before.size - counts[FREE]
                raise Conflict(f"{used} addresses of pool {before.pool.name!r} are in use; name another pool first")
            await repository.withdraw_pool(conn, pool_id, now)
            await self._record(conn, now, actor, "pool.withdraw", pool_id, before.pool, None)
        await self._follower.refresh_pools()

    async def free(self, pool_id: str, address: str, *, actor: str, reason: str) -> Lease:
        """Take an address back that no session of ours has any more. Raises NotFound, and Conflict while one lives."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            lease = await repository.lock_address(conn, pool_id, address)
            if lease is None:
                raise NotFound(f"pool {pool_id} has no address {address}")
            live = [] if lease.service_id is None else await repository.tenants(conn, [lease.service_id])
            if lease.session_key is not None and any(t.session_key == lease.session_key for t in live):
                raise Conflict(f"{address} is in use by live session {lease.session_key}: disconnect that first")
            before = {"state": lease.state, "service_id": lease.service_id, "session_key": lease.session_key}
            lease.state, lease.session_key, lease.changed_us = FREE, None, to_micros(now)
            lease.held_since_us = lease.held_until_us = None
            await repository.write(conn, [lease])
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="pool.free",
                subject=f"pool:{pool_id}",
                before=before | {"address": address},
                after={"address": address, "state": FREE},
                reason=reason,
            )
        return lease

    async def show(self, pool_id: str) -> PoolState:
        """Raises NotFound."""
        async with self._database.read() as conn:
            return _state(await self._row(conn, pool_id), await repository.usage(conn, pool_id))

    async def leases(
        self, pool_id: str, *, state: str | None, service_id: str | None, after: int | None, limit: int
    ) -> list[Lease]:
        """By position. Raises NotFound."""
        async with self._database.read() as conn:
            await self._row(conn, pool_id)
            return await repository.list_leases(
                conn, pool_id, state=state, service_id=service_id, after=after, limit=limit
            )

    async def list(self, *, after: str | None, limit: int) -> list[PoolState]:
        """By name and kind; `after` is "name kind" of the last."""
        async with self._database.read() as conn:
            rows, used = await repository.all_pools(conn), await repository.usage(conn)
        found = sorted((_state(row, used) for row in rows), key=key_of)
        return [state for state in found if after is None or key_of(state) > after][:limit]

    @staticmethod
    async def _row(conn: Any, pool_id: str) -> PoolRow:
        row = await repository.get_pool(conn, pool_id)
        if row is None:
            raise NotFound(f"no pool {pool_id}")
        return row

    @staticmethod
    async def _record(
        conn: Any, now: datetime, actor: str, action: str, pool_id: str, before: Pool | None, after: Pool | None
    ) -> None:
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=action,
            subject=f"pool:{pool_id}",
            before=None if before is None else dataclasses.asdict(before),
            after=None if after is None else dataclasses.asdict(after),
        )


def key_of(state: PoolState) -> str:
    return f"{state.pool.name} {state.pool.kind}"


def _refuse_twins(pool: Pool, rows: Sequence[PoolRow]) -> None:
    others = [row.pool for row in rows if row.pool.pool_id != pool.pool_id]
    if any((other.name, other.kind) == (pool.name, pool.kind) for other in others):
        raise Conflict(f"there is a pool {pool.name!r} of kind {pool.kind} already")
    twin = model.overlap(pool, others)
    if twin is not None:
        raise Conflict(f"an address of it belongs to pool {twin.name!r} already")


def _state(row: PoolRow, used: dict[tuple[str, str], int]) -> PoolState:
    counts = counted(row, used)
    return PoolState(row.pool, row.size, counts["free"], counts["held"], counts["leased"], row.updated_at)

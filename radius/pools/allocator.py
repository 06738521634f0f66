"""Gives addresses to logins: whatever arrived meanwhile is decided in one transaction, as accounting commits.

    hold ─→ queue ─┐
    hold ─→ queue ─┼─→ one transaction: turns taken, own leases locked, free ones with SKIP LOCKED, written ─→ answers
    hold ─→ queue ─┘   (on SQLite there is one writer)

A login gets all that it wants or nothing. When the answer is given, the addresses are held on disk: a process that is
killed afterwards has lost nothing, and what it held is free again after `hold_s`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.pools import lease as rules
from radius.pools import repository
from radius.pools.lease import Lease, Owner
from radius.pools.model import Pool
from radius.pools.repository import PoolRow

_MOST_AT_ONCE = 256
_ROUNDS = 20
"""How often an address that others hold locked is waited for: each round is a transaction of theirs."""
_MADE_AT_ONCE = 4_096


class Exhausted(Exception):
    """No address is free; the message says of which pool, for operators."""


@dataclass(slots=True)
class Wish:
    """Addresses of these pools for one login; `answer` gets pool id → address."""

    owner: Owner
    pool_ids: Sequence[str]
    answer: asyncio.Future[dict[str, str]]
    rounds: int = 0


@dataclass(slots=True)
class _Turn:
    """One transaction in the making."""

    known: dict[str, list[Lease]]
    """Pool id → leases read and locked, free or not."""
    services: set[str]
    given: dict[tuple[str, int], Lease] = field(default_factory=dict)

    def unused(self, known: Sequence[Lease]) -> Lease | None:
        """Longest unused first; last of all what another login of this turn may come back to."""
        free = [one for one in known if one.state == rules.FREE]
        return min(free, key=lambda one: (one.service_id in self.services, one.changed_us, one.position), default=None)


class Allocator:
    """One per process. `hold` may be called by any number of tasks."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[Wish] = []
        self._worker: asyncio.Task[None] | None = None
        self.transactions = 0

    async def hold(self, owner: Owner, pool_ids: Sequence[str]) -> dict[str, str]:
        """Pool id → address, held for the pool's `hold_s`. Raises Exhausted, and what the database raises."""
        wish = Wish(owner, pool_ids, asyncio.get_running_loop().create_future())
        self._waiting.append(wish)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="pool-allocator")
        return await wish.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                turn, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                turn = [wish for wish in turn if not wish.answer.done()]
                try:
                    await self._decide(turn)
                except Exception as error:  # every one of them is told, and its login is not answered
                    for wish in turn:
                        if not wish.answer.done():
                            wish.answer.set_exception(error)
        finally:
            self._worker = None

    async def _decide(self, wishes: list[Wish]) -> None:
        if not wishes:
            return
        async with self._database.begin() as conn:
            given, lacking = await self._transact(conn, wishes)
        self.transactions += 1
        for wish, addresses in given:
            if not wish.answer.done():
                wish.answer.set_result(addresses)
        by_pool: dict[str, list[tuple[Wish, PoolRow | None]]] = {}
        for wish, row in lacking:
            by_pool.setdefault("" if row is None else row.pool.pool_id, []).append((wish, row))
        for refused in by_pool.values():
            await self._refuse([wish for wish, _ in refused], refused[0][1])

    async def _refuse(self, wishes: Sequence[Wish], row: PoolRow | None) -> None:
        """Nothing was free for them; whether something is free now that others have decided, and then once more.

        Counted once for all of them: a pool that is exhausted is asked of by everybody again and again.
        """
        async with self._database.begin() as conn:
            may_come = row is not None and await repository.wait_for_free(conn, row.pool)
            words = "" if may_come else await _why(conn, row)
        for wish in wishes:
            if may_come and wish.rounds < _ROUNDS:
                wish.rounds += 1
                self._waiting.append(wish)
            elif not wish.answer.done():
                wish.answer.set_exception(Exhausted(words or "others were faster, again and again"))

    async def _transact(
        self, conn: AsyncConnection, wishes: list[Wish]
    ) -> tuple[list[tuple[Wish, dict[str, str]]], list[tuple[Wish, PoolRow | None]]]:
        """What is given to whom, and who lacks an address of which pool."""
        now_us = to_micros(self._clock.now())
        pool_ids = sorted({pool_id for wish in wishes for pool_id in wish.pool_ids})
        pools = {pool_id: await repository.get_pool(conn, pool_id) for pool_id in pool_ids}
        turn = _Turn({pool_id: [] for pool_id in pool_ids}, {wish.owner.service_id for wish in wishes})
        await repository.take_turns(conn, turn.services)
        for one in await repository.lock_of_services(conn, turn.services, pool_ids):
            turn.known[one.pool_id].append(one)
        for pool_id, row in pools.items():
            if row is not None:
                await self._provide(conn, row, [w for w in wishes if pool_id in w.pool_ids], turn, now_us)
        given: list[tuple[Wish, dict[str, str]]] = []
        lacking: list[tuple[Wish, PoolRow | None]] = []
        for wish in wishes:
            found = _grant(wish, pools, turn, now_us)
            if isinstance(found, str):
                lacking.append((wish, pools[found]))
            else:
                given.append((wish, found))
        await repository.write(conn, turn.given.values())
        return given, lacking

    async def _provide(
        self, conn: AsyncConnection, row: PoolRow, wishes: Iterable[Wish], turn: _Turn, now_us: int
    ) -> None:
        """Lock as many free addresses as the wishes lack that have none of their own to come back to."""
        known, claimed = turn.known[row.pool.pool_id], set[int]()
        free = [one.address for one in known if one.state == rules.FREE]
        if free:
            # Whom an address was given for good meanwhile has it; nobody comes back to it.
            fixed = await repository.fixed_among(conn, row.pool, free)
            known[:] = [one for one in known if one.state != rules.FREE or one.address not in fixed]
        lacking = 0
        for wish in wishes:
            left = [one for one in known if one.position not in claimed]
            mine = rules.own(left, wish.owner)
            if mine is None:
                lacking += 1
            elif mine.state == rules.FREE:
                claimed.add(mine.position)
        while lacking:
            taken = await repository.take_free(conn, row.pool, lacking, [one.position for one in known])
            known += taken
            lacking -= len(taken)
            if not taken and not await self._more(conn, row.pool, now_us):
                return

    async def _more(self, conn: AsyncConnection, pool: Pool, now_us: int) -> bool:
        """Nothing is free: look what expired, then make addresses that have no row yet."""
        if await repository.expire(conn, pool.pool_id, now_us):
            return True
        row = await repository.get_pool(conn, pool.pool_id)
        return row is not None and await repository.make(conn, row, _MADE_AT_ONCE)


def _grant(wish: Wish, pools: Mapping[str, PoolRow | None], turn: _Turn, now_us: int) -> dict[str, str] | str:
    """Hold all of it in memory; or the id of the pool that has none, and nothing is held."""
    chosen: list[tuple[Pool, Lease]] = []
    for pool_id in wish.pool_ids:
        row, known = pools[pool_id], turn.known[pool_id]
        one = None if row is None else rules.own(known, wish.owner) or turn.unused(known)
        if row is None or one is None:
            return pool_id
        chosen.append((row.pool, one))
    for pool, one in chosen:
        rules.hold(one, wish.owner, now_us, pool.hold_s)
        turn.given[one.pool_id, one.position] = one
    return {one.pool_id: one.address for _, one in chosen}


async def _why(conn: AsyncConnection, row: PoolRow | None) -> str:
    if row is None:
        return "its pool was withdrawn"
    used = await repository.usage(conn, row.pool.pool_id)
    held, leased = (used.get((row.pool.pool_id, state), 0) for state in (rules.HELD, rules.LEASED))
    return f"pool {row.pool.name!r} is exhausted: of {row.size} addresses {leased} are leased and {held} held"

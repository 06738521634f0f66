"""Keeps leases as the sessions say they are: committed by a Start, freed by a Stop, a restarted NAS, or silence.

The recorder tells which sessions began or ended, when that is on disk; leases follow in a transaction of their own, a
moment later. What a killed process did not get to is found by looking at the tables now and then: nothing depends on
having been told. Sessions of services without a pool cost nothing while no pool exists, and one look-up in a batch
where one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.waking import woken
from radius.pools import lease as rules
from radius.pools import repository

log = structlog.get_logger()

_CHUNK = 200
_MOST_PER_SWEEP = 2_000
_STRANGERS_NAMED = 5


class LeaseKeeper:
    """`turned` is called by the recorder, `run` is the loop. `has_pools`: whether there is any pool at all."""

    def __init__(
        self, database: Database, clock: Clock, has_pools: Callable[[], bool], *, sweep_interval_s: float = 15.0
    ) -> None:
        self._database = database
        self._clock = clock
        self._has_pools = has_pools
        self._interval_s = sweep_interval_s
        self._turned: dict[str, None] = {}
        self._wake = asyncio.Event()
        self.usage: list[tuple[str, str, str, int]] = []
        """(pool, kind, state, how many), as of the last sweep."""
        self.strangers = 0
        """Addresses that a session of another service uses than the one they are leased to, in the last sweep."""

    def turned(self, session_keys: Sequence[str]) -> None:
        """These sessions began or ended, and that is on disk."""
        if self._has_pools():
            self._turned.update(dict.fromkeys(session_keys))
            self._wake.set()

    async def run(self) -> None:
        """For ever. A database that is away is logged and tried again at the next sweep."""
        loop = asyncio.get_running_loop()
        sweep_at_s = 0.0
        while True:
            try:
                await self.follow()
                if not self._has_pools():
                    self.usage, self.strangers = [], 0
                elif loop.time() >= sweep_at_s:
                    sweep_at_s = loop.time() + self._interval_s
                    await self.sweep()
            except SQLAlchemyError as error:
                log.warning("radius.pools.database_away", error=type(error).__name__)
                sweep_at_s = 0.0
            await woken(self._wake, self._interval_s)

    async def follow(self) -> None:
        """Settle the leases of the sessions that were told of."""
        self._wake.clear()
        while self._turned:
            some = list(self._turned)[:_CHUNK]
            async with self._database.read() as conn:
                services = await repository.services_of_sessions(conn, some)
            await self._settle(services)
            for key in some:
                self._turned.pop(key, None)

    async def sweep(self) -> None:
        """Settle whatever is not as the sessions say, and count."""
        async with self._database.read() as conn:
            services = await repository.unsettled(conn, to_micros(self._clock.now()), _MOST_PER_SWEEP)
        for start in range(0, len(services), _CHUNK):
            await self._settle(services[start : start + _CHUNK])
        async with self._database.read() as conn:
            strangers = await repository.used_by_strangers(conn, 1_000)
            used, rows = await repository.usage(conn), await repository.all_pools(conn)
        self.usage = [
            (row.pool.name, row.pool.kind, state, count) for row in rows for state, count in counted(row, used).items()
        ]
        self.strangers = len(strangers)
        for address, service_id, session_key in strangers[:_STRANGERS_NAMED]:
            log.warning("radius.pools.stranger", address=address, service_id=service_id, session_id=session_key)

    async def _settle(self, service_ids: Sequence[str]) -> None:
        if not service_ids:
            return
        async with self._database.begin() as conn:
            leases = await repository.lock_of_services(conn, service_ids)
            tenants = await repository.tenants(conn, service_ids)
            changed = rules.settle(leases, tenants, to_micros(self._clock.now()))
            await repository.write(conn, changed)
            await repository.tell_addresses(conn, changed, {tenant.session_key: tenant for tenant in tenants})


def counted(row: repository.PoolRow, used: dict[tuple[str, str], int]) -> dict[str, int]:
    """How many addresses of a pool are in which state; those without a row are free."""
    held, leased = (used.get((row.pool.pool_id, state), 0) for state in (rules.HELD, rules.LEASED))
    return {rules.FREE: row.size - held - leased, rules.HELD: held, rules.LEASED: leased}


class PoolCollector(Collector):
    """Register with `prometheus_client.REGISTRY.register(...)`."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        addresses = GaugeMetricFamily(
            "headend_radius_pool_addresses", "Addresses of pools by state.", labels=("pool", "kind", "state")
        )
        for pool, kind, state, count in self._keeper.usage:
            addresses.add_metric((pool, kind, state), count)
        yield addresses
        yield GaugeMetricFamily(
            "headend_radius_pool_strangers",
            "Addresses in use by a session of another service than the one they are leased to.",
            self._keeper.strangers,
        )

"""What dunning takes of services on their devices: those that RADIUS does not drive, and by choice of the site all.

A login that never had a session is no proof of anything taken: a line with a fixed address works without RADIUS. For
such a line the measure is also what its devices should have: a reduced speed, or nothing at all. It is stored with the
step it follows from, and brought to the devices after that by the same observe, plan, apply, observe as an order; a
device that does not answer is tried again until it was seen to be so. That it ends is followed in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import HeadendError, TemporaryDeviceError
from controller.domain.identity import ServiceId
from controller.domain.restriction import FREE, Measure, Restriction
from controller.provisioning.model import StoredService
from controller.provisioning.service import ProvisioningService
from radius.restricting import Restricting

log = structlog.get_logger()
ACTOR = "system:dunning"

_DONE = Counter("headend_dunning_devices", "Services whose devices were brought to a measure, by result.", ["result"])
_WAITING = Gauge("headend_dunning_devices_waiting", "Services whose devices do not show their measure yet.")
_SECONDS = Histogram("headend_dunning_device_seconds", "From a measure, or its end, until it was seen on the devices.")
_POLL_S = 1.0
_AT_ONCE = 8
_MOST = 500
_FIRST_WAIT = timedelta(seconds=2)
_LONGEST_WAIT = timedelta(minutes=1)


class Reach(StrEnum):
    """Which services are restricted on their devices, too."""

    UNSEEN = "unseen"
    """Those whose login never had a session."""
    ALL = "all"
    NONE = "none"


class DeviceMeasures:
    """`run` is its background task; the other methods join the transaction of dunning's look at an account."""

    def __init__(
        self, clock: Clock, provisioning: ProvisioningService, restricting: Restricting, reach: Reach = Reach.UNSEEN
    ) -> None:
        self._clock = clock
        self._provisioning = provisioning
        self._restricting = restricting
        self._reach = reach
        self._tries: dict[ServiceId, tuple[int, datetime]] = {}

    async def take_turns(self, conn: AsyncConnection, service_ids: Collection[str]) -> None:
        """Before anything is written to the audit log."""
        await self._provisioning.take_turns(conn, service_ids)

    async def in_force(self, conn: AsyncConnection, service_ids: Collection[str]) -> set[str]:
        """Those of these services that are restricted on their devices."""
        return await self._provisioning.restricted(conn, service_ids)

    async def put(
        self, conn: AsyncConnection, service_id: ServiceId, wanted: Restriction, *, actor: str, reason: str
    ) -> bool:
        """Whether anything changed."""
        if wanted.measure is not Measure.NONE and not await self._reaches(conn, service_id):
            wanted = FREE
        return await self._provisioning.restrict(conn, service_id, wanted, actor=actor, reason=reason)

    async def _reaches(self, conn: AsyncConnection, service_id: ServiceId) -> bool:
        if self._reach is Reach.UNSEEN:
            return not await self._restricting.has_had_session(conn, service_id)
        return self._reach is Reach.ALL

    async def run(self) -> None:
        """For ever: bring devices to what was decided."""
        while True:
            try:
                await self.sweep()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("dunning.devices_database_away", error=type(error).__name__)
            await asyncio.sleep(_POLL_S)

    async def sweep(self) -> int:
        """One attempt for each service that waits and is due; how many were seen to be as decided."""
        waiting = await self._provisioning.restricting(_MOST)
        _WAITING.set(len(waiting))
        now, gate = self._clock.now(), asyncio.Semaphore(_AT_ONCE)
        self._tries = {s.desired.service_id: self._tries.get(s.desired.service_id, (0, now)) for s in waiting}
        due = [stored for stored in waiting if self._tries[stored.desired.service_id][1] <= now]
        return sum(await asyncio.gather(*(self._converge(stored, gate) for stored in due)))

    async def _converge(self, stored: StoredService, gate: asyncio.Semaphore) -> bool:
        service_id = stored.desired.service_id
        async with gate:
            try:
                seen = await self._provisioning.converge(service_id, actor=ACTOR)
            except HeadendError as error:
                result = "unanswered" if isinstance(error, TemporaryDeviceError) else "refused"
                self._put_off(service_id, result, str(error))
                return False
        if not seen.verified:
            self._put_off(service_id, "mismatch", "; ".join(seen.differences))
            return False
        self._tries.pop(service_id, None)
        _DONE.labels("verified").inc()
        if stored.restricting_since is not None:
            _SECONDS.observe(max(0.0, (self._clock.now() - stored.restricting_since).total_seconds()))
        log.info("dunning.devices", service_id=service_id, measure=stored.restriction.measure.value)
        return True

    def _put_off(self, service_id: ServiceId, result: str, why: str) -> None:
        """A device that is away is asked within a minute of its return; one that refuses is never forgotten."""
        count = self._tries[service_id][0] + 1
        wait = min(_FIRST_WAIT * 2 ** min(count - 1, 6), _LONGEST_WAIT)
        self._tries[service_id] = (count, self._clock.now() + wait)
        _DONE.labels(result).inc()
        log.warning("dunning.devices_not_so", service_id=service_id, result=result, attempt=count, why=why)

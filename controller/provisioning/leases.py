"""One device is changed by one task at a time, across tasks and processes.

Inside a process tasks queue for the device; between processes the queue's head takes a lease in the device's row. A
holder that died loses its lease when it runs out, or at once to the process that starts again under its name, or to
all when the others have declared it lost (`free`). Who lost a lease is refused at its next step. Leases
are about processes, so they count by the machine's clock, not by the business clock that a demo may move.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import ColumnElement, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, SystemClock
from controller.domain.identity import DeviceId
from controller.provisioning.errors import DeviceLeased
from controller.provisioning.settings import ProvisioningSettings
from controller.provisioning.tables import device
from controller.store.engine import Database


class DeviceLeases:
    """The leases of one process."""

    def __init__(self, database: Database, settings: ProvisioningSettings, clock: Clock | None = None) -> None:
        self._database = database
        self._settings = settings
        self._clock = clock or SystemClock()
        self._holder = settings.lease_holder or f"{os.getpid()}-{secrets.token_hex(8)}"
        self._queues: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(self, device_id: DeviceId) -> AsyncIterator[DeviceLease]:
        """Hold the device for the block. Raises DeviceLeased when another process keeps it too long."""
        queue = self._queues.setdefault(device_id, asyncio.Lock())
        async with queue:
            await self._wait_for(device_id)
            try:
                yield DeviceLease(self, device_id)
            finally:
                await self._release(device_id)

    async def _wait_for(self, device_id: DeviceId) -> None:
        deadline = self._clock.now() + timedelta(seconds=self._settings.lease_wait_s)
        while not await self.take(device_id):
            if self._clock.now() >= deadline:
                raise DeviceLeased(f"another process is changing device {device_id}")
            await asyncio.sleep(self._settings.lease_poll_s)

    async def take(self, device_id: DeviceId) -> bool:
        """Take the lease, or renew it; whether it is ours now."""
        free = or_(device.c.lease_until.is_(None), device.c.lease_until <= self._clock.now())
        return await self._lease(device_id, or_(free, device.c.lease_holder == self._holder))

    async def keep(self, device_id: DeviceId) -> bool:
        """Renew a lease that is ours; one that was lost is not taken again, for the device may have been changed."""
        return await self._lease(device_id, device.c.lease_holder == self._holder)

    async def _lease(self, device_id: DeviceId, allowed: ColumnElement[bool]) -> bool:
        until = self._clock.now() + timedelta(seconds=self._settings.lease_s)
        statement = update(device).where(device.c.device_id == device_id, allowed)
        async with self._database.begin() as conn:
            done = await conn.execute(statement.values(lease_holder=self._holder, lease_until=until))
        return done.rowcount == 1

    async def _release(self, device_id: DeviceId) -> None:
        statement = (
            update(device)
            .where(device.c.device_id == device_id, device.c.lease_holder == self._holder)
            .values(lease_holder=None, lease_until=None)
        )
        async with self._database.begin() as conn:
            await conn.execute(statement)


async def free(conn: AsyncConnection, holders: Sequence[str]) -> None:
    """End the leases of processes that are lost. Their half-done edits are the device's lock and time-out to end."""
    theirs = update(device).where(device.c.lease_holder.in_(holders))
    await conn.execute(theirs.values(lease_holder=None, lease_until=None))


class DeviceLease:
    """A held lease."""

    def __init__(self, leases: DeviceLeases, device_id: DeviceId) -> None:
        self._leases = leases
        self._device_id = device_id

    async def renew(self) -> None:
        """Call before each step that may take long. Raises DeviceLeased when the lease was lost to another process."""
        if not await self._leases.keep(self._device_id):
            raise DeviceLeased(f"the lease of device {self._device_id} ran out and another process took it")

"""The drift check: compares every provisioned service with its devices, again and again, and only reports.

Level-triggered: each round starts from what is stored, so a round that was missed or cut short loses nothing. It never
changes a device; who should win, the device or the desired state, is a human's decision.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import HeadendError, TemporaryDeviceError
from controller.domain.identity import DeviceId
from controller.provisioning.model import StoredService
from controller.provisioning.service import ProvisioningService
from controller.provisioning.settings import ProvisioningSettings

log = structlog.get_logger()

_STANDING = Gauge("headend_provisioning_services", "Services by how they stand towards what is desired.", ["standing"])
_BATCH = 50


class Reconciler:
    """The background task of provisioning."""

    def __init__(self, provisioning: ProvisioningService, clock: Clock, settings: ProvisioningSettings) -> None:
        self._provisioning = provisioning
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """For ever: check what is due, then wait a tick. Survives devices and databases that fail for a while."""
        while True:
            try:
                await self.check_due()
            except (HeadendError, OSError, SQLAlchemyError) as error:
                log.warning("reconcile.failed", error=str(error))
            await asyncio.sleep(self._settings.check_tick_s)

    async def check_due(self) -> int:
        """Check the services that were not looked at for `check_interval_s`; how many were read from their devices."""
        checked = 0
        while True:
            before = self._clock.now() - timedelta(seconds=self._settings.check_interval_s)
            due = await self._provisioning.due_for_check(before, _BATCH)
            gate = asyncio.Semaphore(self._settings.check_concurrency)
            read = await asyncio.gather(*(self._check_alike(services, gate) for services in _by_devices(due)))
            checked += sum(read)
            for standing, count in (await self._provisioning.standings()).items():
                _STANDING.labels(standing.value).set(count)
            if len(due) < _BATCH or sum(read) < len(due):
                return checked

    async def _check_alike(self, services: list[StoredService], gate: asyncio.Semaphore) -> int:
        """Check services of the same devices; how many were read. Once one does not answer, the rest is put off."""
        read = 0
        async with gate:
            for stored in services:
                try:
                    await self._provisioning.check(stored)
                    read += 1
                except HeadendError as error:
                    log.info("reconcile.unanswered", service_id=stored.desired.service_id, error=str(error))
                    await self._provisioning.put_off_check(stored)
                    if isinstance(error, TemporaryDeviceError):
                        break
        return read


def _by_devices(due: list[StoredService]) -> list[list[StoredService]]:
    grouped: dict[tuple[DeviceId, ...], list[StoredService]] = {}
    for stored in due:
        grouped.setdefault(stored.device_ids, []).append(stored)
    return list(grouped.values())

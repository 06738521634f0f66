"""Once a night: the sums of leakage are noted, and the counts of the last days compared.

Due from 02:30 in the zone of the legal entity, and at once for whoever was not running then. What was noted today is
not noted again, so several processes and restarts do no harm.
"""

from __future__ import annotations

import asyncio
from datetime import date, time
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import Clock, local_date
from controller.domain.errors import HeadendError
from controller.workflows.leakage import Leakage
from controller.workflows.reconciliation import Reconciliation

log = structlog.get_logger()

_DUE = time(2, 30)
_LOOK_EVERY_S = 300.0


class AssuranceNights:
    def __init__(self, clock: Clock, zone: ZoneInfo, leakage: Leakage, reconciliation: Reconciliation) -> None:
        self._clock = clock
        self._zone = zone
        self._leakage = leakage
        self._reconciliation = reconciliation
        self._done: date | None = None

    async def run(self) -> None:
        """Background task."""
        while True:
            try:
                await self.once()
            except (DBAPIError, PoolTimeout, HeadendError) as error:
                log.warning("assurance.night_failed", error=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    async def once(self) -> bool:
        """Do what is due; whether something was."""
        now = self._clock.now().astimezone(self._zone)
        today = local_date(now, self._zone)
        if now.time() < _DUE or self._done == today:
            return False
        noted = {day.day for day in await self._leakage.days(1)}
        if today not in noted:
            await self._reconciliation.run()
            await self._leakage.note()
        self._done = today
        return today not in noted

"""Once a night: the sums of leakage are noted, the counts of the last days compared, the books with their
subledgers.

Due from 02:30 in the zone of the legal entity; whoever was not running then makes up for it, though not at once: after
a start, every NAS that found nobody asks again. What was looked at since is not looked at again, so several processes
and restarts do no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time
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
_AFTER_START_S = 900.0


class AssuranceNights:
    def __init__(
        self,
        clock: Clock,
        zone: ZoneInfo,
        leakage: Leakage,
        reconciliation: Reconciliation,
        *others: Callable[[], Awaitable[object]],
    ) -> None:
        """`others` are done as well, each night and after a start."""
        self._clock = clock
        self._zone = zone
        self._leakage = leakage
        self._reconciliation = reconciliation
        self._others = others
        self._done: date | None = None

    async def run(self) -> None:
        """Background task."""
        await asyncio.sleep(_AFTER_START_S)
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
        due = datetime.combine(today, _DUE, self._zone)
        looked_at, compared_at = await self._leakage.looked_at(), await self._reconciliation.looked_at()
        if leaks := looked_at is None or looked_at < due:
            await self._leakage.note()
        if counts := compared_at is None or compared_at < due:
            await self._reconciliation.run()
        for other in self._others:
            await other()
        self._done = today
        return leaks or counts

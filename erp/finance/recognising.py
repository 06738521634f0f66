"""Recognition by the calendar: when a month is over in a legal entity's zone, what was earned in it is posted.

Nothing is remembered but what the books say: whoever was killed, or slept for a month, finds what is due and posts it
once. What becomes due of a month that is over (a contract changed, an invoice credited) follows within the hour.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import Clock, local_date
from controller.domain.errors import HeadendError
from erp.crm.service import CrmService
from erp.finance.journal import Entry
from erp.finance.revenue import RevenueService

log = structlog.get_logger()
ACTOR = "system:recognition"
_EVERY_S = 3600.0
_posted = Counter("headend_revenue_entries_posted", "Entries of revenue that the calendar posted")
_failed = Counter("headend_revenue_recognition_failures", "Attempts to post what is due that were refused or lost")


class Recogniser:
    def __init__(self, clock: Clock, crm: CrmService, revenue: RevenueService) -> None:
        self._clock = clock
        self._crm = crm
        self._revenue = revenue

    async def once(self) -> list[Entry]:
        """Post what is due until the end of the last month that is over, of every legal entity."""
        made: list[Entry] = []
        for entity in await self._crm.entities():
            last = _month_before(local_date(self._clock.now(), entity.zone_info))
            made += await self._revenue.recognise(last, actor=ACTOR, entity_id=entity.entity_id)
        _posted.inc(len(made))
        return made

    async def run(self) -> None:
        """Background task."""
        while True:
            try:
                for entry in await self.once():
                    log.info("revenue.recognised", entry_id=entry.entry_id, what=entry.description)
            except (HeadendError, DBAPIError, PoolTimeout) as error:
                _failed.inc()
                log.warning("revenue.not_recognised", error=str(error))
            await asyncio.sleep(_EVERY_S)


def _month_before(day: date) -> date:
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)

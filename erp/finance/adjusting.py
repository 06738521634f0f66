"""Issues the adjustments that wait for a tax service.

Who acts on an event holds a transaction, and a tax service may take seconds or be away for a day. So what it must be
asked about is noted in that transaction (`CorrectionService.adjust_in`) and issued here: the service is asked first,
the transaction opened then. The document and the end of the note are one commit, and none is issued twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from controller.domain.clock import Clock
from controller.domain.errors import HeadendError
from controller.store.engine import Database
from erp.finance import adjustments
from erp.finance.adjustments import Noted
from erp.finance.corrections import CorrectionService
from erp.finance.errors import LevyUnavailable

log = structlog.get_logger()
_waiting = Gauge("headend_finance_adjustments_waiting", "Adjustments that are noted and not issued yet")
_failed = Counter("headend_finance_adjustment_failures", "Attempts to issue a noted adjustment that failed")

_POLL_S = 5.0
_BATCH = 50
_PATIENCE_S = 20.0
_FIRST_WAIT = timedelta(seconds=15)
_LONGEST_WAIT = timedelta(hours=1)


class Adjusting:
    def __init__(self, database: Database, clock: Clock, corrections: CorrectionService) -> None:
        self._database = database
        self._clock = clock
        self._corrections = corrections

    async def noted(self, limit: int) -> list[Noted]:
        """What waits, the longest waiting first."""
        async with self._database.read() as conn:
            return await adjustments.noted(conn, limit)

    async def withdraw(self, account_id: str, reference: str, *, reason: str, actor: str) -> Noted:
        """It is not issued any more. Raises UnknownAdjustment."""
        return await self._corrections.withdraw_noted(account_id, reference, reason=reason, actor=actor)

    async def once(self, *, at_once: bool = False) -> int:
        """Issue all that is due, or `at_once` that waits; how many were. A service that is away is asked no further.

        Who asks for it `at_once` waits for the answer: after `_PATIENCE_S` it is told what was done so far.
        """
        at = None if at_once else self._clock.now()
        until = asyncio.get_running_loop().time() + _PATIENCE_S
        made, last = 0, None
        while not at_once or asyncio.get_running_loop().time() < until:
            async with self._database.read() as conn:
                due = await adjustments.noted(conn, _BATCH, at=at, after=last)
            issued, away = await self._issue(due)
            made += issued
            if away or not due:
                break
            last = due[-1]
        await self.waiting()
        return made

    async def waiting(self) -> int:
        """How many are noted and not issued."""
        async with self._database.read() as conn:
            found = await adjustments.waiting(conn)
        _waiting.set(found)
        return found

    async def _issue(self, due: Sequence[Noted]) -> tuple[int, bool]:
        """How many were issued, and whether the service is away."""
        made = 0
        for found in due:
            try:
                made += await self._corrections.issue_noted(found) is not None
            except HeadendError as error:
                await self._put_off(found, error)
                if isinstance(error, LevyUnavailable):
                    return made, True
        return made, False

    async def run(self) -> None:
        """Background task."""
        while True:
            try:
                await self.once()
            except (DBAPIError, PoolTimeout) as error:
                log.warning("adjustments.database_away", error=type(error).__name__)
            await asyncio.sleep(_POLL_S)

    async def _put_off(self, found: Noted, error: HeadendError) -> None:
        _failed.inc()
        wait = min(_FIRST_WAIT * 2 ** min(found.attempts, 10), _LONGEST_WAIT)
        log.warning(
            "adjustment.not_issued", account_id=found.wanted.account_id, reference=found.wanted.reference,
            attempt=found.attempts + 1, next_in_s=wait.total_seconds(), error=str(error),
        )  # fmt: skip
        async with self._database.begin() as conn:
            await adjustments.failed(conn, found, str(error), self._clock.now() + wait)

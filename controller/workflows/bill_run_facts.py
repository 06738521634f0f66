"""A bill run waits for what was known when it was started: entitlements by event, usage by record and by source."""

from __future__ import annotations

import asyncio

import structlog

from billing_bridge.billing.model import BillRun
from billing_bridge.billing.service import BillingService
from billing_bridge.mediation.service import MediationService
from billing_bridge.sources.service import SourceService
from controller.domain.errors import RuleError
from controller.domain.events import (
    AccountParentSet,
    ItemHeld,
    ServiceActivated,
    ServiceChanged,
    ServicePaused,
    ServiceTerminated,
)
from controller.domain.identity import BillRunId
from controller.domain.ports import UsageReader
from controller.store import outbox
from controller.store.engine import SETTLED, Database
from controller.store.waking import woken

log = structlog.get_logger()

_ENTITLEMENTS = tuple(
    kind.name
    for kind in (AccountParentSet, ServiceActivated, ServiceChanged, ServiceTerminated, ServicePaused, ItemHeld)
)
_LOOK_AGAIN_S = 0.5


class EntitlementsParked(RuleError):
    code = "entitlements-parked"


class UsageIncomplete(RuleError):
    code = "usage-incomplete"


class Facts:
    """`subscriber` is the name under which the bus delivers entitlement events to billing."""

    def __init__(
        self,
        database: Database,
        billing: BillingService,
        mediation: MediationService,
        usage: UsageReader,
        sources: SourceService | None,
        subscriber: str,
    ) -> None:
        self._database = database
        self._billing = billing
        self._mediation = mediation
        self._usage = usage
        self._sources = sources
        self._subscriber = subscriber
        self._committed = asyncio.Event()
        database.on_commit(SETTLED, self._committed.set)

    async def wait(self, bill_run_id: BillRunId) -> None:
        """Until all of it is there. Raises EntitlementsParked, UsageIncomplete: then the run is redriven by hand."""
        run = await self._billing.bill_run(bill_run_id)
        await self._told(bill_run_id, run.event_watermark)
        await self._mediation.catch_up(run.usage_watermark)
        if self._sources is not None:
            await self._await_sources(run, self._sources)

    async def catch_up(self, bill_run_id: BillRunId) -> None:
        """Until all is there that is known now, of whoever is rated again. Raises EntitlementsParked."""
        usage_watermark = await self._usage.watermark()
        async with self._database.read() as conn:
            newest = await outbox.recent(conn, 1)
        await self._told(bill_run_id, newest[0].position if newest else 0)
        await self._mediation.catch_up(usage_watermark)

    async def _told(self, bill_run_id: BillRunId, event_watermark: int) -> None:
        """Until billing has handled every event up to the watermark that begins, changes or ends a line."""
        while await self._entitlements_pending(event_watermark):
            if not await self._look_again():
                log.info("bill_run.waiting_for_events", bill_run_id=bill_run_id, event_watermark=event_watermark)
        await self._refuse_parked(event_watermark)

    async def _look_again(self) -> bool:
        """Wait for a commit of a subscriber, but not for long; False when none came."""
        self._committed.clear()
        return await woken(self._committed, _LOOK_AGAIN_S)

    async def _await_sources(self, run: BillRun, sources: SourceService) -> None:
        """Every source of usage that is awaited has told all that this run bills, or the run says which has not.

        Raises UsageIncomplete when one lags for too long: then the run is redriven once it has delivered.
        """
        needed, loop = await sources.needed(run.as_of), asyncio.get_running_loop()
        give_up_at, told = loop.time() + sources.patience_s, ""
        while lags := await sources.lagging(needed):
            what = "; ".join(map(str, lags))
            if what != told:
                log.warning("bill_run.waiting_for_usage", bill_run_id=run.bill_run_id, sources=what)
                await self._billing.note_waiting(run.bill_run_id, what)
                told = what
            if loop.time() >= give_up_at:
                raise UsageIncomplete(
                    f"{what}: deliver what is missing (POST /api/v1/usage-sources/…/files or …/events), or say that"
                    " nothing more comes (POST …/complete), then redrive this run"
                )
            await self._look_again()
        if told or run.waiting_for:
            await self._billing.note_waiting(run.bill_run_id, None)

    async def _refuse_parked(self, watermark: int) -> None:
        """An entitlement set aside is a line that would not be billed, or be billed too long, without a word."""
        async with self._database.read() as conn:
            parked = await outbox.count_parked(conn, self._subscriber, _ENTITLEMENTS, watermark)
        if parked:
            raise EntitlementsParked(
                f"{parked} events that begin, change or end lines could not be handled by {self._subscriber}: list them"
                " with GET /api/v1/parked-events, mend the cause, POST their redeliver, then redrive this run"
            )

    async def _entitlements_pending(self, watermark: int) -> bool:
        async with self._database.read() as conn:
            waiting = await outbox.pending(conn, self._subscriber, _ENTITLEMENTS, 1)
        return bool(waiting) and waiting[0].position <= watermark

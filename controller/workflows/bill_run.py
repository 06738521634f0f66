"""The bill run: wait for facts, rate all accounts, prove what it comes to, issue each document once, prove it again.

    POST /bill-runs → run recorded with both watermarks → job bill-run.v1:<id>
      step  facts      events up to the watermark are handled, usage up to the watermark is mediated
      step  plan       accounts are frozen into batches
      step  rate       each batch: charges (and ChargesRated) → drafts → checks, which may let accounts wait
      step  again      each account that was let go: charges, drafts and checks by what is known now
      step  prove      sums of drafts, charges, usage and movements; before the first number is taken
      step  issue      each batch: documents and postings of the accounts that do not wait
      step  certify    sums of documents, lines, journal and numbers → signed certificate

A dry run ends after its drafts and leaves nothing else; what they say is kept until another one of the same accounts
takes its place, or until it is old. Every step may run again after a crash and then finds what it did: batches carry
their state, so a step goes on where it stood; an account that has its document of this run is left alone. A second run
of the same period has no difference to charge. A run that cannot prove its sums is failed and issues nothing (more).
Holds stop an account, or the whole run, before its next document; whoever releases one starts the next job, which
rates the account again, proves, issues what is left and certifies again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import count

from billing_bridge.billing.again_book import AgainBook
from billing_bridge.billing.holds import PERSON, Hold
from billing_bridge.billing.model import DONE, FAILED, BillRun
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from billing_bridge.mediation.service import MediationService
from billing_bridge.sources.service import SourceService
from controller.domain.clock import Clock
from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import ChargeChecker, RatedBatch, UsageReader, Waiting
from controller.store import outbox
from controller.store.engine import Database
from controller.store.jobs import Jobs
from controller.workflows.bill_batches import Batches
from controller.workflows.bill_run_facts import Facts
from controller.workflows.bill_run_work import WORKFLOW, BillRunWork
from controller.workflows.certify import Certifier
from erp.finance.service import FinanceService

_ENDING_S = 10.0
"""A job that has recorded its run as failed ends within milliseconds, unless its process died: then at its restart."""
_ENDING_POLL_S = 0.05


class NoPreview(RuleError):
    code = "no-preview"


class NothingWaits:
    """A ChargeChecker that finds nothing."""

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        return ()


class BillRuns:
    """`subscriber` is the name under which the bus delivers entitlement events to billing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: Jobs,
        billing: BillingService,
        mediation: MediationService,
        finance: FinanceService,
        usage: UsageReader,
        *,
        certifier: Certifier,
        checker: ChargeChecker | None = None,
        sources: SourceService | None = None,
        subscriber: str = "billing",
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._billing = billing
        self._finance = finance
        self._usage = usage
        self.book = RunBook(database, clock)
        self.again = AgainBook(database, clock)
        self._work = BillRunWork(
            jobs,
            billing,
            self.book,
            Batches(billing, self.book, self.again, finance, checker or NothingWaits()),
            certifier,
            self.again,
            Facts(database, billing, mediation, usage, sources, subscriber),
            alone=database.is_sqlite,
        )

    def register(self) -> None:
        """Make the workflow known; before `jobs.launch()`."""
        self._work.register()

    async def start(
        self,
        *,
        as_of: datetime | None,
        account_id: AccountId | None,
        actor: str,
        dry: bool = False,
        preview_id: BillRunId | None = None,
        hold_changed: bool = False,
        hold: str = "",
    ) -> BillRun:
        """Record a run and start it. Raises FutureBillRun, NotFound for an account nobody has, NoPreview.

        With `preview_id` the run is of the same instant and account as that dry run. With `hold`, a reason, it waits
        before its first document until somebody releases it.
        """
        if preview_id is not None:
            shown = await self._preview(preview_id)
            as_of, account_id = shown.as_of, shown.account_id
        if account_id is not None:
            await self._finance.require_account(account_id)
        usage_watermark = await self._usage.watermark()
        async with self._database.read() as conn:
            newest = await outbox.recent(conn, 1)
        run = await self._billing.open_run(
            as_of=as_of,
            account_id=account_id,
            usage_watermark=usage_watermark,
            event_watermark=newest[0].position if newest else 0,
            actor=actor,
            dry=dry,
            preview_id=preview_id,
            hold_changed=hold_changed,
            hold=hold,
        )
        await self._jobs.start(WORKFLOW, _job_id(run.bill_run_id, 0), run.bill_run_id)
        return run

    async def _preview(self, preview_id: BillRunId) -> BillRun:
        shown = await self._billing.bill_run(preview_id)
        if not shown.dry or shown.state != DONE:
            raise NoPreview(f"bill run {preview_id} is no dry run that is done")
        if not shown.contents:
            raise NoPreview(
                f"what dry run {preview_id} showed is not kept any more: it is old, or another one has taken its place;"
                " start the bill run from a newer one"
            )
        return shown

    async def hold(self, bill_run_id: BillRunId, account_id: AccountId, *, reason: str, actor: str) -> Hold:
        """Let an account of a run wait, or with WHOLE_RUN all that have no document yet. Raises UnknownBillRun."""
        return await self.book.hold(bill_run_id, account_id, PERSON, reason=reason, actor=actor)

    async def release(
        self, bill_run_id: BillRunId, account_id: AccountId, source: str = PERSON, *, reason: str, actor: str
    ) -> BillRun:
        """End a hold of a source and go on with what does not wait any more. Raises UnknownHold, UnknownBillRun."""
        await self._billing.bill_run(bill_run_id)
        if await self.book.release(bill_run_id, account_id, source, reason=reason, actor=actor):
            await self._ended(bill_run_id)
            await self._start_next(bill_run_id)
        return await self._billing.bill_run(bill_run_id)

    async def resume(self) -> None:
        """Start what was recorded, but whose job was not yet: the process died in between. After `jobs.launch()`."""
        for bill_run_id in await self._billing.unfinished_runs():
            await self._start_next(bill_run_id)

    async def redrive(self, bill_run_id: BillRunId, *, actor: str) -> BillRun:
        """Go on with a run that failed. Raises UnknownBillRun, or Conflict for a run that is done or still at work."""
        run = await self._billing.bill_run(bill_run_id)
        if run.state == DONE:
            raise Conflict(f"bill run {bill_run_id} is done; start another one")
        if run.state == FAILED:
            await self._ended(bill_run_id)
            await self._billing.reopen_run(bill_run_id, actor=actor)
        if not await self._start_next(bill_run_id):
            raise Conflict(f"bill run {bill_run_id} is still at work")
        return await self._billing.bill_run(bill_run_id)

    async def _start_next(self, bill_run_id: BillRunId) -> bool:
        """Start the first job of the run that was never started; False when one is at work, which is left alone.

        The ids are numbered, not made anew: whoever comes by after a crash, or at the same time, starts the same job.
        """
        for n in count():
            job_id = _job_id(bill_run_id, n)
            status = await self._jobs.status(job_id)
            if status is None:
                await self._jobs.start(WORKFLOW, job_id, bill_run_id)
                return True
            if status.state == "running":
                return False
        raise AssertionError("unreachable: count() does not end")

    async def _ended(self, bill_run_id: BillRunId) -> None:
        """Wait out the job that has recorded the failure of the run, and only has to end."""
        give_up_at = asyncio.get_running_loop().time() + _ENDING_S
        for n in count():
            while (status := await self._jobs.status(_job_id(bill_run_id, n))) and status.state == "running":
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise Conflict(f"the job of bill run {bill_run_id} has not ended yet; redrive it again later")
                await asyncio.sleep(_ENDING_POLL_S)
            if status is None:
                return


def _job_id(bill_run_id: BillRunId, n: int) -> str:
    """The job of the run as it was started (0), or of its n-th redrive."""
    return f"{WORKFLOW}:{bill_run_id}:{n}" if n else f"{WORKFLOW}:{bill_run_id}"

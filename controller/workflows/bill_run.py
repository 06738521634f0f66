"""The bill run: wait for facts, rate all accounts, prove what it comes to, issue each document once, prove it again.

    POST /bill-runs → run recorded with both watermarks → job bill-run.v1:<id>
      step  facts      events up to the watermark are handled, usage up to the watermark is mediated
      step  plan       accounts are frozen into batches
      step  rate       each batch: charges (and ChargesRated) → drafts → checks, which may let accounts wait
      step  prove      sums of drafts, charges, usage and movements; before the first number is taken
      step  issue      each batch: documents and postings of the accounts that do not wait
      step  certify    sums of documents, lines, journal and numbers → signed certificate

A dry run ends after its drafts and leaves nothing else. Every step may run again after a crash and then finds what it
did: batches carry their state, so a step goes on where it stood; an account that has its document of this run is left
alone. A second run of the same period has no difference to charge. A run that cannot prove its sums is failed and
issues nothing (more). Holds stop an account, or the whole run, before its next document; whoever releases one starts
the next job, which issues what is left and certifies again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_bridge.billing.holds import PERSON, Hold
from billing_bridge.billing.model import (
    CERTIFYING,
    CHECKED,
    DONE,
    FAILED,
    ISSUING,
    OPEN,
    PROVING,
    RATED,
    RATING,
    RUNNING,
    WAITING,
    BillRun,
)
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from billing_bridge.mediation.service import MediationService
from billing_bridge.sources.service import SourceService
from controller.domain.clock import Clock
from controller.domain.errors import Conflict, RuleError
from controller.domain.events import (
    AccountParentSet,
    ItemHeld,
    ServiceActivated,
    ServiceChanged,
    ServicePaused,
    ServiceTerminated,
)
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import ChargeChecker, RatedBatch, UsageReader, Waiting
from controller.store import outbox
from controller.store.engine import SETTLED, Database
from controller.store.jobs import Jobs, RetryPolicy
from controller.workflows.bill_batches import Batches
from controller.workflows.certify import Certifier
from erp.finance.service import FinanceService

log = structlog.get_logger()

WORKFLOW, HELPER = "bill-run.v1", "bill-run-help.v1"
QUEUE = "bill-run"
_HELPERS = 4
_BATCHES_FOR_EACH = 8
"""Helpers are called for a run of at least so many batches each; with fewer they would come too late."""
_ENTITLEMENTS = tuple(
    kind.name
    for kind in (AccountParentSet, ServiceActivated, ServiceChanged, ServiceTerminated, ServicePaused, ItemHeld)
)
_LOOK_AGAIN_S = 0.5
_ENDING_S = 10.0
"""A job that has recorded its run as failed ends within milliseconds, unless its process died: then at its restart."""
_ENDING_POLL_S = 0.05


async def _waiting(attempt: int, error: Exception) -> None:
    log.warning("bill_run.database_unavailable", attempt=attempt, error=str(error))


# The database is away or undid us for another transaction's sake; what it refuses for good is a bug and fails the run.
_PATIENT = RetryPolicy(
    on=(OperationalError, InterfaceError, PoolTimeout), first_wait_s=0.2, longest_wait_s=30.0, waiting=_waiting
)


class EntitlementsParked(RuleError):
    code = "entitlements-parked"


class UsageIncomplete(RuleError):
    code = "usage-incomplete"


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
        workers: int = 2,
        subscriber: str = "billing",
    ) -> None:
        """`workers` batches are worked on at once, where the database lets two write."""
        self._database = database
        self._clock = clock
        self._jobs = jobs
        self._billing = billing
        self._mediation = mediation
        self._finance = finance
        self._usage = usage
        self._certifier = certifier
        self._sources = sources
        self._subscriber = subscriber
        self._workers = 1 if database.is_sqlite else workers
        self.book = RunBook(database, clock)
        self._batches = Batches(billing, self.book, finance, checker or NothingWaits())
        self._committed = asyncio.Event()
        database.on_commit(SETTLED, self._committed.set)

    def register(self) -> None:
        """Make the workflow known; before `jobs.launch()`."""
        self._jobs.register(WORKFLOW, self.run)
        self._jobs.register(HELPER, self.help)
        if not self._database.is_sqlite:  # one process alone writes to SQLite
            self._jobs.declare_queue(QUEUE, at_once=1)

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
        for bill_run_id, account_id in await self.book.forgotten():
            await self.book.go_on(bill_run_id, account_id)
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

    async def run(self, run_id: str) -> int:
        """The workflow; returns the number of documents. A failure is recorded with the run, and redriven by hand."""
        bill_run_id = BillRunId(run_id)
        try:
            await self._jobs.step("facts", self._wait_for_facts, bill_run_id, retry=_PATIENT)
            batches = await self._jobs.step("plan", self._billing.plan_run, bill_run_id, retry=_PATIENT)
            await self._call_for_help(bill_run_id, RATING, batches)
            await self._jobs.step("rate", self._rate, bill_run_id, retry=_PATIENT)
            await self._jobs.step("prove", self._prove, bill_run_id, retry=_PATIENT)
            documents = None
            await self._call_for_help(bill_run_id, ISSUING, batches)
            while documents is None:  # again when an account was let go while the others were certified
                if not await self._jobs.step("issue", self._issue, bill_run_id, retry=_PATIENT):
                    return 0
                await self._jobs.step("certify", self._certify, bill_run_id, retry=_PATIENT)
                documents = await self._jobs.step("finish", self._finish, bill_run_id, retry=_PATIENT)
        except Exception as error:
            await self._jobs.step("fail", self._fail, bill_run_id, f"{type(error).__name__}: {error}", retry=_PATIENT)
            raise
        return documents

    async def _call_for_help(self, bill_run_id: BillRunId, phase: str, batches: int) -> None:
        """Other processes may take batches as well. Of a run that goes on later the helpers have long come and gone."""
        if self._database.is_sqlite:
            return
        for number in range(1, min(_HELPERS, batches // _BATCHES_FOR_EACH) + 1):
            job_id = f"{HELPER}:{bill_run_id}:{phase}:{number}"
            await self._jobs.enqueue(QUEUE, HELPER, job_id, bill_run_id, phase, number)

    async def help(self, run_id: str, phase: str, number: int) -> None:
        """The workflow of a helper: work on batches until none is left. What it cannot do, the run itself will meet."""
        await self._jobs.step("help", self._help, BillRunId(run_id), phase, number)

    async def _help(self, bill_run_id: BillRunId, phase: str, number: int) -> None:
        run = await self._billing.bill_run(bill_run_id)
        if run.state != RUNNING or run.phase not in (phase, WAITING):
            return
        states, work = ((OPEN, RATED), self._prepare) if phase == RATING else ((CHECKED,), self._batches.issue)
        try:
            await self._walk(run, states, work, first=number)
        except Exception as error:
            log.warning("bill_run.helper_failed", bill_run_id=bill_run_id, error=f"{type(error).__name__}: {error}")

    async def _rate(self, bill_run_id: BillRunId) -> None:
        run = await self._billing.bill_run(bill_run_id)
        await self.book.set_phase(bill_run_id, RATING)
        await self._walk(run, (OPEN, RATED), self._prepare)

    async def _prepare(self, run: BillRun, batch: int) -> bool:
        await self._batches.prepare(run, batch)
        return True

    async def _prove(self, bill_run_id: BillRunId) -> None:
        """Before the first number is taken. Raises Unproven."""
        run = await self._billing.bill_run(bill_run_id)
        await self.book.set_phase(bill_run_id, PROVING)
        await self._certifier.prove(run)

    async def _issue(self, bill_run_id: BillRunId) -> bool:
        """False when the run was held meanwhile: its job ends, and whoever releases it starts the next."""
        run = await self._billing.bill_run(bill_run_id)
        if run.dry:
            return True
        await self.book.set_phase(bill_run_id, ISSUING)
        while not await self._walk(run, (CHECKED,), self._batches.issue):
            if await self.book.stand_still(bill_run_id):
                log.info("bill_run.held", bill_run_id=bill_run_id)
                return False
        return True

    async def _certify(self, bill_run_id: BillRunId) -> None:
        run = await self._billing.bill_run(bill_run_id)
        if not run.dry:
            await self.book.set_phase(bill_run_id, CERTIFYING)
            await self._certifier.certify(run)

    async def _walk(
        self,
        run: BillRun,
        states: Sequence[str],
        work: Callable[[BillRun, int], Awaitable[bool]],
        *,
        first: int | None = None,
    ) -> bool:
        """Do `work` on every batch in one of these states, several at once; False as soon as one was not done.

        Each worker begins at another part of the batches and goes round, so that it meets others only at the end. A
        helper is one worker alone, the `first` of those after the run's own.
        """
        numbers = range(self._workers) if first is None else range(self._workers + first - 1, self._workers + first)
        gone_on, taken = True, set[int]()

        async def worker(number: int) -> None:
            nonlocal gone_on
            middle = run.batches * number // (self._workers + _HELPERS)
            for since, until in ((middle, run.batches), (0, middle)):
                while gone_on and since < until:
                    batch = await self.book.next_batch(run.bill_run_id, states, since, until)
                    if batch is None:
                        break
                    since = batch + 1
                    if batch not in taken:
                        taken.add(batch)
                        await self._jobs.ready()
                        gone_on = await work(run, batch) and gone_on

        try:
            async with asyncio.TaskGroup() as group:
                for number in numbers:
                    group.create_task(worker(number))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the first one ended the others
        return gone_on

    async def _wait_for_facts(self, bill_run_id: BillRunId) -> None:
        """Everything that was known when the run was started: entitlements by event, usage by record."""
        run = await self._billing.bill_run(bill_run_id)
        while await self._entitlements_pending(run.event_watermark):
            self._committed.clear()
            try:
                await asyncio.wait_for(self._committed.wait(), _LOOK_AGAIN_S)
            except TimeoutError:
                log.info("bill_run.waiting_for_events", bill_run_id=bill_run_id, event_watermark=run.event_watermark)
        await self._refuse_parked(run.event_watermark)
        await self._mediation.catch_up(run.usage_watermark)
        await self._await_sources(run)

    async def _await_sources(self, run: BillRun) -> None:
        """Every source of usage that is awaited has told all that this run bills, or the run says which has not.

        Raises UsageIncomplete when one lags for too long: then the run is redriven once it has delivered.
        """
        if self._sources is None:
            return
        needed, loop = self._sources.needed(run.as_of), asyncio.get_running_loop()
        give_up_at, told = loop.time() + self._sources.patience_s, ""
        while lags := await self._sources.lagging(needed):
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
            self._committed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._committed.wait(), _LOOK_AGAIN_S)
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

    async def _finish(self, bill_run_id: BillRunId) -> int | None:
        """The number of documents; None when there are more to issue by now."""
        if not await self._billing.finish_run(bill_run_id):
            return None
        run = await self._billing.bill_run(bill_run_id)
        log.info("bill_run.done", bill_run_id=bill_run_id, charges=run.charges, documents=run.documents)
        return run.documents

    async def _fail(self, bill_run_id: BillRunId, error: str) -> None:
        await self._billing.finish_run(bill_run_id, error=error[:2000])
        log.error("bill_run.failed", bill_run_id=bill_run_id, error=error)


def _job_id(bill_run_id: BillRunId, n: int) -> str:
    """The job of the run as it was started (0), or of its n-th redrive."""
    return f"{WORKFLOW}:{bill_run_id}:{n}" if n else f"{WORKFLOW}:{bill_run_id}"

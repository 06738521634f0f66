"""The workflow of a bill run, step by step, and of those who help it; each may run again after a crash.

A run of many batches calls for help: other processes take batches from its queue, and work beside it until none is
left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_bridge.billing.again_book import AgainBook
from billing_bridge.billing.model import (
    CERTIFYING,
    CHECKED,
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
from billing_bridge.billing.taking import RUN
from controller.domain.identity import BillRunId
from controller.store.jobs import Jobs, RetryPolicy
from controller.workflows.bill_batches import Batches
from controller.workflows.bill_run_facts import Facts
from controller.workflows.certify import Certifier

log = structlog.get_logger()

WORKFLOW, HELPER = "bill-run.v1", "bill-run-help.v1"
QUEUE = "bill-run"
_HELPERS = 4
_BATCHES_FOR_EACH = 8
"""Helpers are called for a run of at least so many batches each; with fewer they would come too late."""
_TAKEN_POLL_S = 0.02
"""How often the run looks whether helpers have done their last batches, or have left them."""


async def _waiting(attempt: int, error: Exception) -> None:
    log.warning("bill_run.database_unavailable", attempt=attempt, error=str(error))


# The database is away or undid us for another transaction's sake; what it refuses for good is a bug and fails the run.
_PATIENT = RetryPolicy(
    on=(OperationalError, InterfaceError, PoolTimeout), first_wait_s=0.2, longest_wait_s=30.0, waiting=_waiting
)


class BillRunWork:
    """Works on one batch at a time, beside helpers: one of its own process, which computes on one core, and those of
    other processes. Where one process `alone` writes, nobody helps."""

    def __init__(
        self,
        jobs: Jobs,
        billing: BillingService,
        book: RunBook,
        batches: Batches,
        certifier: Certifier,
        again: AgainBook,
        facts: Facts,
        *,
        alone: bool,
    ) -> None:
        self._jobs = jobs
        self._billing = billing
        self._book = book
        self._batches = batches
        self._certifier = certifier
        self._again = again
        self._facts = facts
        self._alone = alone

    def register(self) -> None:
        """Make the workflows known; before `jobs.launch()`."""
        self._jobs.register(WORKFLOW, self.run)
        self._jobs.register(HELPER, self.help)
        if not self._alone:
            self._jobs.declare_queue(QUEUE, at_once=1)

    async def run(self, run_id: str) -> int:
        """The workflow; returns the number of documents. A failure is recorded with the run, and redriven by hand."""
        bill_run_id = BillRunId(run_id)
        try:
            await self._jobs.step("facts", self._facts.wait, bill_run_id, retry=_PATIENT)
            batches = await self._jobs.step("plan", self._billing.plan_run, bill_run_id, retry=_PATIENT)
            await self._call_for_help(bill_run_id, RATING, batches)
            await self._jobs.step("rate", self._rate, bill_run_id, retry=_PATIENT)
            documents = None
            while documents is None:  # again when an account was let go meanwhile
                await self._jobs.step("again", self._rate_again, bill_run_id, retry=_PATIENT)
                await self._jobs.step("prove", self._prove, bill_run_id, retry=_PATIENT)
                await self._call_for_help(bill_run_id, ISSUING, batches)
                if not await self._jobs.step("issue", self._issue, bill_run_id, retry=_PATIENT):
                    return 0
                await self._jobs.step("certify", self._certify, bill_run_id, retry=_PATIENT)
                documents = await self._jobs.step("finish", self._finish, bill_run_id, retry=_PATIENT)
        except Exception as error:
            await self._jobs.step("fail", self._fail, bill_run_id, f"{type(error).__name__}: {error}", retry=_PATIENT)
            raise
        await self._jobs.step("tidy", self._tidy, bill_run_id, retry=_PATIENT)
        return documents

    async def _call_for_help(self, bill_run_id: BillRunId, phase: str, batches: int) -> None:
        """Other processes may take batches as well. Of a run that goes on later the helpers have long come and gone."""
        if self._alone:
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
        done = False
        try:
            done = await self._walk(run, states, work, helper=number)
        except Exception as error:
            log.warning("bill_run.helper_failed", bill_run_id=bill_run_id, error=f"{type(error).__name__}: {error}")
        if not done:
            await self._book.give_back(bill_run_id, number)

    async def _rate(self, bill_run_id: BillRunId) -> None:
        run = await self._billing.bill_run(bill_run_id)
        await self._book.set_phase(bill_run_id, RATING)
        await self._walk(run, (OPEN, RATED), self._prepare)

    async def _prepare(self, run: BillRun, batch: int) -> bool:
        await self._batches.prepare(run, batch)
        return True

    async def _rate_again(self, bill_run_id: BillRunId) -> None:
        """Who was let go, by what is known at this moment: what was wrong may have been mended since."""
        run = await self._billing.bill_run(bill_run_id)
        while let_go := await self._again.let_go(bill_run_id):  # who is let go meanwhile is left to its own turn
            await self._book.set_phase(bill_run_id, RATING)  # until all turns are over no helper issues anything
            await self._facts.catch_up(bill_run_id)
            for account_id in let_go:  # all of them first: who shares a bill is rated with the first of them
                await self._jobs.ready()
                await self._batches.keep(run, account_id)
            for account_id in let_go:
                await self._jobs.ready()
                await self._batches.again(run, account_id, let_go)

    async def _prove(self, bill_run_id: BillRunId) -> None:
        """Before the first number is taken. Raises Unproven."""
        run = await self._billing.bill_run(bill_run_id)
        await self._book.set_phase(bill_run_id, PROVING)
        await self._certifier.prove(run)

    async def _issue(self, bill_run_id: BillRunId) -> bool:
        """False when the run was held meanwhile: its job ends, and whoever releases it starts the next."""
        run = await self._billing.bill_run(bill_run_id)
        if run.dry:
            return True
        while True:
            await self._book.set_phase(bill_run_id, ISSUING)  # a job that was taken for dead may have said another
            if await self._walk(run, (CHECKED,), self._batches.issue) and not await self._book.left(bill_run_id):
                return True
            if await self._book.stand_still(bill_run_id):
                log.info("bill_run.held", bill_run_id=bill_run_id)
                return False

    async def _certify(self, bill_run_id: BillRunId) -> None:
        run = await self._billing.bill_run(bill_run_id)
        if not run.dry:
            await self._book.set_phase(bill_run_id, CERTIFYING)
            await self._certifier.certify(run)

    async def _walk(
        self,
        run: BillRun,
        states: Sequence[str],
        work: Callable[[BillRun, int], Awaitable[bool]],
        *,
        helper: int = RUN,
    ) -> bool:
        """Do `work` on one batch after the other in one of these states; False as soon as one was not done.

        A helper ends when there is nothing left to take; the run itself sees all of it done.
        """
        await self._book.give_back(run.bill_run_id, helper)  # what was taken by one that died
        while (batch := await self._next(run, states, helper)) is not None:
            await self._jobs.ready()
            if not await work(run, batch):
                return False
        return True

    async def _next(self, run: BillRun, states: Sequence[str], helper: int) -> int | None:
        """A batch to work on, None when there is none; the run itself waits for those that helpers have."""
        while (batch := await self._book.take_batch(run.bill_run_id, states, helper)) is None:
            if helper != RUN or not await self._book.helped(run.bill_run_id, states):
                return None
            await asyncio.sleep(_TAKEN_POLL_S)
        return batch

    async def _finish(self, bill_run_id: BillRunId) -> int | None:
        """The number of documents; None when there are more to issue by now."""
        if not await self._billing.finish_run(bill_run_id):
            return None
        run = await self._billing.bill_run(bill_run_id)
        log.info("bill_run.done", bill_run_id=bill_run_id, charges=run.charges, documents=run.documents)
        return run.documents

    async def _tidy(self, bill_run_id: BillRunId) -> None:
        await self._book.give_up_previews(await self._billing.bill_run(bill_run_id))

    async def _fail(self, bill_run_id: BillRunId, error: str) -> None:
        await self._billing.finish_run(bill_run_id, error=error[:2000])
        log.error("bill_run.failed", bill_run_id=bill_run_id, error=error)

"""Adds up what a bill run made, compares it, and signs what agrees; what does not agree stops the run, counted."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from itertools import zip_longest

import structlog
from prometheus_client import Counter

from billing_bridge.billing.again_book import AgainBook
from billing_bridge.billing.model import BillRun
from billing_bridge.billing.run_book import RunBook
from controller.domain.clock import Clock
from controller.domain.identity import BillRunId
from controller.domain.ports import UsageReader
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from controller.store.signing import Signer
from controller.workflows import certificate
from controller.workflows.certificate import Agreement, Facts, Unproven
from erp.finance.service import FinanceService

log = structlog.get_logger()

PURPOSE = "bill-run-certificate"
_AT_A_TIME = 1000
_unproven = Counter("headend_bill_runs_unproven_total", "Bill runs stopped because their sums do not agree", ["when"])


class Certifier:
    """Proves a run before and after it issues, and keeps its certificates."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        box: SecretBox,
        book: RunBook,
        finance: FinanceService,
        usage: UsageReader,
    ) -> None:
        self._database = database
        self._clock = clock
        self._book = book
        self._again = AgainBook(database, clock)
        self._finance = finance
        self._usage = usage
        self._signer = Signer(box, clock, PURPOSE)

    async def prove(self, run: BillRun) -> None:
        """Raises Unproven when what was rated and drafted does not add up."""
        checks = await self._before(run)
        try:
            certificate.require(checks)
        except Unproven as error:
            _alarm("before", run, error)
            raise

    async def certify(self, run: BillRun) -> str:
        """Sign what was issued; returns the certificate. Raises Unproven.

        A run that was certified gets another certificate only when something was issued since.
        """
        known = await self._book.certificates(run.bill_run_id)
        facts = await self._facts(run, len(known) + 1)
        try:
            certificate.require(facts.checks)
        except Unproven as error:
            _alarm("after", run, error)
            raise
        if known and certificate.same_documents(known[-1], facts):
            return known[-1]
        text = certificate.text_of(facts)
        async with self._database.begin() as conn:
            file = certificate.file_of(text, await self._signer.sign(conn, text.encode()))
            await self._book.add_certificate(conn, run.bill_run_id, facts.number, file)
        return file

    async def public_key(self) -> str:
        """In base64: what certificates are checked with."""
        async with self._database.begin() as conn:
            return await self._signer.public_key(conn)

    async def certificates(self, bill_run_id: BillRunId) -> list[str]:
        """Of a run, oldest first."""
        return await self._book.certificates(bill_run_id)

    async def _before(self, run: BillRun) -> list[certificate.Check]:
        tally, sums = await self._book.tally(run.bill_run_id), await self._book.sums(run.bill_run_id)
        conserved = certificate.conserved(*await self._book.usage_ledger())
        if run.dry:
            charged = {s.currency: (s.charges, s.agreed) for s in sums}
            return conserved + [c for c in certificate.before(tally, charged, sums) if c.name != "charges-drafted"]
        return conserved + certificate.before(tally, await self._book.charged(run.bill_run_id), sums)

    async def _facts(self, run: BillRun, number: int) -> Facts:
        bill_run_id = run.bill_run_id
        sums, issued = await self._book.sums(bill_run_id), await self._book.sums(bill_run_id, issued=True)
        proof, agreement = await self._finance.proof(bill_run_id), await self._agreement(bill_run_id)
        left = await self._book.left_over(bill_run_id)
        waiting = [h for h in await self._book.holds(bill_run_id) if h.stands]
        late = await self._book.late(bill_run_id)
        late["records_after_the_watermark"] = await self._usage.watermark() - run.usage_watermark
        return Facts(
            run=run,
            number=number,
            made_at=self._clock.now().isoformat(),
            tally=await self._book.tally(bill_run_id),
            sums=sums,
            issued=issued,
            proof=proof,
            agreement=agreement,
            waiting=waiting,
            again=await self._again.rated_again(bill_run_id, None, certificate.LISTED),
            late=late,
            sources=(await self._book.usage_ledger())[0],
            checks=[*await self._before(run), *certificate.after(issued, proof, agreement, left)],
            previous_sha256=await self._book.last_certificate_sha256(),
        )

    async def _agreement(self, bill_run_id: BillRunId) -> Agreement:
        """Drafts and documents, side by side in the order of accounts: any number of them in little memory."""
        digest, count, differing = hashlib.sha256(), 0, 0
        async with (
            aclosing(self._finance.digests(bill_run_id, _AT_A_TIME)) as documents,
            aclosing(self._book.digests(bill_run_id, _AT_A_TIME)) as drafts,
        ):
            while True:
                own, issued = await anext(drafts, None), await anext(documents, None)
                if own is None and issued is None:
                    return Agreement(count, differing, digest.hexdigest())
                for draft, document in zip_longest(own or (), issued or ()):
                    count += 1
                    if draft is None or document is None or draft[:2] != document[:2]:
                        return Agreement(count, differing + 1, digest.hexdigest())
                    account_id, currency, sha256 = document
                    differing += draft[2] != sha256
                    digest.update(f"{account_id}|{currency}|{sha256.hex()}\n".encode())


def _alarm(when: str, run: BillRun, error: Unproven) -> None:
    _unproven.labels(when).inc()
    log.error("bill_run.unproven", bill_run_id=run.bill_run_id, when=when, error=str(error))

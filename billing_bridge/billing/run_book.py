"""What is known of a bill run beside its charges: drafts, who waits and why, sums to prove, progress, certificates."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import again_rows, charge_rows, drafts, holds, runs, taking
from billing_bridge.billing.drafts import Digest, DraftSums
from billing_bridge.billing.holds import PROOF, WHOLE_RUN, Hold
from billing_bridge.billing.model import (
    CHECKED,
    DONE,
    HELD,
    INVOICED,
    ISSUING,
    OPEN,
    RATED,
    RUNNING,
    BillRun,
    DraftTotal,
    Key,
)
from billing_bridge.billing.tally import Tally
from billing_bridge.errors import UnknownBillRun, UnknownHold
from billing_bridge.sources import ledger
from billing_bridge.sources.ledger import Hour
from billing_bridge.suspense import repository as suspended
from billing_bridge.tables import bill_certificate
from controller.domain.clock import Clock
from controller.domain.identity import AccountId, BillRunId, ChargeId
from controller.domain.ports import Waiting
from controller.store import audit
from controller.store.engine import Database

_ACTOR = "system:billing_bridge"
_RATE_OVER = timedelta(seconds=30)
PREVIEWS_KEPT = timedelta(days=35)
"""A month and some days: the run of a month may be looked at beside its preview until the next one is."""
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, 0 … 1. Speed and time left are of its present phase, None while nothing is known of them."""

    done: float
    phase: str
    accounts_per_s: float | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class AsRead:
    """What somebody has read of a batch and makes documents of: the digest of each draft, and which charges."""

    drafts: Mapping[Key, bytes]
    charges: Mapping[Key, Collection[ChargeId]]


class RunBook:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take_batch(self, bill_run_id: BillRunId, states: Sequence[str], taker: int) -> int | None:
        """A batch in one of these states for the taker alone, for a while; None when others have what there is."""
        async with self._database.begin() as conn:
            return await taking.take(conn, bill_run_id, states, taker)

    async def give_back(self, bill_run_id: BillRunId, taker: int, batch: int | None = None) -> None:
        """A batch, or all, that the taker took and does not work on any more."""
        async with self._database.begin() as conn:
            await taking.give_back(conn, bill_run_id, taker, batch)

    async def helped(self, bill_run_id: BillRunId, states: Sequence[str]) -> bool:
        """Whether helpers have a batch in one of these states."""
        async with self._database.read() as conn:
            return await taking.helped(conn, bill_run_id, states)

    async def set_phase(self, bill_run_id: BillRunId, phase: str) -> None:
        async with self._database.begin() as conn:
            await runs.set_phase(conn, bill_run_id, phase)

    async def set_checked(
        self,
        bill_run_id: BillRunId,
        batch: int,
        found: Sequence[DraftTotal],
        waiting: Sequence[tuple[str, Waiting]] = (),
        dry: Tally | None = None,
    ) -> None:
        """What the documents of a batch come to, and which accounts wait, each by its source. What was released stays.

        A dry run tells here what it counted.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            if (await runs.lock_batch(conn, bill_run_id, batch)).state not in (OPEN, RATED):
                return  # another process was faster
            await drafts.put(conn, bill_run_id, batch, found)
            for source in dict.fromkeys(source for source, _ in waiting):
                own = [w for s, w in waiting if s == source]
                await holds.add_found(conn, bill_run_id, own, source=source, now=now, actor=_ACTOR)
            counted: dict[str, Any] = {}
            if dry is not None:
                counted = {"charges": dry.charges, "totals": dry.to_json(), "documents": len(found)}
            await runs.set_checked(conn, bill_run_id, batch, **counted)

    async def drafts(self, bill_run_id: BillRunId, batch: int) -> list[DraftTotal]:
        async with self._database.read() as conn:
            return await drafts.of_batch(conn, bill_run_id, batch)

    async def drafts_of(self, bill_run_id: BillRunId, accounts: Sequence[str]) -> list[DraftTotal]:
        async with self._database.read() as conn:
            return await drafts.of_accounts(conn, bill_run_id, accounts)

    async def draft_page(
        self, bill_run_id: BillRunId, after: tuple[str, str] | None, limit: int, *, issued: bool | None = None
    ) -> list[DraftTotal]:
        """In order of account and currency: all, or those that have their document, or those that have not."""
        async with self._database.read() as conn:
            return await drafts.page(conn, bill_run_id, after, limit, issued=issued)

    async def differing(
        self, bill_run_id: BillRunId, preview_id: BillRunId, after: tuple[str, str] | None, limit: int
    ) -> list[tuple[AccountId, str]]:
        """(account, currency) of what two runs do not say alike, in that order."""
        async with self._database.read() as conn:
            return await drafts.differing(conn, bill_run_id, preview_id, after, limit)

    async def digests(self, bill_run_id: BillRunId, at_a_time: int) -> AsyncGenerator[Sequence[Digest]]:
        """Of the drafts that have their document, so many at a time, in order of account and currency."""
        async with self._database.read() as conn:
            async for found in drafts.digests(conn, bill_run_id, at_a_time):
                yield found

    async def sums(self, bill_run_id: BillRunId, *, issued: bool = False) -> list[DraftSums]:
        """What all drafts come to, or those with a document, by currency."""
        async with self._database.read() as conn:
            return await drafts.sums(conn, bill_run_id, issued=issued)

    async def set_invoiced(
        self,
        bill_run_id: BillRunId,
        batch: int,
        issued: Mapping[Key, bytes],
        differing: Mapping[Key, str],
        read: AsRead,
    ) -> None:
        """The batch has these documents, with the digests of what they said before they had a number.

        What is `differing` from its draft, and why, waits for that; unless what was `read` of it is out of date.
        """
        async with self._database.begin() as conn:
            frozen = await runs.lock_batch(conn, bill_run_id, batch)  # first, as who rates again does
            concerned = [*frozen.account_ids, *(account_id for account_id, _ in differing)]
            waits_already = await holds.standing_of(conn, bill_run_id, concerned)
            for key in sorted(await self._as_read(conn, bill_run_id, batch, read) if differing else ()):
                if key in differing and key[0] not in waits_already:  # let go before, it stands again, or it never ends
                    made = Hold(bill_run_id, key[0], PROOF, differing[key], self._clock.now(), _ACTOR)
                    await holds.put(conn, made)
                    waits_already.add(key[0])
            await drafts.set_issued(conn, bill_run_id, batch, issued)
            known = await drafts.of_batch(conn, bill_run_id, batch)
            left = not waits_already.isdisjoint(frozen.account_ids) or not all(d.issued for d in known)
            await runs.set_invoiced(conn, bill_run_id, batch, sum(d.issued for d in known), complete=not left)

    async def still(self, conn: AsyncConnection, bill_run_id: BillRunId, batch: int, read: AsRead) -> Collection[Key]:
        """Which (account, currency) may be issued in this transaction, of what was `read` of them.

        Until it ends nobody rates an account of the batch again. Who waits by now may not, nor who has another draft or
        other charges.
        """
        await runs.lock_batch(conn, bill_run_id, batch)
        return await self._as_read(conn, bill_run_id, batch, read)

    async def _as_read(
        self, conn: AsyncConnection, bill_run_id: BillRunId, batch: int, read: AsRead
    ) -> Collection[Key]:
        """What of it can be issued and is still what was read. Whoever asks has the lock of the batch.

        While the run does anything else than issue that is nothing: somebody may be rated again, and who shares its
        bill and is held by nobody has new charges then, and the draft of the old ones.
        """
        if await runs.phase(conn, bill_run_id) != ISSUING:
            return ()
        keys = {*read.drafts, *read.charges}
        waiting = await holds.standing_of(conn, bill_run_id, {account_id for account_id, _ in keys})
        if WHOLE_RUN in waiting:
            return ()
        now = {d.key: d.sha256 for d in await drafts.of_batch(conn, bill_run_id, batch)}
        same = [key for key in keys if key[0] not in waiting and now.get(key) == read.drafts.get(key)]
        if not await again_rows.any_of(conn, bill_run_id):
            return same
        charged = await charge_rows.ids_of(conn, bill_run_id, batch)  # other charges may make the same document
        return [key for key in same if charged.get(key) == read.charges.get(key)]

    async def left_over(self, bill_run_id: BillRunId) -> int:
        """How many batches have drafts without a document that nothing holds."""
        async with self._database.read() as conn:
            return len(await drafts.left(conn, bill_run_id))

    async def left(self, bill_run_id: BillRunId) -> bool:
        """Whether there are such batches; they are to be issued again."""
        async with self._database.begin() as conn:
            batches = await drafts.left(conn, bill_run_id)
            if batches:
                await runs.issue_again(conn, bill_run_id, batches)
        return bool(batches)

    async def late(self, bill_run_id: BillRunId) -> dict[str, Any]:
        """What came too late for the run it belongs to, and what waits for a decision."""
        async with self._database.read() as conn:
            listed = await drafts.late(conn, bill_run_id, _LISTED)
            waiting = await suspended.sums(conn)
        return {
            "adjustments": listed,
            "suspense": [
                {
                    "reason": s.reason,
                    "items": s.items,
                    "octets": s.upstream_octets + s.downstream_octets,
                    "since": s.oldest_at.isoformat(),
                }
                for s in waiting
            ],
        }

    async def usage_ledger(self) -> tuple[list[Hour], list[Hour]]:
        """(each source over all its hours, the hours that do not add up), in one look."""
        async with self._database.read() as conn:
            return await ledger.sums(conn), await ledger.unbalanced(conn)

    async def charged(self, bill_run_id: BillRunId) -> dict[str, tuple[int, int]]:
        """(number, sum) of the charges of a run, by currency."""
        async with self._database.read() as conn:
            return await drafts.charged(conn, bill_run_id)

    async def tally(self, bill_run_id: BillRunId) -> Tally:
        """What was counted in all batches."""
        found = Tally()
        async with self._database.read() as conn:
            async for text in runs.totals(conn, bill_run_id):
                found.add(Tally.from_json(text))
        return found

    async def holds(self, bill_run_id: BillRunId) -> list[Hold]:
        async with self._database.read() as conn:
            return await holds.of_run(conn, bill_run_id)

    async def waiting(self, bill_run_id: BillRunId) -> set[AccountId]:
        """Accounts whose documents wait; holds.WHOLE_RUN among them when all do."""
        async with self._database.read() as conn:
            return await holds.standing(conn, bill_run_id)

    async def waiting_in(self, bill_run_id: BillRunId, batch: int) -> set[AccountId]:
        """Accounts with drafts in a batch that wait; holds.WHOLE_RUN among them when all do."""
        async with self._database.read() as conn:
            return await holds.standing_of(conn, bill_run_id, await drafts.accounts_of(conn, bill_run_id, batch))

    async def hold(
        self, bill_run_id: BillRunId, account_id: AccountId, source: str, *, reason: str, actor: str
    ) -> Hold:
        """Let an account, or WHOLE_RUN, wait. Raises UnknownBillRun. What has its document already keeps it."""
        made = Hold(bill_run_id, account_id, source, reason, self._clock.now(), actor)
        async with self._database.begin() as conn:
            if await runs.get(conn, bill_run_id) is None:
                raise UnknownBillRun(f"no bill run {bill_run_id}")
            await holds.put(conn, made)
            await audit.record(
                conn,
                now=made.held_at,
                actor=actor,
                action="bill-run.hold",
                subject=f"bill-run:{bill_run_id}",
                after={"account_id": account_id or "all", "source": source},
                reason=reason,
            )
        return made

    async def release(
        self, bill_run_id: BillRunId, account_id: AccountId, source: str, *, reason: str, actor: str
    ) -> bool:
        """End a hold; True when the run has something to go on with. Raises UnknownHold when none stands."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            run = await runs.lock(conn, bill_run_id)
            rate_again = account_id != WHOLE_RUN and not (run is None or run.dry)
            if not await holds.release(
                conn, bill_run_id, account_id, source, now=now, actor=actor, reason=reason, rate_again=rate_again
            ):
                raise UnknownHold(f"bill run {bill_run_id} holds {account_id or 'all of it'} for no {source}")
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="bill-run.release",
                subject=f"bill-run:{bill_run_id}",
                after={"account_id": account_id or "all", "source": source},
                reason=reason,
            )
            return run is not None and await self._go_on(conn, run, account_id)

    async def _go_on(self, conn: AsyncConnection, run: BillRun, account_id: AccountId) -> bool:
        """Let a run that has ended go on, when nobody holds the account, or all of it, any more."""
        if run.dry or await holds.is_held(conn, run.bill_run_id, account_id):
            return False
        if account_id == WHOLE_RUN:
            changed = await charge_rows.to_rate_again(conn, run.bill_run_id)
            whole = [h for h in await holds.of_run(conn, run.bill_run_id) if h.account_id == WHOLE_RUN]
            await holds.let_go_to_rate(conn, whole[-1], changed)
            await runs.issue_again(conn, run.bill_run_id, None)
        return await runs.reopen(conn, run.bill_run_id, (DONE, HELD))

    async def stand_still(self, bill_run_id: BillRunId) -> bool:
        """Let the run be held if it shall be; False when it was released in this moment."""
        async with self._database.begin() as conn:
            await runs.lock(conn, bill_run_id)
            if not await holds.is_held(conn, bill_run_id, WHOLE_RUN):
                return False
            await runs.stand_still(conn, bill_run_id)
        return True

    async def give_up_previews(self, run: BillRun) -> None:
        """When `run` is done: what the drafts of old dry runs say, and of those in whose place it comes."""
        async with self._database.read() as conn:
            outlived = await runs.outlived(conn, run, self._clock.now() - PREVIEWS_KEPT)
        for bill_run_id, batches in outlived:
            for batch in range(batches):
                async with self._database.begin() as conn:
                    await drafts.give_up_contents(conn, bill_run_id, batch)
            async with self._database.begin() as conn:
                await runs.set_without_contents(conn, bill_run_id)

    async def progress(self, run: BillRun) -> Progress:
        """By the batches done, and how many of them lately."""
        if run.state not in (RUNNING, HELD) or not run.batches:
            return Progress(1.0 if run.finished_at else 0.0, run.phase, None, None)
        parts = 1 if run.dry else 2
        issuing = run.phase == ISSUING
        done_in_phase = run.batches_done if issuing else run.batches_checked
        done = (run.batches_checked + (0 if run.dry else run.batches_done)) / (parts * run.batches)
        now = datetime.now(UTC)
        async with self._database.read() as conn:
            count, first = await runs.moved(conn, run.bill_run_id, INVOICED if issuing else CHECKED, now - _RATE_OVER)
        spent = (now - first).total_seconds() if first else 0.0
        if count < 2 or spent <= 0:
            return Progress(done, run.phase, None, None)
        batches_per_s = (count - 1) / spent
        left = (run.batches - done_in_phase + (0 if issuing or run.dry else run.batches)) / batches_per_s
        return Progress(done, run.phase, batches_per_s * run.accounts / run.batches, left)

    async def add_certificate(self, conn: AsyncConnection, bill_run_id: BillRunId, number: int, text: str) -> None:
        """Keep a certificate, in the transaction of its key. The number is taken once, or the database refuses."""
        values = {"bill_run_id": bill_run_id, "number": number, "made_at": self._clock.now(), "text": text}
        await conn.execute(insert(bill_certificate).values(values | {"sha256": hashlib.sha256(text.encode()).digest()}))

    async def certificates(self, bill_run_id: BillRunId) -> list[str]:
        """Oldest first."""
        query = select(bill_certificate.c.text).where(bill_certificate.c.bill_run_id == bill_run_id)
        async with self._database.read() as conn:
            return list(await conn.scalars(query.order_by(bill_certificate.c.number)))

    async def last_certificate_sha256(self) -> str:
        """Of the newest of all runs, as hexadecimal digits; "" before the first."""
        query = select(bill_certificate.c.sha256).order_by(
            bill_certificate.c.made_at.desc(), bill_certificate.c.bill_run_id.desc(), bill_certificate.c.number.desc()
        )
        async with self._database.read() as conn:
            found = await conn.scalar(query.limit(1))
        return found.hex() if found else ""

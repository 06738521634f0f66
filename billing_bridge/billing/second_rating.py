"""Rates an account again that waited in a bill run and was let go: what is issued is what is true by then.

    held ──release──▶ to be rated ──▶ rated again from the facts of now, its charges in the place of those of the run
                                       ├─ unchanged, or no check minds ─▶ its documents
                                       └─ a check finds something       ─▶ held, and somebody looks at it once more

Accounts that share a bill are rated together, and those of them that were let go together have one turn: each of them
would cost as much as all.

Charges that stand on no document may be withdrawn, and are, so that the bill reads as if it had been right at once. One
that another run has already charged a difference to stays: that difference was computed from it. The tally of the batch
is the sum of its parts, of which one is replaced in the same transaction: what the certificate proves stays provable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import (
    again_rows,
    assessment,
    charge_rows,
    drafts,
    evidence,
    holds,
    parts,
    recurring,
    repository,
    runs,
)
from billing_bridge.billing.counting import Counted, count
from billing_bridge.billing.holds import PROOF, Hold
from billing_bridge.billing.model import BillRun, Key, RatedCharge, Subscription
from billing_bridge.billing.parts import Part
from billing_bridge.billing.repository import AsFound
from billing_bridge.settings import BillingSettings
from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.events import ChargesRated
from controller.domain.identity import AccountId, BillRunId, new_id
from controller.store import outbox
from controller.store.engine import Database

_ACTOR = "system:billing_bridge"
_READINGS = 3

Documented = Callable[[AsyncConnection, BillRunId, Sequence[AccountId]], Awaitable[Collection[Key]]]
"""Of some accounts, the currencies in which they have a document of a run, read in the caller's transaction."""


class NotAlone(RuleError):
    """What has changed belongs to another account's bill too, which has left."""

    code = "not-alone"


@dataclass(frozen=True, slots=True)
class Second:
    """`accounts` are those whose charges may be others now: the one that was let go, and who shares its bill.

    Not those in a currency in which one of them has its document already (`done`). `turn` are those of them that were
    let go and are done with it.
    """

    batch: int
    accounts: tuple[AccountId, ...]
    done: frozenset[Key]
    turn: tuple[AccountId, ...]


class SecondRating:
    def __init__(self, database: Database, clock: Clock, settings: BillingSettings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def rate(
        self, run: BillRun, account_id: AccountId, documented: Documented, among: Collection[AccountId] = ()
    ) -> Second | None:
        """None when there is nothing to be rated: the account is held again, has its documents, or was rated.

        Who of `among` shares its bill and was let go as well is rated in the same turn. May be repeated: it finds then
        what it made, and makes it once more. Raises NotAlone.
        """
        async with self._database.begin() as conn:
            batch = next(iter(await drafts.batches_of(conn, run.bill_run_id, account_id)), None)
            if batch is None:  # all lists of accounts are looked through for it
                batch = await runs.batch_of(conn, run.bill_run_id, account_id)
            if batch is None:
                await holds.rated(conn, run.bill_run_id, [account_id])
                return None
            frozen = await runs.lock_batch(conn, run.bill_run_id, batch)  # no document of it is written meanwhile
            if not await holds.to_rate(conn, run.bill_run_id, [account_id]):
                return None
            known = parts.unpacked(frozen.parts)
            part = parts.of_account(known, account_id) or Part((account_id,))
            done = frozenset(await documented(conn, run.bill_run_id, part.accounts))
            left = [d for d in await drafts.of_accounts(conn, run.bill_run_id, part.accounts) if d.key not in done]
            waits = {d.account_id for d in left} | set(part.accounts) - {i for i, _ in done}
            if account_id not in waits:
                await holds.rated(conn, run.bill_run_id, [account_id])
                return None
            now = self._clock.now()
            let_go = await holds.to_rate(conn, run.bill_run_id, {account_id, *(i for i in waits if i in among)})
            told = {i for i, hold in let_go.items() if await self._is_told(conn, hold)}
            turn = (account_id,) if account_id in told else tuple(i for i in let_go if i not in told)
            for i in turn:
                await again_rows.begin(conn, let_go[i], [d for d in left if d.account_id == i], now)
            free = tuple(i for i in part.accounts if i in waits)
            second = Second(batch, free, frozenset(key for key in done if key[0] in waits), turn)
            if part.before and account_id not in told:
                own = [i for i in frozen.account_ids if i in part.accounts]
                await _Again(conn, run, part, own, second, self._settings).rate(known, frozen, now)
        return second

    async def _is_told(self, conn: AsyncConnection, let_go: Hold) -> bool:
        """Whether it was let go although it cannot be rated alone: it leaves as it was proved."""
        if let_go.source != PROOF:
            return False
        return await again_rows.last_outcome(conn, let_go.bill_run_id, let_go.account_id) == again_rows.BLOCKED


class _Again:
    """One part of a batch, within one transaction."""

    def __init__(
        self,
        conn: AsyncConnection,
        run: BillRun,
        part: Part,
        own: Sequence[AccountId],
        second: Second,
        settings: BillingSettings,
    ) -> None:
        """`own` are the accounts whose subscriptions the run has rated."""
        self._conn = conn
        self._run = run
        self._batch = second.batch
        self._part = part
        self._own = own
        self._second = second
        self._settings = settings
        self._marks = {str(i): (b.rate_from_on, b.usage_billed_until_on) for i, b in part.before.items()}

    async def rate(self, known: Sequence[Part], frozen: runs.Batch, now: datetime) -> None:
        """Withdraw, charge and count anew, where anything has changed."""
        conn, run_id = self._conn, self._run.bill_run_id
        marks = await repository.lock_marks(conn, self._own)  # first: what another run does with them comes before this
        rows = await charge_rows.rows_of(conn, run_id, self._part.accounts)
        built_upon = await charge_rows.built_upon(conn, rows)
        free = [row for row in rows if self._may_change(row.account_id, row.currency)]
        loose = [row for row in free if row.charge_id not in built_upon]
        for _ in range(_READINGS):
            subscriptions = await self._subscriptions(loose)
            rated = await assessment.assess(conn, subscriptions, run_id, self._run.as_of, self._settings)
            self._refuse_others(rated)
            if await charge_rows.same(conn, loose, rated):
                return
            found = await self._counted(subscriptions, rated, rows, loose)
            if found.tally.all_read:
                break
        await charge_rows.withdraw(conn, loose)
        await charge_rows.add_charges(conn, self._batch, rated, now)
        as_of = self._run.as_of
        await repository.mark_rated(conn, [_mark(s, as_of, marks.get(s.subscription_id)) for s in subscriptions])
        later = await recurring.billed_since(conn, run_id, [r.subscription_id for r in found.closing])
        await recurring.put(conn, run_id, [r for r in found.closing if r.subscription_id not in later])
        every = [self._merged(found) if part is self._part else part for part in known]
        charges = frozen.charges - len(loose) + len(rated)
        totals = parts.sum_of(every).to_json()
        await runs.set_rated_again(conn, run_id, self._batch, charges, totals, parts.packed(every))
        await outbox.append(
            conn,
            ChargesRated(
                event_id=new_id(now), at=now, actor=_ACTOR, bill_run_id=run_id, batch=self._batch, charges=charges
            ),
        )

    async def _subscriptions(self, without: Sequence[Row[Any]]) -> list[Subscription]:
        """As the run found them, but for what is known since, and as if these charges had not been made."""
        as_found = AsFound(self._marks, {row.charge_id for row in without})
        return await repository.lock_subscriptions(self._conn, self._own, self._settings.zone, as_found)

    def _may_change(self, account_id: AccountId, currency: str) -> bool:
        return account_id in self._second.accounts and (account_id, currency) not in self._second.done

    def _refuse_others(self, rated: Sequence[RatedCharge]) -> None:
        """Raises NotAlone."""
        made = {(r.charge.account_id, r.charge.net.currency) for r in rated}
        others = sorted({key[0] for key in made if not self._may_change(*key)})
        if others:
            raise NotAlone(
                f"part of what has changed belongs on a document of account {', '.join(others)}, which has left, or is"
                " not in this run"
            )

    async def _counted(
        self,
        subscriptions: Sequence[Subscription],
        rated: Sequence[RatedCharge],
        rows: Sequence[Row[Any]],
        loose: Sequence[Row[Any]],
    ) -> Counted:
        withdrawn = {row.charge_id for row in loose}
        kept = [row for row in rows if row.charge_id not in withdrawn]
        lines = list(rated)
        if kept:
            subscriptions = await self._subscriptions(rows)
            for row in kept:
                line = await evidence.rated_charge(self._conn, row.charge_id)
                assert line is not None
                lines.append(line)
        opening = {i: b.opening for i, b in self._part.before.items() if b.opening is not None}
        return await count(self._conn, subscriptions, lines, opening, self._run.as_of, self._settings)

    def _merged(self, found: Counted) -> Part:
        """One part, whoever has come to pay for whom since; what the run had found of it stays."""
        before = {i: b for part in found.parts for i, b in part.before.items()}
        return Part(self._part.accounts, before | self._part.before, found.tally)


def _mark(
    subscription: Subscription, as_of: datetime, stands: tuple[date, date | None] | None
) -> tuple[Any, date, date]:
    """Where the next run begins: never before what a later run has rated already. None is one that is new."""
    subscription_id, rate_from_on, billed_until_on = assessment.after(subscription, as_of)
    since, until = stands or (subscription.rate_from_on, None)
    return subscription_id, max(rate_from_on, since), max(billed_until_on, until or date.min)

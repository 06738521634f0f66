"""The work of a bill run on one batch of accounts: rate and draft it, have it checked, issue what does not wait.

Each may be called again after a crash, and by several processes at once: a batch is locked while it is rated, numbers
are taken under the lock of the books, and what is there already is left as it is. Who was let go is rated again first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from billing_bridge.billing.again_book import AgainBook
from billing_bridge.billing.again_rows import CHANGED, HELD_AGAIN, UNCHANGED
from billing_bridge.billing.holds import CHECK, PREVIEW, WHOLE_RUN
from billing_bridge.billing.model import BillRun, DraftTotal, Key
from billing_bridge.billing.run_book import AsRead, RunBook
from billing_bridge.billing.second_rating import NotAlone
from billing_bridge.billing.service import BillingService
from controller.domain.identity import AccountId, ChargeId
from controller.domain.money import Money
from controller.domain.ports import ChargeChecker, RatedBatch, Waiting
from erp.finance.issue import Differing, Drafted
from erp.finance.service import FinanceService


class Batches:
    def __init__(
        self,
        billing: BillingService,
        book: RunBook,
        again: AgainBook,
        finance: FinanceService,
        checker: ChargeChecker,
    ) -> None:
        self._billing = billing
        self._book = book
        self._again = again
        self._finance = finance
        self._checker = checker

    async def prepare(self, run: BillRun, batch: int) -> None:
        """Rate, draft and check: everything but the documents."""
        if run.dry:
            charges, tally = await self._billing.rate_dry(run.bill_run_id, batch)
        else:
            charges, tally = await self._billing.rate(run.bill_run_id, batch), None
        drafted = await self._finance.drafts(charges) if charges else []
        accounts = await self._billing.accounts_of(run.bill_run_id, batch)
        everybody = tuple(dict.fromkeys([*accounts, *(c.account_id for c in charges)]))
        rated = RatedBatch(run.bill_run_id, batch, run.as_of, everybody, charges, run.dry)
        waiting = [(CHECK, found) for found in await self._checker.check(rated)]
        if run.preview_id and run.hold_changed:
            waiting += [(PREVIEW, found) for found in await self._changed(run, batch, [_total(d) for d in drafted])]
        waits = {found.account_id for _, found in waiting}
        drafts = [_total(d, keep=run.dry or d.account_id in waits) for d in drafted]
        await self._book.set_checked(run.bill_run_id, batch, drafts, waiting, tally)

    async def again(self, run: BillRun, account_id: AccountId, among: Collection[AccountId] = ()) -> None:
        """Rate, draft and check an account that was let go: what is issued is what is true by now.

        And with it those of `among` that were let go and share its bill.
        """
        run_id = run.bill_run_id
        try:
            second = await self._billing.second.rate(run, account_id, self._finance.documented, among)
        except NotAlone as error:
            await self._again.block(run_id, account_id, str(error))
            return
        if second is None:
            return
        # Who of its part is let go in this moment has its own turn, in which it is checked; its drafts are those of its
        # new charges by then, in case that it is held before that comes.
        others = await self._again.let_go(run_id, [i for i in second.accounts if i not in second.turn])
        charges = await self._billing.charges_of_accounts(run_id, second.accounts)
        left = [c for c in charges if (c.account_id, c.net.currency) not in second.done]
        drafted = await self._finance.drafts(left) if left else []
        begun = await self._again.begun(run_id, second.turn)
        stored = await self._book.drafts_of(run_id, [i for i in second.accounts if i not in second.turn])
        before = [d for one in begun.values() for d in one.before]
        shown = {_said_by(d) for d in (*before, *(d for d in stored if d.key not in second.done))}
        differ = shown ^ {_said_by(d) for d in drafted}
        changed = frozenset(account for account, *_ in differ if account not in others)
        waiting: list[tuple[str, Waiting]] = []
        if changed:  # those that were let go, or who shares their bill
            accounts = tuple(i for i in second.accounts if i not in others)
            charges = [c for c in charges if c.account_id not in others]
            batch = RatedBatch(run_id, second.batch, run.as_of, accounts, charges, again=changed)
            waiting = [(CHECK, found) for found in await self._checker.check(batch)]
        held = {found.account_id for _, found in waiting}
        outcomes = {i: HELD_AGAIN if i in held else CHANGED if i in changed else UNCHANGED for i in second.turn}
        drafts = [_total(d, keep=d.account_id in outcomes or d.account_id in others) for d in drafted]
        await self._again.set_rated_again(run_id, second, drafts, waiting, outcomes, others)

    async def keep(self, run: BillRun, account_id: AccountId) -> None:
        """What is let go is kept in full; who was held by a person after the rating has no more than its digest yet."""
        if all(d.content for d in await self._book.drafts_of(run.bill_run_id, [account_id])):
            return
        charges = await self._billing.charges_of_accounts(run.bill_run_id, [account_id])
        drafted = await self._finance.drafts(charges) if charges else []
        await self._again.keep_contents(run.bill_run_id, [_total(d, keep=True) for d in drafted])

    async def issue(self, run: BillRun, batch: int) -> bool:
        """The documents of a batch; False when the whole run waits, and nothing was done."""
        bill_run_id = run.bill_run_id
        waiting = await self._book.waiting_in(bill_run_id, batch)
        if WHOLE_RUN in waiting:
            return False
        drafts = {(d.account_id, d.net.currency): d for d in await self._book.drafts(bill_run_id, batch)}
        charges = [c for c in await self._billing.charges(bill_run_id, batch) if c.account_id not in waiting]
        made_of: dict[Key, set[ChargeId]] = {}
        for c in charges:
            made_of.setdefault((c.account_id, c.net.currency), set()).add(c.charge_id)
        read = AsRead({key: d.sha256 for key, d in drafts.items()}, made_of)
        proved = {key: (d.net, d.tax) for key, d in drafts.items()}
        _, differing = await self._finance.issue_proved(
            bill_run_id, charges, proved, still=lambda conn: self._book.still(conn, bill_run_id, batch, read)
        )
        accounts = sorted({account_id for account_id, _ in drafts})
        issued = await self._finance.documents_of(bill_run_id, accounts)
        await self._book.set_invoiced(
            bill_run_id,
            batch,
            {(i.account_id, i.net.currency): i.draft_sha256 for i in issued},
            {(d.account_id, d.currency): _differs(d, proved.get((d.account_id, d.currency))) for d in differing},
            read,
        )
        return True

    async def _changed(self, run: BillRun, batch: int, drafts: Sequence[DraftTotal]) -> list[Waiting]:
        """Accounts whose documents are not those of the preview."""
        assert run.preview_id is not None
        accounts = await self._billing.accounts_of(run.bill_run_id, batch)
        shown = {(d.account_id, d.net.currency): d for d in await self._book.drafts_of(run.preview_id, accounts)}
        now = {(d.account_id, d.net.currency): d for d in drafts}
        return [
            Waiting(key[0], f"The preview {_said(shown.get(key))}, now it {_said(now.get(key))}.")
            for key in sorted({*shown, *now})
            if key not in shown or key not in now or shown[key].sha256 != now[key].sha256
        ]


def _total(found: Drafted, *, keep: bool = False) -> DraftTotal:
    content = found.content if keep else None
    return DraftTotal(found.account_id, found.charges, found.agreed, found.net, found.tax, found.sha256, content)


def _said_by(draft: Drafted | DraftTotal) -> tuple[AccountId, str, bytes]:
    return draft.account_id, draft.net.currency, draft.sha256


def _said(draft: DraftTotal | None) -> str:
    return "had no document" if draft is None else f"came to {draft.total}, of which tax {draft.tax}"


def _differs(found: Differing, proved: tuple[Money, Money] | None) -> str:
    was = f"{proved[0]} + tax {proved[1]} were" if proved else "nothing was"
    return (
        f"It would come to {found.net} + tax {found.tax}, but {was} proved before the first number was taken:"
        " something about the account has changed since."
    )

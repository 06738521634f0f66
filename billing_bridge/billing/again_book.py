"""What becomes of accounts that were let go and rated again: other drafts, perhaps another hold, and a trace of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing import again_rows, drafts, holds, runs
from billing_bridge.billing.again_rows import BLOCKED, RatedAgain
from billing_bridge.billing.holds import PROOF, Hold
from billing_bridge.billing.model import DraftTotal
from billing_bridge.billing.second_rating import Second
from controller.domain.clock import Clock
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import Waiting
from controller.store import audit
from controller.store.engine import Database

_ACTOR = "system:billing_bridge"


class AgainBook:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def let_go(self, bill_run_id: BillRunId, among: Iterable[AccountId] | None = None) -> dict[AccountId, Hold]:
        """Accounts, of all or `among` these, that wait to be rated again, each with the hold that was released last."""
        async with self._database.read() as conn:
            return await holds.to_rate(conn, bill_run_id, among)

    async def set_rated_again(
        self,
        bill_run_id: BillRunId,
        second: Second,
        found: Sequence[DraftTotal],
        waiting: Sequence[tuple[str, Waiting]],
        outcomes: Mapping[AccountId, str],
        others: Mapping[AccountId, Hold],
    ) -> None:
        """What the documents of accounts that were let go come to by now, and who waits again.

        `outcomes` are of those whose turn it was. `others` share their bill, were let go too and have their own turn:
        what they were let go with is written down.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            await runs.lock_batch(conn, bill_run_id, second.batch)
            begun = await again_rows.begun(conn, bill_run_id, second.turn)
            if begun.keys() != outcomes.keys():
                return  # another process was faster; who is left has its own turn
            stored = await drafts.of_accounts(conn, bill_run_id, list(others))
            for other, let_go in others.items():
                before = [d for d in stored if d.account_id == other and d.key not in second.done]
                await again_rows.begin(conn, let_go, before, now)
            await drafts.put_again(conn, bill_run_id, second.batch, second.accounts, second.done, found)
            ends = await holds.to_rate(conn, bill_run_id, second.turn)  # and not who was held meanwhile
            await holds.rated(conn, bill_run_id, ends)
            for source, found_now in waiting:
                made = Hold(bill_run_id, found_now.account_id, source, found_now.reason, now, _ACTOR)
                await holds.put(conn, made)
            await runs.issue_again(conn, bill_run_id, [second.batch])
            # Who was held has other charges, and so other drafts; whoever lets it go has it rated once more.
            for account_id in ends:
                own = [d for d in found if d.account_id == account_id]
                await again_rows.end(conn, bill_run_id, account_id, own, outcomes[account_id])
                await self._audit(conn, bill_run_id, begun[account_id], own, outcomes[account_id])

    async def rated_again(
        self, bill_run_id: BillRunId, after: tuple[str, int] | None, limit: int, account_id: str | None = None
    ) -> list[RatedAgain]:
        """Accounts that were rated again after they had waited, in order of account and number."""
        async with self._database.read() as conn:
            return await again_rows.page(conn, bill_run_id, after, limit, account_id)

    async def keep_contents(self, bill_run_id: BillRunId, found: Sequence[DraftTotal]) -> None:
        """What drafts say of an account that somebody held by hand, to be compared with what becomes of them."""
        async with self._database.begin() as conn:
            await drafts.keep_contents(conn, bill_run_id, found)

    async def begun(self, bill_run_id: BillRunId, accounts: Sequence[AccountId]) -> dict[AccountId, RatedAgain]:
        """What was let go, of accounts that are being rated again."""
        async with self._database.read() as conn:
            return await again_rows.begun(conn, bill_run_id, accounts)

    async def block(self, bill_run_id: BillRunId, account_id: AccountId, why: str) -> None:
        """An account that was let go cannot be rated alone: it waits again, and says what can be done."""
        now = self._clock.now()
        reason = (
            f"It was let go, but cannot be rated again: {why}. Let it go once more to have it issued as it was proved;"
            " the next bill run charges the difference."
        )
        async with self._database.begin() as conn:
            let_go = (await holds.to_rate(conn, bill_run_id, [account_id])).get(account_id)
            if let_go is None:
                return
            before = [d for d in await drafts.of_accounts(conn, bill_run_id, [account_id]) if not d.issued]
            await again_rows.begin(conn, let_go, before, now)
            begun = (await again_rows.begun(conn, bill_run_id, [account_id]))[account_id]
            await holds.rated(conn, bill_run_id, [account_id])
            await holds.put(conn, Hold(bill_run_id, account_id, PROOF, reason, now, _ACTOR))
            await again_rows.end(conn, bill_run_id, account_id, before, BLOCKED)
            await self._audit(conn, bill_run_id, begun, before, BLOCKED)

    async def _audit(
        self,
        conn: AsyncConnection,
        bill_run_id: BillRunId,
        begun: RatedAgain,
        after: Sequence[DraftTotal],
        outcome: str,
    ) -> None:
        account_id = begun.account_id
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=begun.released_by,
            action="bill-run.rate-again",
            subject=f"bill-run:{bill_run_id}",
            before={"account_id": account_id, "totals": [str(d.total) for d in begun.before]},
            after={"account_id": account_id, "totals": [str(d.total) for d in after], "outcome": outcome},
            reason=begun.release_reason,
        )

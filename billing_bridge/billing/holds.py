"""Rows of holds: which accounts of a bill run wait for a decision, why, and who let them go.

A hold has a source, and each source releases its own: a person cannot wave through what a check found by releasing
the hold of another person. An account waits while any of its holds, or one of the whole run, stands, and then until it
was rated again: what was wrong may have been mended meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.tables import bill_hold
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import Waiting
from controller.store.many import insert_all, one_of

CHECK, PERSON, PREVIEW, PROOF = "check", "person", "preview", "proof"
"""Found by the checks; decided by somebody; not what the preview said; not what was proved before the first number."""
WHOLE_RUN = AccountId("")
STANDS = or_(bill_hold.c.released_at.is_(None), bill_hold.c.to_rate)


@dataclass(frozen=True, slots=True)
class Hold:
    """`account_id` WHOLE_RUN holds every account of the run."""

    bill_run_id: BillRunId
    account_id: AccountId
    source: str
    reason: str
    held_at: datetime
    held_by: str
    released_at: datetime | None = None
    released_by: str | None = None
    release_reason: str | None = None
    to_rate: bool = False
    """Released, and the account was not rated again since."""

    @property
    def stands(self) -> bool:
        """Whether the account waits for it."""
        return self.released_at is None or self.to_rate


async def of_run(conn: AsyncConnection, bill_run_id: BillRunId) -> list[Hold]:
    """All that were ever made in the run, oldest first."""
    query = select(bill_hold).where(bill_hold.c.bill_run_id == bill_run_id)
    rows = await conn.execute(query.order_by(bill_hold.c.held_at, bill_hold.c.account_id, bill_hold.c.source))
    return [_hold(row) for row in rows]


async def standing(conn: AsyncConnection, bill_run_id: BillRunId) -> set[AccountId]:
    """Accounts that wait; WHOLE_RUN among them when all do."""
    query = select(bill_hold.c.account_id).where(bill_hold.c.bill_run_id == bill_run_id, STANDS)
    return {AccountId(i) for i in await conn.scalars(query)}


async def standing_of(conn: AsyncConnection, bill_run_id: BillRunId, accounts: Iterable[AccountId]) -> set[AccountId]:
    """Those of some accounts that wait, however many others do; WHOLE_RUN among them when all do."""
    query = select(bill_hold.c.account_id).where(
        bill_hold.c.bill_run_id == bill_run_id,
        one_of(conn, bill_hold.c.account_id, sorted({*accounts, WHOLE_RUN})),
        STANDS,
    )
    return {AccountId(i) for i in await conn.scalars(query)}


async def is_held(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId) -> bool:
    """Whether somebody still has to let the account, or the whole run, go."""
    query = select(bill_hold.c.source).where(
        bill_hold.c.bill_run_id == bill_run_id,
        bill_hold.c.account_id.in_((account_id, WHOLE_RUN)),
        bill_hold.c.released_at.is_(None),
    )
    return await conn.scalar(query.limit(1)) is not None


async def to_rate(
    conn: AsyncConnection, bill_run_id: BillRunId, accounts: Iterable[AccountId] | None = None
) -> dict[AccountId, Hold]:
    """Accounts that nobody holds any more and that wait to be rated again, each with the hold that was released last.

    In order of account; with `accounts` those of them alone.
    """
    still = bill_hold.alias()
    held = select(still.c.source).where(
        still.c.bill_run_id == bill_run_id,
        still.c.account_id.in_((bill_hold.c.account_id, WHOLE_RUN)),
        still.c.released_at.is_(None),
    )
    query = select(bill_hold).where(bill_hold.c.bill_run_id == bill_run_id, bill_hold.c.to_rate, ~held.exists())
    if accounts is not None:
        query = query.where(one_of(conn, bill_hold.c.account_id, sorted(accounts)))
    rows = await conn.execute(query.order_by(bill_hold.c.account_id, bill_hold.c.released_at))
    return {AccountId(row.account_id): _hold(row) for row in rows}


async def rated(conn: AsyncConnection, bill_run_id: BillRunId, accounts: Iterable[AccountId]) -> None:
    """These accounts were rated again: they do not wait for that any more."""
    own = (bill_hold.c.bill_run_id == bill_run_id, one_of(conn, bill_hold.c.account_id, sorted(accounts)))
    await conn.execute(update(bill_hold).where(*own, bill_hold.c.to_rate).values(to_rate=False))


async def add_found(
    conn: AsyncConnection, bill_run_id: BillRunId, found: Sequence[Waiting], *, source: str, now: datetime, actor: str
) -> None:
    """What was found by itself; a hold that is there already, released or not, stays as it is."""
    query = select(bill_hold.c.account_id).where(
        bill_hold.c.bill_run_id == bill_run_id,
        bill_hold.c.source == source,
        bill_hold.c.account_id.in_([waiting.account_id for waiting in found]),
    )
    known = set(await conn.scalars(query))
    reasons: dict[AccountId, str] = {}
    for waiting in found:
        before = reasons.get(waiting.account_id)
        reasons[waiting.account_id] = f"{before} {waiting.reason}" if before else waiting.reason
    rows = [
        {
            "bill_run_id": bill_run_id,
            "account_id": account_id,
            "source": source,
            "reason": reason,
            "held_at": now,
            "held_by": actor,
            "to_rate": False,
        }
        for account_id, reason in reasons.items()
        if account_id not in known
    ]
    if rows:
        await conn.execute(insert(bill_hold), rows)


async def put(conn: AsyncConnection, hold: Hold) -> None:
    """A hold by decision; one that was released stands again, with the new reason."""
    values: dict[str, Any] = {
        "reason": hold.reason,
        "held_at": hold.held_at,
        "held_by": hold.held_by,
        "released_at": None,
        "released_by": None,
        "release_reason": None,
        "to_rate": False,
    }
    key = _key(hold.bill_run_id, hold.account_id, hold.source)
    changed = await conn.execute(update(bill_hold).where(*key).values(**values))
    if not changed.rowcount:
        keys = {"bill_run_id": hold.bill_run_id, "account_id": hold.account_id, "source": hold.source}
        await conn.execute(insert(bill_hold).values(**keys, **values))


async def let_go_to_rate(conn: AsyncConnection, whole: Hold, accounts: Sequence[AccountId]) -> None:
    """Accounts of a run that was let go as a whole wait until they were rated again; `whole` says who let it go."""
    query = select(bill_hold.c.account_id).where(
        bill_hold.c.bill_run_id == whole.bill_run_id, bill_hold.c.source == PROOF
    )
    known = set(await conn.scalars(query))
    rows = [
        {
            "bill_run_id": whole.bill_run_id,
            "account_id": account_id,
            "source": PROOF,
            "reason": "What it is charged for has changed while the run waited.",
            "held_at": whole.held_at,
            "held_by": whole.held_by,
            "released_at": whole.released_at,
            "released_by": whole.released_by,
            "release_reason": whole.release_reason,
            "to_rate": True,
        }
        for account_id in accounts
        if account_id not in known
    ]
    await insert_all(conn, bill_hold, rows)


async def release(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    account_id: AccountId,
    source: str,
    *,
    now: datetime,
    actor: str,
    reason: str,
    rate_again: bool,
) -> bool:
    """Whether a standing hold was released; with `rate_again` the account waits until it was rated again."""
    changed = await conn.execute(
        update(bill_hold)
        .where(*_key(bill_run_id, account_id, source), bill_hold.c.released_at.is_(None))
        .values(released_at=now, released_by=actor, release_reason=reason, to_rate=rate_again)
    )
    return bool(changed.rowcount)


def _key(bill_run_id: BillRunId, account_id: AccountId, source: str) -> tuple[Any, ...]:
    return (
        bill_hold.c.bill_run_id == bill_run_id,
        bill_hold.c.account_id == account_id,
        bill_hold.c.source == source,
    )


def _hold(row: Row[Any]) -> Hold:
    return Hold(
        BillRunId(row.bill_run_id),
        AccountId(row.account_id),
        row.source,
        row.reason,
        row.held_at,
        row.held_by,
        row.released_at,
        row.released_by,
        row.release_reason,
        row.to_rate,
    )

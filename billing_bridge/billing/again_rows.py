"""Rows of accounts that were rated again after they had waited: who let them go, what they came to before and after.

What a bill came to when it was held is written down in the transaction that puts other charges in the place of its own,
so that a crash before the new drafts are there loses nothing, and what is done once more adds nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.holds import Hold
from billing_bridge.billing.model import DraftTotal
from billing_bridge.tables import bill_rated_again
from controller.domain.identity import AccountId, BillRunId
from controller.domain.money import Money
from controller.store.many import one_of
from controller.store.turns import in_turns

UNCHANGED, CHANGED, HELD_AGAIN, BLOCKED = "unchanged", "changed", "held", "blocked"
"""It is as it was; it is another and leaves; it is another and waits; it cannot be rated alone, and waits."""


@dataclass(frozen=True, slots=True)
class RatedAgain:
    """`before` is the bill that was let go, `after` what it came to by then; `outcome` None is not done yet."""

    account_id: AccountId
    number: int
    rated_at: datetime
    released_by: str
    release_reason: str
    before: Sequence[DraftTotal]
    after: Sequence[DraftTotal]
    outcome: str | None


async def begin(conn: AsyncConnection, let_go: Hold, before: Sequence[DraftTotal], now: datetime) -> None:
    """Write down what is let go, and by whom; where only the end is missing, by whom it was let go last."""
    t = bill_rated_again.c
    own = (t.bill_run_id == let_go.bill_run_id, t.account_id == let_go.account_id)
    if await is_open(conn, let_go.bill_run_id, let_go.account_id):
        by = {"released_by": let_go.released_by, "release_reason": let_go.release_reason}
        await conn.execute(update(bill_rated_again).where(*own, t.outcome.is_(None)).values(by))
        return
    number = await conn.scalar(select(func.max(t.number)).where(*own)) or 0
    await conn.execute(
        insert(bill_rated_again).values(
            bill_run_id=let_go.bill_run_id,
            account_id=let_go.account_id,
            number=number + 1,
            rated_at=now,
            released_by=let_go.released_by,
            release_reason=let_go.release_reason,
            before=_packed(before),
        )
    )


async def begun(
    conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[AccountId]
) -> dict[AccountId, RatedAgain]:
    """Of some accounts the ones whose end is missing."""
    t = bill_rated_again.c
    query = select(bill_rated_again).where(
        t.bill_run_id == bill_run_id, one_of(conn, t.account_id, sorted(accounts)), t.outcome.is_(None)
    )
    return {AccountId(row.account_id): _read(row) async for row in in_turns((await conn.execute(query)).all())}


async def any_of(conn: AsyncConnection, bill_run_id: BillRunId) -> bool:
    """Whether any account of a run was rated again, or is being."""
    query = select(bill_rated_again.c.number).where(bill_rated_again.c.bill_run_id == bill_run_id)
    return await conn.scalar(query.limit(1)) is not None


async def is_open(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId) -> bool:
    """Whether there is one whose end is missing."""
    t = bill_rated_again.c
    own = (t.bill_run_id == bill_run_id, t.account_id == account_id, t.outcome.is_(None))
    return await conn.scalar(select(t.number).where(*own)) is not None


async def last_outcome(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId) -> str | None:
    """Of the last time that is done."""
    t = bill_rated_again.c
    query = select(t.outcome).where(t.bill_run_id == bill_run_id, t.account_id == account_id, t.outcome.is_not(None))
    found: str | None = await conn.scalar(query.order_by(t.number.desc()).limit(1))
    return found


async def end(
    conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId, after: Sequence[DraftTotal], outcome: str
) -> None:
    t = bill_rated_again.c
    await conn.execute(
        update(bill_rated_again)
        .where(t.bill_run_id == bill_run_id, t.account_id == account_id, t.outcome.is_(None))
        .values(after=_packed(after), outcome=outcome)
    )


async def page(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    after: tuple[str, int] | None,
    limit: int,
    account_id: str | None = None,
) -> list[RatedAgain]:
    """In order of account and number; with `account_id` those of one alone. What they say takes a while to unpack."""
    t = bill_rated_again.c
    query = select(bill_rated_again).where(t.bill_run_id == bill_run_id, t.outcome.is_not(None))
    if account_id is not None:
        query = query.where(t.account_id == account_id)
    if after is not None:
        query = query.where(tuple_(t.account_id, t.number) > tuple_(literal(after[0]), literal(after[1])))
    rows = (await conn.execute(query.order_by(t.account_id, t.number).limit(limit))).all()
    return [_read(row) async for row in in_turns(rows)]


def _packed(drafts: Sequence[DraftTotal]) -> bytes:
    told = [
        [d.account_id, d.net.currency, d.charges, d.agreed.minor, d.net.minor, d.tax.minor, d.sha256.hex(), d.content]
        for d in drafts
    ]
    return zlib.compress(json.dumps(told).encode())


def _unpacked(kept: bytes | None) -> list[DraftTotal]:
    if kept is None:
        return []
    return [
        DraftTotal(
            AccountId(account_id),
            charges,
            Money(agreed, currency),
            Money(net, currency),
            Money(tax, currency),
            bytes.fromhex(sha256),
            content,
        )
        for account_id, currency, charges, agreed, net, tax, sha256, content in json.loads(zlib.decompress(kept))
    ]


def _read(row: Row[Any]) -> RatedAgain:
    return RatedAgain(
        AccountId(row.account_id),
        row.number,
        row.rated_at,
        row.released_by,
        row.release_reason,
        _unpacked(row.before),
        _unpacked(row.after),
        row.outcome,
    )

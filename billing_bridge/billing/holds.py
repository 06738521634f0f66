"""Rows of holds: which accounts of a bill run wait for a decision, why, and who let them go.

A hold has a source, and each source releases its own: a person cannot wave through what a check found by releasing
the hold of another person. An account waits while any of its holds, or one of the whole run, stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.model import DONE
from billing_bridge.tables import bill_draft, bill_hold, bill_run
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import Waiting

CHECK, PERSON, PREVIEW, PROOF = "check", "person", "preview", "proof"
"""Found by the checks; decided by somebody; not what the preview said; not what was proved before the first number."""
WHOLE_RUN = AccountId("")


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

    @property
    def stands(self) -> bool:
        return self.released_at is None


async def of_run(conn: AsyncConnection, bill_run_id: BillRunId) -> list[Hold]:
    """All that were ever made in the run, oldest first."""
    query = select(bill_hold).where(bill_hold.c.bill_run_id == bill_run_id)
    rows = await conn.execute(query.order_by(bill_hold.c.held_at, bill_hold.c.account_id, bill_hold.c.source))
    return [_hold(row) for row in rows]


async def standing(conn: AsyncConnection, bill_run_id: BillRunId) -> set[AccountId]:
    """Accounts that wait; WHOLE_RUN among them when all do."""
    query = select(bill_hold.c.account_id).where(
        bill_hold.c.bill_run_id == bill_run_id, bill_hold.c.released_at.is_(None)
    )
    return {AccountId(i) for i in await conn.scalars(query)}


async def find(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId, source: str) -> Hold | None:
    row = (await conn.execute(select(bill_hold).where(*_key(bill_run_id, account_id, source)))).one_or_none()
    return _hold(row) if row else None


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
    }
    key = _key(hold.bill_run_id, hold.account_id, hold.source)
    changed = await conn.execute(update(bill_hold).where(*key).values(**values))
    if not changed.rowcount:
        keys = {"bill_run_id": hold.bill_run_id, "account_id": hold.account_id, "source": hold.source}
        await conn.execute(insert(bill_hold).values(**keys, **values))


async def release(
    conn: AsyncConnection,
    bill_run_id: BillRunId,
    account_id: AccountId,
    source: str,
    *,
    now: datetime,
    actor: str,
    reason: str,
) -> bool:
    """Whether a standing hold was released."""
    changed = await conn.execute(
        update(bill_hold)
        .where(*_key(bill_run_id, account_id, source), bill_hold.c.released_at.is_(None))
        .values(released_at=now, released_by=actor, release_reason=reason)
    )
    return bool(changed.rowcount)


async def forgotten(conn: AsyncConnection) -> list[tuple[BillRunId, AccountId]]:
    """Accounts without a standing hold that had one, of runs that are done, and still have no document."""
    still = bill_hold.alias()
    stands = select(still.c.source).where(
        still.c.bill_run_id == bill_hold.c.bill_run_id,
        still.c.account_id.in_((bill_hold.c.account_id, WHOLE_RUN)),
        still.c.released_at.is_(None),
    )
    query = (
        select(bill_hold.c.bill_run_id, bill_hold.c.account_id)
        .join(
            bill_draft,
            (bill_draft.c.bill_run_id == bill_hold.c.bill_run_id) & (bill_draft.c.account_id == bill_hold.c.account_id),
        )
        .join(bill_run, bill_run.c.bill_run_id == bill_hold.c.bill_run_id)
        .where(bill_hold.c.released_at.is_not(None), bill_draft.c.issued.is_(False), ~stands.exists())
        .where(bill_run.c.state == DONE, bill_run.c.dry.is_(False))
        .distinct()
    )
    return [(BillRunId(row.bill_run_id), AccountId(row.account_id)) for row in await conn.execute(query)]


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
    )

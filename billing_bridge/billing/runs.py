"""Rows of bill runs: what a run is about, the accounts frozen into its batches, and how far it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Row, ScalarSelect, Select, case, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.model import CHECKED, DONE, FAILED, HELD, INVOICED, OPEN, QUEUED, RATED, RUNNING, BillRun
from billing_bridge.tables import bill_batch, bill_run
from controller.domain.identity import AccountId, BillRunId


@dataclass(frozen=True, slots=True)
class Batch:
    account_ids: tuple[AccountId, ...]
    state: str
    charges: int
    documents: int
    parts: bytes | None


async def add(conn: AsyncConnection, run: BillRun) -> None:
    await conn.execute(
        insert(bill_run).values(
            bill_run_id=run.bill_run_id,
            as_of=run.as_of,
            account_id=run.account_id,
            state=run.state,
            usage_watermark=run.usage_watermark,
            event_watermark=run.event_watermark,
            accounts=run.accounts,
            batches=run.batches,
            dry=run.dry,
            contents=run.dry,
            preview_id=run.preview_id,
            hold_changed=run.hold_changed,
            phase=run.phase,
            actor=run.actor,
            created_at=run.created_at,
        )
    )


async def get(conn: AsyncConnection, bill_run_id: BillRunId) -> BillRun | None:
    row = (await conn.execute(_with_progress().where(bill_run.c.bill_run_id == bill_run_id))).one_or_none()
    return _run(row) if row else None


async def as_of(conn: AsyncConnection, bill_run_id: BillRunId) -> datetime:
    """The instant that a run is of."""
    found: datetime = (
        await conn.execute(select(bill_run.c.as_of).where(bill_run.c.bill_run_id == bill_run_id))
    ).scalar_one()
    return found


async def phase(conn: AsyncConnection, bill_run_id: BillRunId) -> str:
    """What a run does at this moment."""
    query = select(bill_run.c.phase).where(bill_run.c.bill_run_id == bill_run_id)
    return str((await conn.execute(query)).scalar_one())


async def lock(conn: AsyncConnection, bill_run_id: BillRunId) -> BillRun | None:
    """The run, whose state nobody else changes until the transaction ends."""
    await conn.execute(select(bill_run.c.bill_run_id).where(bill_run.c.bill_run_id == bill_run_id).with_for_update())
    return await get(conn, bill_run_id)


async def page(conn: AsyncConnection, after: tuple[int, str] | None, limit: int) -> list[BillRun]:
    """Newest first; `after` is (created_at in microseconds, id) of the last one seen."""
    query = _with_progress().order_by(bill_run.c.created_at.desc(), bill_run.c.bill_run_id.desc()).limit(limit)
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(bill_run.c.created_at, bill_run.c.bill_run_id) < last)
    return [_run(row) for row in await conn.execute(query)]


async def unfinished(conn: AsyncConnection) -> list[BillRunId]:
    query = select(bill_run.c.bill_run_id).where(bill_run.c.state.in_((QUEUED, RUNNING)))
    return [BillRunId(i) for i in await conn.scalars(query.order_by(bill_run.c.created_at))]


async def freeze(conn: AsyncConnection, bill_run_id: BillRunId, batches: Sequence[Sequence[AccountId]]) -> int:
    """Fix the accounts of each batch, once; returns how many batches the run has."""
    row = (await conn.execute(select(bill_run).where(bill_run.c.bill_run_id == bill_run_id).with_for_update())).one()
    if row.state != QUEUED:
        return int(row.batches)
    rows = [
        {
            "bill_run_id": bill_run_id,
            "batch": n,
            "account_ids": ",".join(accounts),
            "state": OPEN,
            "charges": 0,
            "documents": 0,
        }
        for n, accounts in enumerate(batches)
    ]
    if rows:
        await conn.execute(insert(bill_batch), rows)
    await _update(conn, bill_run_id, state=RUNNING, batches=len(rows), accounts=sum(len(b) for b in batches))
    return len(rows)


async def lock_batch(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> Batch:
    query = select(bill_batch).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.batch == batch)
    row = (await conn.execute(query.with_for_update())).one()
    accounts = tuple(AccountId(i) for i in row.account_ids.split(","))
    return Batch(accounts, row.state, row.charges, row.documents, row.parts)


async def accounts_of(conn: AsyncConnection, bill_run_id: BillRunId, batch: int) -> list[AccountId]:
    """The accounts that were frozen into a batch."""
    query = select(bill_batch.c.account_ids).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.batch == batch)
    return [AccountId(i) for i in (await conn.execute(query)).scalar_one().split(",")]


async def next_batch(
    conn: AsyncConnection, bill_run_id: BillRunId, states: Sequence[str], since: int, until: int
) -> int | None:
    """The first batch in one of these states with a number in [since, until)."""
    query = select(bill_batch.c.batch).where(
        bill_batch.c.bill_run_id == bill_run_id,
        bill_batch.c.state.in_(states),
        bill_batch.c.batch >= since,
        bill_batch.c.batch < until,
    )
    found: int | None = await conn.scalar(query.order_by(bill_batch.c.batch).limit(1))
    return found


async def set_rated(
    conn: AsyncConnection, bill_run_id: BillRunId, batch: int, charges: int, totals: str, parts: bytes
) -> None:
    await _update_batch(conn, bill_run_id, batch, state=RATED, charges=charges, totals=totals, parts=parts)


async def set_rated_again(
    conn: AsyncConnection, bill_run_id: BillRunId, batch: int, charges: int, totals: str, parts: bytes
) -> None:
    """The same of a batch of which one part was rated again."""
    own = (bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.batch == batch)
    await conn.execute(update(bill_batch).where(*own).values(charges=charges, totals=totals, parts=parts))


async def batch_of(conn: AsyncConnection, bill_run_id: BillRunId, account_id: AccountId) -> int | None:
    """The batch into which an account was frozen; None for one that only pays for others, or is not in the run."""
    query = select(bill_batch.c.batch).where(
        bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.account_ids.contains(account_id, autoescape=True)
    )
    found: int | None = await conn.scalar(query.limit(1))
    return found


async def set_checked(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, **values: Any) -> None:
    await _update_batch(conn, bill_run_id, batch, state=CHECKED, **values)


async def set_invoiced(
    conn: AsyncConnection, bill_run_id: BillRunId, batch: int, documents: int, *, complete: bool
) -> None:
    """With `complete` nothing of the batch waits, and nothing of it will be rated again."""
    done: dict[str, Any] = {"parts": None} if complete else {}
    await _update_batch(conn, bill_run_id, batch, state=INVOICED, documents=documents, **done)


async def issue_again(conn: AsyncConnection, bill_run_id: BillRunId, batches: Sequence[int] | None) -> None:
    """Let these batches (None: all) be looked at again for documents that were held."""
    query = update(bill_batch).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.state == INVOICED)
    if batches is not None:
        query = query.where(bill_batch.c.batch.in_(batches))
    await conn.execute(query.values(state=CHECKED))


async def totals(conn: AsyncConnection, bill_run_id: BillRunId) -> AsyncIterator[str]:
    """Of each batch what was counted when it was rated."""
    rows = await conn.stream_scalars(
        select(bill_batch.c.totals).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.totals.is_not(None))
    )
    async for found in rows:
        yield found


async def moved(
    conn: AsyncConnection, bill_run_id: BillRunId, state: str, since: datetime
) -> tuple[int, datetime | None]:
    """How many batches have reached a state since an instant (of the wall), and when the first of them did."""
    query = select(func.count(), func.min(bill_batch.c.moved_at)).where(
        bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.state == state, bill_batch.c.moved_at >= since
    )
    count, first = (await conn.execute(query)).one()
    return int(count), first


async def outlived(conn: AsyncConnection, run: BillRun, before: datetime) -> list[tuple[BillRunId, int]]:
    """Dry runs, with the numbers of their batches, whose contents nobody needs once `run` is done.

    Those that ended `before` an instant; and when `run` is one itself, those of the same accounts that were started
    before it and that no run has for its preview.
    """
    old = bill_run.c.finished_at < before
    if run.dry:
        other = bill_run.alias()
        named = select(other.c.bill_run_id).where(other.c.preview_id == bill_run.c.bill_run_id).exists()
        same = bill_run.c.account_id.is_not_distinct_from(run.account_id)
        old |= same & (bill_run.c.created_at < run.created_at) & ~named
    query = select(bill_run.c.bill_run_id, bill_run.c.batches).where(bill_run.c.contents, bill_run.c.state == DONE, old)
    return [(BillRunId(row.bill_run_id), row.batches) for row in await conn.execute(query)]


async def set_without_contents(conn: AsyncConnection, bill_run_id: BillRunId) -> None:
    await _update(conn, bill_run_id, contents=False)


async def reopen(conn: AsyncConnection, bill_run_id: BillRunId, states: Sequence[str] = (FAILED,)) -> bool:
    """One of `states` becomes running again, or queued when its batches were not frozen yet. False in any other."""
    planned = select(bill_batch.c.batch).where(bill_batch.c.bill_run_id == bill_run_id).exists()
    changed = await conn.execute(
        update(bill_run)
        .where(bill_run.c.bill_run_id == bill_run_id, bill_run.c.state.in_(states))
        .values(state=case((planned, RUNNING), else_=QUEUED), finished_at=None, error=None)
    )
    return bool(changed.rowcount)


async def set_phase(conn: AsyncConnection, bill_run_id: BillRunId, phase: str) -> None:
    await _update(conn, bill_run_id, phase=phase)


async def note_waiting(conn: AsyncConnection, bill_run_id: BillRunId, what: str | None) -> None:
    """What a run at work waits for."""
    await _update(conn, bill_run_id, waiting_for=what)


async def stand_still(conn: AsyncConnection, bill_run_id: BillRunId) -> None:
    """A run at work that is held."""
    await _update(conn, bill_run_id, state=HELD)


async def finish(
    conn: AsyncConnection, bill_run_id: BillRunId, state: str, now: datetime, error: str | None = None
) -> None:
    await _update(conn, bill_run_id, state=state, finished_at=now, error=error)


async def _update(conn: AsyncConnection, bill_run_id: BillRunId, **values: Any) -> None:
    await conn.execute(update(bill_run).where(bill_run.c.bill_run_id == bill_run_id).values(**values))


async def _update_batch(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, **values: Any) -> None:
    now = datetime.now(UTC)
    # What has been rated goes on to be checked by the same worker; from any other state on it is anybody's.
    free = {} if values["state"] == RATED else {"taken_by": None, "taken_until": None}
    await conn.execute(
        update(bill_batch)
        .where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.batch == batch)
        .values(moved_at=now, **free, **values)
    )


def _with_progress() -> Select[Any]:
    of_run = bill_batch.c.bill_run_id == bill_run.c.bill_run_id
    return select(
        bill_run,
        _of_batches(func.count(), of_run, bill_batch.c.state == INVOICED).label("batches_done"),
        _of_batches(func.count(), of_run, bill_batch.c.state.in_((CHECKED, INVOICED))).label("batches_checked"),
        _of_batches(func.sum(bill_batch.c.charges), of_run).label("charges"),
        _of_batches(func.sum(bill_batch.c.documents), of_run).label("documents"),
    )


def _of_batches(what: Any, *where: Any) -> ScalarSelect[Any]:
    return select(what).select_from(bill_batch).where(*where).correlate(bill_run).scalar_subquery()


def _run(row: Row[Any]) -> BillRun:
    return BillRun(
        bill_run_id=BillRunId(row.bill_run_id),
        as_of=row.as_of,
        account_id=None if row.account_id is None else AccountId(row.account_id),
        state=row.state,
        usage_watermark=row.usage_watermark,
        event_watermark=row.event_watermark,
        accounts=row.accounts,
        batches=row.batches,
        batches_done=int(row.batches_done or 0),
        charges=int(row.charges or 0),
        documents=int(row.documents or 0),
        actor=row.actor,
        created_at=row.created_at,
        finished_at=row.finished_at,
        error=row.error,
        dry=row.dry,
        preview_id=None if row.preview_id is None else BillRunId(row.preview_id),
        hold_changed=row.hold_changed,
        phase=row.phase,
        batches_checked=int(row.batches_checked or 0),
        waiting_for=row.waiting_for,
        contents=row.contents,
    )

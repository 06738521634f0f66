"""Rows of bill runs: what a run is about, the accounts frozen into its batches, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Row, Select, case, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.billing.model import DONE, FAILED, INVOICED, OPEN, QUEUED, RATED, RUNNING, BillRun
from billing_bridge.tables import bill_batch, bill_run
from controller.domain.identity import AccountId, BillRunId


@dataclass(frozen=True, slots=True)
class Batch:
    account_ids: tuple[AccountId, ...]
    state: str
    charges: int
    documents: int


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
            actor=run.actor,
            created_at=run.created_at,
        )
    )


async def get(conn: AsyncConnection, bill_run_id: BillRunId) -> BillRun | None:
    row = (await conn.execute(_with_progress().where(bill_run.c.bill_run_id == bill_run_id))).one_or_none()
    return _run(row) if row else None


async def page(conn: AsyncConnection, after: tuple[int, str] | None, limit: int) -> list[BillRun]:
    """Newest first; `after` is (created_at in microseconds, id) of the last one seen."""
    query = _with_progress().order_by(bill_run.c.created_at.desc(), bill_run.c.bill_run_id.desc()).limit(limit)
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(bill_run.c.created_at, bill_run.c.bill_run_id) < last)
    return [_run(row) for row in await conn.execute(query)]


async def unfinished(conn: AsyncConnection) -> list[BillRunId]:
    query = select(bill_run.c.bill_run_id).where(bill_run.c.state.not_in((DONE, FAILED)))
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
    return Batch(tuple(AccountId(i) for i in row.account_ids.split(",")), row.state, row.charges, row.documents)


async def set_rated(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, charges: int) -> None:
    await _update_batch(conn, bill_run_id, batch, state=RATED, charges=charges)


async def set_invoiced(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, documents: int) -> None:
    await _update_batch(conn, bill_run_id, batch, state=INVOICED, documents=documents)


async def reopen(conn: AsyncConnection, bill_run_id: BillRunId) -> bool:
    """Failed becomes running again, or queued when its batches were not frozen yet. False if not failed."""
    planned = select(bill_batch.c.batch).where(bill_batch.c.bill_run_id == bill_run_id).exists()
    changed = await conn.execute(
        update(bill_run)
        .where(bill_run.c.bill_run_id == bill_run_id, bill_run.c.state == FAILED)
        .values(state=case((planned, RUNNING), else_=QUEUED), finished_at=None, error=None)
    )
    return bool(changed.rowcount)


async def finish(
    conn: AsyncConnection, bill_run_id: BillRunId, state: str, now: datetime, error: str | None = None
) -> None:
    await _update(conn, bill_run_id, state=state, finished_at=now, error=error)


async def _update(conn: AsyncConnection, bill_run_id: BillRunId, **values: Any) -> None:
    await conn.execute(update(bill_run).where(bill_run.c.bill_run_id == bill_run_id).values(**values))


async def _update_batch(conn: AsyncConnection, bill_run_id: BillRunId, batch: int, **values: Any) -> None:
    await conn.execute(
        update(bill_batch).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.batch == batch).values(**values)
    )


def _with_progress() -> Select[Any]:
    done = (
        select(
            bill_batch.c.bill_run_id.label("of"),
            func.count().filter(bill_batch.c.state == INVOICED).label("batches_done"),
            func.sum(bill_batch.c.charges).label("charges"),
            func.sum(bill_batch.c.documents).label("documents"),
        )
        .group_by(bill_batch.c.bill_run_id)
        .subquery()
    )
    return select(bill_run, done.c.batches_done, done.c.charges, done.c.documents).outerjoin(
        done, done.c.of == bill_run.c.bill_run_id
    )


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
    )

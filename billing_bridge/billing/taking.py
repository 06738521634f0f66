"""Who works on which batch of a run: workers of several processes take batches, each for itself and for a while.

That saves work and decides nothing: what may happen once is held by the lock of the batch and by the books. So a batch
whose worker fell silent is taken by another when its time is over, and if the first one wakes up, both go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.tables import bill_batch
from controller.domain.identity import BillRunId

RUN = 0
"""The taker that is the job of the run itself; helpers have other numbers."""
TAKEN_FOR = timedelta(seconds=20)
"""Many times what a batch takes: it waits for the books while other batches are issued."""


async def take(conn: AsyncConnection, bill_run_id: BillRunId, states: Sequence[str], taker: int) -> int | None:
    """The first batch in one of these states that nobody has for himself; now the taker has it."""
    now = datetime.now(UTC)
    free = or_(bill_batch.c.taken_until.is_(None), bill_batch.c.taken_until <= now)
    of_run = bill_batch.c.bill_run_id == bill_run_id
    first = select(bill_batch.c.batch).where(of_run, bill_batch.c.state.in_(states), free)
    # Who takes one at the same time takes the next one.
    first = first.order_by(bill_batch.c.batch).limit(1).with_for_update(skip_locked=True)
    taken = update(bill_batch).where(of_run, bill_batch.c.batch == first.scalar_subquery())
    found: int | None = await conn.scalar(
        taken.values(taken_by=taker, taken_until=now + TAKEN_FOR).returning(bill_batch.c.batch)
    )
    return found


async def give_back(conn: AsyncConnection, bill_run_id: BillRunId, taker: int, batch: int | None = None) -> None:
    """A batch, or all, that the taker has for itself may be taken by anybody again."""
    own = update(bill_batch).where(bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.taken_by == taker)
    if batch is not None:
        own = own.where(bill_batch.c.batch == batch)
    await conn.execute(own.values(taken_by=None, taken_until=None))


async def helped(conn: AsyncConnection, bill_run_id: BillRunId, states: Sequence[str]) -> bool:
    """Whether helpers have a batch in one of these states."""
    query = select(bill_batch.c.batch).where(
        bill_batch.c.bill_run_id == bill_run_id, bill_batch.c.state.in_(states), bill_batch.c.taken_by != RUN
    )
    return await conn.scalar(query.limit(1)) is not None

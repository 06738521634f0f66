"""Workers of several processes take the batches of a bill run: none two at a time, and none is lost with its worker."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from billing_bridge.billing import runs
from billing_bridge.billing.model import CHECKED, OPEN, QUEUED, RATED, BillRun
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.taking import RUN
from billing_bridge.tables import bill_batch
from controller.domain.clock import MovableClock
from controller.domain.identity import AccountId, BillRunId
from controller.store.engine import Database

AT = datetime(2026, 10, 1, 6, tzinfo=UTC)
ID = BillRunId("run")
HELPER, OTHER = 1, 2


@pytest.fixture
async def book(database: Database) -> RunBook:
    """Of a run with five batches."""
    run = BillRun(
        bill_run_id=ID, as_of=AT, account_id=None, state=QUEUED, usage_watermark=0, event_watermark=0, accounts=0,
        batches=0, batches_done=0, charges=0, documents=0, actor="user:anna", created_at=AT, finished_at=None,
        error=None,
    )  # fmt: skip
    async with database.begin() as conn:
        await runs.add(conn, run)
        await runs.freeze(conn, ID, [[AccountId(f"account-{n}")] for n in range(5)])
    return RunBook(database, MovableClock(AT))


async def take(book: RunBook, taker: int, states: tuple[str, ...] = (OPEN, RATED)) -> int | None:
    return await book.take_batch(ID, states, taker)


async def test_workers_that_ask_at_once_get_different_batches_and_then_none(book: RunBook) -> None:
    taken = await asyncio.gather(*(take(book, taker) for taker in (RUN, RUN, HELPER, HELPER, OTHER)))
    assert sorted(batch for batch in taken if batch is not None) == [0, 1, 2, 3, 4]
    assert await take(book, OTHER) is None


async def test_what_is_rated_stays_with_its_worker_and_what_is_checked_is_anybodys(
    book: RunBook, database: Database
) -> None:
    assert [await take(book, RUN), await take(book, HELPER)] == [0, 1]
    async with database.begin() as conn:
        await runs.set_rated(conn, ID, 0, 0, "{}", b"")
    assert await take(book, OTHER) == 2
    async with database.begin() as conn:
        await runs.set_checked(conn, ID, 0)
    assert await take(book, OTHER, (CHECKED,)) == 0


async def test_what_a_worker_gives_back_is_taken_by_the_next_one(book: RunBook) -> None:
    assert [await take(book, HELPER), await take(book, RUN), await take(book, RUN)] == [0, 1, 2]
    await book.give_back(ID, HELPER, 0)
    await book.give_back(ID, RUN)
    assert [await take(book, OTHER) for _ in range(4)] == [0, 1, 2, 3]


async def test_a_batch_whose_worker_fell_silent_is_taken_by_another_when_its_time_is_over(
    book: RunBook, database: Database
) -> None:
    assert await take(book, HELPER) == 0
    assert await book.helped(ID, (OPEN,))
    assert not await book.helped(ID, (CHECKED,))
    async with database.begin() as conn:
        over = datetime.now(UTC) - timedelta(seconds=1)
        await conn.execute(update(bill_batch).where(bill_batch.c.batch == 0).values(taken_until=over))
    assert await take(book, RUN) == 0
    assert not await book.helped(ID, (OPEN,))

"""Storage that refuses a record, is away, locked, or slower than what arrives: no answer to what is not stored."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from controller.domain.errors import PeerError
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting.settings import AccountingSettings
from tests.support.accounting import NAS, accounting
from tests.support.recorder import NOW
from tests.support.recorder import RecorderBench as Bench

T = int(NOW.timestamp())


@pytest.fixture
async def bench(database: Database) -> AsyncIterator[Bench]:
    made = Bench(database)
    yield made
    await made.stop()


async def test_a_record_that_cannot_be_stored_does_not_hold_up_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = accounting("start", b"poison", at=T)
    rest = [accounting("start", f"n{n}".encode(), at=T) for n in range(20)]
    async with bench.database.begin() as conn:
        if bench.database.is_sqlite:
            await conn.execute(
                text(
                    "CREATE TRIGGER poison BEFORE INSERT ON store_usage_record"
                    " WHEN NEW.acct_session_id = x'706f69736f6e' BEGIN SELECT RAISE(ABORT, 'poison'); END"
                )
            )
        else:
            await conn.execute(
                text(
                    "ALTER TABLE store_usage_record ADD CONSTRAINT poison CHECK (acct_session_id <> '\\x706f69736f6e')"
                )
            )
    never: list[int] = []
    bench.recorder.submit(poison, NAS, to_micros(NOW), lambda: never.append(1))
    await bench.send(*rest)
    assert bench.recorder.counters.rejected == 1
    assert never == []
    assert await bench.logged() == 20


async def test_records_wait_for_a_database_that_is_away(bench: Bench) -> None:
    async with bench.database.begin() as conn:
        await conn.execute(text("ALTER TABLE store_usage_link RENAME TO gone"))
    waiting = asyncio.create_task(bench.send(accounting("start", at=T)))
    async with asyncio.timeout(10):
        while bench.recorder.counters.failures < 2 and not waiting.done():  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    assert not waiting.done()
    async with bench.database.begin() as conn:
        await conn.execute(text("ALTER TABLE gone RENAME TO store_usage_link"))
    await waiting
    assert (await bench.one()).is_live
    assert await bench.logged() == 1


async def test_rfc5997_the_storage_is_proved_by_a_commit_and_by_nothing_else(bench: Bench) -> None:
    bench.start()
    before, meanwhile, after = asyncio.Event(), asyncio.Event(), asyncio.Event()
    bench.recorder.prove(before.set)
    await asyncio.wait_for(before.wait(), 10)
    async with bench.database.begin() as conn:
        await conn.execute(text("ALTER TABLE radius_nas RENAME TO gone"))
    with capture_logs() as logs:
        bench.recorder.prove(meanwhile.set)
        async with asyncio.timeout(10):
            while not any(line["event"] == "radius.accounting.database_away" for line in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    async with bench.database.begin() as conn:
        await conn.execute(text("ALTER TABLE gone RENAME TO radius_nas"))
    bench.recorder.prove(after.set)
    await asyncio.wait_for(after.wait(), 10)
    assert not meanwhile.is_set(), "who asked while it could not commit got silence"


async def test_the_storage_is_not_proved_while_another_holds_the_lock(sqlite_database: Database) -> None:
    """On SQLite alone: writers of other rows do not wait for each other on PostgreSQL."""
    bench = Bench(sqlite_database)
    bench.start()
    answered = asyncio.Event()
    other = sqlite3.connect(str(bench.database.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    bench.recorder.prove(answered.set)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answered.wait(), 0.3)
    other.execute("ROLLBACK")
    other.close()
    again = asyncio.Event()
    bench.recorder.prove(again.set)
    await asyncio.wait_for(again.wait(), 10)
    await bench.stop()


async def test_the_storage_is_not_proved_while_records_are_refused(database: Database) -> None:
    bench = Bench(database, AccountingSettings(max_pending=1))
    bench.recorder.submit(accounting("start", at=T), NAS, to_micros(NOW), lambda: None)
    asked: list[int] = []
    bench.recorder.prove(lambda: asked.append(1))
    bench.start()
    async with asyncio.timeout(10):
        while bench.recorder.depth:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    assert asked == []
    await bench.stop()


async def test_a_full_queue_gives_up_what_is_too_old_to_be_answered_and_takes_what_is_new(database: Database) -> None:
    bench = Bench(database, AccountingSettings(max_pending=3, unanswerable_after_s=30.0))
    answered: list[int] = []
    for n in range(3):
        packet = accounting("start", b"%d" % n, at=T)
        bench.recorder.submit(packet, NAS, to_micros(NOW), lambda n=n: answered.append(n))  # type: ignore[misc]
    late = to_micros(NOW + timedelta(seconds=31))
    bench.recorder.submit(accounting("start", b"3", at=T), NAS, late, lambda: answered.append(3))
    assert (bench.recorder.depth, bench.recorder.counters.unanswerable) == (3, 1)
    bench.start()
    async with asyncio.timeout(10):
        while bench.recorder.depth:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    await bench.stop()
    assert answered == [1, 2, 3], "the oldest was given up, and is not answered"
    assert await bench.logged() == 3


async def test_a_full_queue_refuses_instead_of_answering_early(database: Database) -> None:
    bench = Bench(database, AccountingSettings(max_pending=3))
    for n in range(3):
        bench.recorder.submit(accounting("start", b"%d" % n, at=T), NAS, to_micros(NOW), lambda: None)
    with pytest.raises(PeerError, match="overload"):
        bench.recorder.submit(accounting("start", b"4", at=T), NAS, to_micros(NOW), lambda: None)
    assert bench.recorder.counters.refused == 1
    bench.start()
    async with asyncio.timeout(10):
        while bench.recorder.depth:  # noqa: ASYNC110 - a counter has no event
            await asyncio.sleep(0.01)
    await bench.send(accounting("start", b"4", at=T))
    assert await bench.logged() == 4
    await bench.stop()

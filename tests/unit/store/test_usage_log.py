"""The usage log: durable, append-only, and able to say which record somebody changed."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from controller.domain.usage import RecordKind, UsageRecord
from controller.store.engine import Database
from controller.store.usage_log import UsageLog, row_of
from controller.store.usage_reader import UsageLogReader

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NOW_US = time.time_ns() // 1000


def record(n: int) -> UsageRecord:
    return UsageRecord(
        kind=RecordKind.INTERIM,
        session_key=f"{n:032x}",
        nas_id="a" * 32,
        acct_session_id=bytes([0, 255, n % 256]),
        username=f"user\t{n}",
        service_id=None if n % 2 else "b" * 32,
        event_at=NOW + timedelta(seconds=n),
        received_at=NOW + timedelta(seconds=n, milliseconds=1),
        session_time_s=n,
        upstream_octets=None if n % 3 else 2**63 - 1,
        downstream_octets=n * 10,
        packet_sha256=sha256(str(n).encode()).digest(),
    )


@pytest.fixture
async def log(database: Database) -> AsyncIterator[UsageLog]:
    opened = UsageLog(database, "radius-1")
    yield opened
    await opened.close()


async def append(log: UsageLog, *numbers: int) -> list[int]:
    appended = await log.append([row_of(record(n)) for n in numbers], NOW_US)
    assert appended is not None
    return list(range(appended.first_record_id, appended.last_record_id + 1))


async def tamper(database: Database, statement: str) -> None:
    """Change a row as somebody with the database password can: the triggers are taken away first."""
    async with database.begin() as conn:
        for table in ("store_usage_record", "store_usage_link"):
            for verb in ("update", "delete") if database.is_sqlite else ("change",):
                on = "" if database.is_sqlite else f" ON {table}"
                await conn.execute(text(f"DROP TRIGGER {table}_no_{verb}{on}"))
        await conn.execute(text(statement))


async def test_what_was_appended_is_read_back_as_it_was(database: Database, log: UsageLog) -> None:
    ids = await append(log, *range(150))
    stored = await UsageLogReader(database).records(ids)
    assert [row.record_id for row in stored] == ids
    for n, row in enumerate(stored):
        sent = record(n)
        for name in ("session_key", "nas_id", "acct_session_id", "username", "service_id", "event_at", "received_at"):
            assert getattr(row, name) == getattr(sent, name)
        for name in ("kind", "session_time_s", "upstream_octets", "downstream_octets", "packet_sha256"):
            assert getattr(row, name) == getattr(sent, name)
        assert row.intact


async def test_each_commit_is_one_link_and_the_chain_holds(database: Database, log: UsageLog) -> None:
    first, second = await append(log, 1, 2, 3), await append(log, 4)
    reader = UsageLogReader(database)
    assert await reader.watermark() == second[-1]
    assert [r.record_id async for r in reader.records_after(first[0], second[-1], 2)] == first[1:]
    assert await reader.verify_chain([*first, *second]) == []
    assert await reader.verify_all() == []


async def test_a_writer_that_starts_again_goes_on_with_its_chain(database: Database, log: UsageLog) -> None:
    ids = await append(log, 1)
    again = UsageLog(database, "radius-1")
    ids += await append(again, 2)
    await again.close()
    assert await UsageLogReader(database).verify_all() == []
    assert len(set(ids)) == 2


async def test_a_link_written_meanwhile_in_its_name_is_found_and_gone_on_from(
    database: Database, log: UsageLog
) -> None:
    """Two processes of one name are refused at the start; should it happen all the same, nothing is written twice."""
    ids = await append(log, 1)
    twin = UsageLog(database, "radius-1")
    ids += await append(twin, 2)
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        await append(log, 3)
    ids += await append(log, 3)
    await twin.close()
    assert len(set(ids)) == 3
    assert await UsageLogReader(database).verify_all() == []
    assert [row.session_key for row in await UsageLogReader(database).records(ids)] == [f"{n:032x}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE store_usage_record SET username = 'x'",
        "DELETE FROM store_usage_record",
        "UPDATE store_usage_link SET writer = 'x'",
        "DELETE FROM store_usage_link",
    ],
)
async def test_the_database_refuses_to_change_the_log(database: Database, log: UsageLog, change: str) -> None:
    await append(log, 1)
    with pytest.raises(DatabaseError, match="append-only"):
        async with database.begin() as conn:
            await conn.execute(text(change))


async def test_an_altered_record_is_named(database: Database, log: UsageLog) -> None:
    ids = await append(log, *range(1, 6))
    await tamper(database, f"UPDATE store_usage_record SET downstream_octets = 1 WHERE record_id = {ids[2]}")
    reader = UsageLogReader(database)
    expected = [f"record {ids[2]}: stored octets do not match its digest"]
    assert await reader.verify_chain([ids[0]]) == expected
    assert await reader.verify_all() == expected
    assert [row.record_id for row in await reader.records(ids) if not row.intact] == [ids[2]]


async def test_an_altered_record_with_a_fitting_digest_breaks_its_link(database: Database, log: UsageLog) -> None:
    ids = await append(log, 1, 2)
    forged = row_of(replace(record(2), downstream_octets=7))[-1].hex()
    literal = f"x'{forged}'" if database.is_sqlite else f"'\\x{forged}'"
    await tamper(
        database,
        "UPDATE store_usage_record SET downstream_octets = 7, record_sha256 = "
        + literal
        + f" WHERE record_id = {ids[1]}",
    )
    assert await UsageLogReader(database).verify_chain(ids) == [
        f"link radius-1/1: records {ids[0]} to {ids[1]} do not add up to it"
    ]


async def test_a_removed_record_is_named(database: Database, log: UsageLog) -> None:
    ids = await append(log, 1, 2, 3)
    await tamper(database, f"DELETE FROM store_usage_record WHERE record_id = {ids[1]}")
    assert await UsageLogReader(database).verify_chain(ids) == [f"record {ids[1]}: missing from the log"]


async def test_an_altered_link_and_a_removed_one_are_found(database: Database, log: UsageLog) -> None:
    ids = [await append(log, n) for n in range(4)]
    await tamper(database, "UPDATE store_usage_link SET committed_us = 0 WHERE number = 2")
    reader = UsageLogReader(database)
    assert await reader.verify_chain(ids[1]) == [
        f"link radius-1/2: records {ids[1][0]} to {ids[1][0]} do not add up to it"
    ]
    async with database.begin() as conn:
        await conn.execute(text("DELETE FROM store_usage_link WHERE number = 2"))
    assert await reader.verify_chain(ids[1]) == [f"record {ids[1][0]}: no link of the hash chain covers it"]
    faults = await reader.verify_all()
    assert "writer radius-1: 1 of 4 links are missing" in faults
    assert "link radius-1/3: does not follow the link before it" in faults
    assert "1 records stand in the log without a link" in faults


async def test_rows_beside_the_log_stand_or_fall_with_it(database: Database, log: UsageLog) -> None:
    def fail(_bulk: object) -> None:
        raise RuntimeError("beside the log")

    with pytest.raises(RuntimeError, match="beside the log"):
        await log.append([row_of(record(1))], NOW_US, fail)
    assert await UsageLogReader(database).watermark() == 0
    await append(log, 1)
    assert await UsageLogReader(database).verify_all() == []


async def test_the_committing_connection_is_durable(database: Database, log: UsageLog) -> None:
    await append(log, 1)
    expected = (
        {"synchronous": "full", "journal_mode": "wal"}
        if database.is_sqlite
        else {"fsync": "on", "synchronous_commit": "on"}
    )
    assert await log.durability() == expected


async def test_concurrent_writers_never_put_a_record_below_the_watermark(database: Database) -> None:
    logs = [UsageLog(database, f"radius-{n}") for n in range(3)]
    reader = UsageLogReader(database)
    seen: set[int] = set()
    position = 0

    async def write(log: UsageLog, base: int) -> None:
        for n in range(25):
            await append(log, *range(base + n * 3, base + n * 3 + 1 + n % 3))

    async def follow(writers: asyncio.Future[object]) -> None:
        nonlocal position
        done = False
        while not done:
            done = writers.done()
            mark = await reader.watermark()
            async for row in reader.records_after(position, mark, 10_000):
                seen.add(row.record_id)
            position = mark

    writers = asyncio.gather(*(write(log, n * 1000) for n, log in enumerate(logs)))
    await follow(writers)
    await writers
    async with database.read() as conn:
        stored = set((await conn.execute(text("SELECT record_id FROM store_usage_record"))).scalars())
    assert seen == stored
    assert len(stored) == 3 * sum(1 + n % 3 for n in range(25))
    assert await reader.verify_all() == []
    for log in logs:
        await log.close()


async def test_a_running_transaction_holds_the_watermark_back(database: Database, log: UsageLog) -> None:
    if database.is_sqlite:
        pytest.skip("on SQLite one writer at a time draws ids")
    ids = await append(log, 1)
    conninfo = database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(conninfo) as slow:
        slow.execute("SELECT pg_current_xact_id(), nextval('store_usage_record_record_id_seq')")
        later = await append(log, 2)
        reader = UsageLogReader(database)
        assert await reader.watermark() == ids[-1]
        slow.rollback()
        assert await reader.watermark() == later[-1]

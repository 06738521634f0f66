"""What becomes of a transaction whose task is cancelled, and of a connection that the server has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from controller.store import engine
from controller.store.engine import Database
from tests.support.databases import PostgresServer

SLOW = """
    WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 300000)
    SELECT begun() UNION ALL SELECT max(x) FROM n UNION ALL SELECT 3
"""


async def test_who_is_cancelled_in_the_middle_of_a_statement_leaves_the_database_to_others(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
    async with database.begin() as conn:
        await conn.execute(text("CREATE TABLE cancelled (x INTEGER)"))
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    async def work() -> None:
        async with database.begin() as conn:
            driver = (await conn.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.create_function("begun", 0, lambda: loop.call_soon_threadsafe(begun.set) and None)
            await conn.execute(text("INSERT INTO cancelled VALUES (1)"))
            await conn.execute(text(SLOW))

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    # Whoever keeps the error keeps its frames, and with them the cursor.
    with pytest.raises(asyncio.CancelledError) as kept:
        await task
    async with asyncio.timeout(10), database.begin() as conn:
        await conn.execute(text("INSERT INTO cancelled VALUES (2)"))
    async with database.read() as conn:
        assert (await conn.scalars(text("SELECT x FROM cancelled"))).all() == [2]
    await database.close()
    assert kept.value is not None


async def _backend(database: Database) -> int:
    async with database.read() as conn:
        return int((await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def _ended(database: Database, postgres: PostgresServer) -> int:
    """The process behind a connection that rests in the pool, which PostgreSQL has ended meanwhile."""
    pid = await _backend(database)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
    return pid


async def test_a_rested_connection_that_is_gone_is_replaced_before_it_is_used(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ASK_AFTER_S", 0.0)
    database = Database(postgres.url("postgres"))
    gone = await _ended(database, postgres)
    assert await _backend(database) != gone
    await database.close()


async def test_one_that_is_gone_a_moment_after_its_work_fails_once_and_is_replaced(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ASK_AFTER_S", 3600.0)
    database = Database(postgres.url("postgres"))
    gone = await _ended(database, postgres)
    with pytest.raises(OperationalError):
        await _backend(database)
    assert await _backend(database) != gone
    await database.close()

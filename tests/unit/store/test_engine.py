"""What becomes of a transaction whose task is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.store.engine import Database

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

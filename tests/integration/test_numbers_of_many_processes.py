"""Fifty issuers in five processes on one database, one of them killed: numbers without a gap and without a double."""

from __future__ import annotations

import asyncio
import random
import uuid
from pathlib import Path

import pytest
from sqlalchemy import select

from controller.app.schema import metadata
from controller.store.engine import Database
from erp.finance.tables import invoice
from tests.support import zygote
from tests.support.databases import PostgresServer
from tests.support.finance import Books, made_entity
from tests.support.killing import seed_of_this_run

PROCESSES, EACH = 5, 10


async def numbers(database: Database) -> list[str]:
    async with database.read() as conn:
        return sorted(await conn.scalars(select(invoice.c.number)))


@pytest.mark.parametrize("killed", [False, True])
async def test_fifty_issuers_in_five_processes_number_without_a_gap(
    postgres: PostgresServer, tmp_path: Path, killed: bool
) -> None:
    chance = random.Random(seed_of_this_run())
    database = Database(postgres.create(f"issuers{uuid.uuid4().hex}"))
    async with database.begin() as conn:
        await conn.run_sync(metadata.create_all)
    books = Books(database)
    await made_entity(books)
    accounts = [await books.account(f"Customer {n}") for n in range(PROCESSES * EACH)]
    url = database.url.render_as_string(hide_password=False)
    running = [
        zygote.start(
            "tests.support.issuer_child", url, *accounts[n * EACH : (n + 1) * EACH], output=tmp_path / f"said-{n}"
        )
        for n in range(PROCESSES)
    ]
    if killed:
        while not await numbers(database):  # noqa: ASYNC110 (of other processes)
            await asyncio.sleep(0.005)
        await asyncio.sleep(chance.uniform(0, 0.03))
        running[0].kill()
    for n, process in enumerate(running):
        status = await asyncio.to_thread(process.wait, 90)
        assert status == 0 or (killed and n == 0), (tmp_path / f"said-{n}").read_text()
    found = await numbers(database)
    least = (PROCESSES - killed) * EACH
    assert least <= len(found) <= PROCESSES * EACH
    assert found == [f"INV-2026-{n:06d}" for n in range(1, len(found) + 1)]
    await books.issue(accounts[0])
    assert (await numbers(database))[-1] == f"INV-2026-{len(found) + 1:06d}", "the next one follows"
    assert sum(b.balance.minor for b in await books.books.trial_balance()) == 0
    await database.close()

"""A bill run is killed at any instant, rating or issuing: what comes out is as if it had been left alone."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from billing_bridge.tables import bill_draft, charge
from controller.app.schema import metadata
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows.certificate import read
from erp.finance.content import fingerprint
from erp.finance.tables import invoice
from tests.support import zygote
from tests.support.bill_run_child import ACTIVATED, BILLED, VERSION, prices
from tests.support.billing_world import BillingWorld

ACCOUNTS = 16
KILLED_AT = ((charge, 1), (charge, 9), (bill_draft, 12), (invoice, 1), (invoice, 6))
"""When it is killed: so many rows are there, and then some thousandths of a second later, at random."""
MOST_MS = 20


async def subscribers(database: Database, data_dir: Path) -> None:
    """Lines with differing usage, ready to be billed on 1 October."""
    world = BillingWorld(database, data_dir, prices(), ACTIVATED)
    await world.entity()
    for n in range(ACCOUNTS):
        line = await world.activate(VERSION, await world.customer(f"Customer {n:02d}"))
        at = ACTIVATED + timedelta(hours=1)
        await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), n * GB, n * n * GB))
    await world.log.close()


async def documents(database: Database) -> dict[str, list[tuple[int, str]]]:
    """By the name printed on them, totals and digests of the documents of each customer.

    The digest leaves out number and dates, and the ids of the customer, which are made anew in each database.
    """
    found: dict[str, list[tuple[int, str]]] = {}
    async with database.read() as conn:
        for row in await conn.execute(select(invoice.c.content, invoice.c.total_minor)):
            content = json.loads(row.content)
            buyer = {k: v for k, v in content["buyer"].items() if not k.endswith("_id") or k == "tax_id"}
            digest = fingerprint(content | {"buyer": buyer}).hex()
            found.setdefault(buyer["name"], []).append((row.total_minor, digest))
    return found


def child(url: str, directory: Path) -> zygote.Running:
    return zygote.start("tests.support.bill_run_child", url, str(directory / "jobs"), output=directory / "said")


async def bill_undisturbed(database: Database, data_dir: Path) -> None:
    world = BillingWorld(database, data_dir, prices(), BILLED)
    await world.launch()
    await world.bill()
    await world.close()


async def count(database: Database, table: Any) -> int:
    async with database.read() as conn:
        return await conn.scalar(select(func.count()).select_from(table)) or 0


async def test_killed_bill_run_issues_one_document_per_account(database: Database, tmp_path: Path) -> None:
    await subscribers(database, tmp_path / "jobs")
    url = database.url.render_as_string(hide_password=False)
    chance = random.Random(seed := random.SystemRandom().getrandbits(32))
    print(f"killed at instants of seed {seed}")
    for table, least in KILLED_AT:
        process = child(url, tmp_path)
        while await count(database, table) < least and process.poll() is None:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.uniform(0, MOST_MS) / 1000)
        process.kill()
        process.wait()
    assert await count(database, invoice) < ACCOUNTS, "nothing was left to be gone on with"
    assert await asyncio.to_thread(child(url, tmp_path).wait, 60) == 0, (tmp_path / "said").read_text()

    undisturbed = Database(f"sqlite+aiosqlite:///{tmp_path}/undisturbed.db")
    async with undisturbed.begin() as conn:
        await conn.run_sync(metadata.create_all)
    await subscribers(undisturbed, tmp_path / "other")
    await bill_undisturbed(undisturbed, tmp_path / "other")
    expected = await documents(undisturbed)
    await undisturbed.close()
    assert len(expected) == ACCOUNTS
    assert all(len(totals) == 1 for totals in expected.values())
    assert await documents(database) == expected

    world = BillingWorld(database, tmp_path / "jobs", prices(), BILLED)
    runs = await world.billing.bill_runs(None, 10)
    assert [(r.state, r.documents, r.batches_done) for r in runs] == [("done", ACCOUNTS, ACCOUNTS // 2)]
    assert sum(b.balance.minor for b in await world.books.trial_balance()) == 0
    (certificate,) = await world.certifier.certificates(runs[0].bill_run_id)
    assert read(certificate)[0]["issued"][0]["documents"] == ACCOUNTS
    issued = await world.finance.invoices(limit=100)
    assert sorted(i.number for i in issued) == [f"INV-2026-{n:06d}" for n in range(1, ACCOUNTS + 1)]
    await world.log.close()

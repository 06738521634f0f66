"""A bill run is killed in its midst three times: one document per account, with the totals of one left in peace."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from controller.app.schema import metadata
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.tables import invoice
from tests.support import zygote
from tests.support.bill_run_child import ACTIVATED, BILLED, VERSION, prices
from tests.support.billing_world import BillingWorld

ACCOUNTS = 16
KILLED_AT = (1, 3, 5)
"""Documents that have been issued, in all, when the process is killed the first time, the second and the third."""


async def subscribers(database: Database, data_dir: Path) -> None:
    """Lines with differing usage, ready to be billed on 1 October."""
    world = BillingWorld(database, data_dir, prices(), ACTIVATED)
    await world.entity()
    for n in range(ACCOUNTS):
        line = await world.activate(VERSION, await world.customer(f"Customer {n:02d}"))
        at = ACTIVATED + timedelta(hours=1)
        await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), n * GB, n * n * GB))
    await world.log.close()


async def documents(database: Database) -> dict[str, list[int]]:
    """Totals of the documents of each customer, by the name printed on them."""
    found: dict[str, list[int]] = {}
    async with database.read() as conn:
        for row in await conn.execute(select(invoice.c.content, invoice.c.total_minor)):
            found.setdefault(json.loads(row.content)["buyer"]["name"], []).append(row.total_minor)
    return found


def child(url: str, directory: Path) -> zygote.Running:
    return zygote.start("tests.support.bill_run_child", url, str(directory / "jobs"), output=directory / "said")


async def bill_undisturbed(database: Database, data_dir: Path) -> None:
    """The steps of a run in this process, one after the other."""
    world = BillingWorld(database, data_dir, prices(), BILLED)
    run = await world.billing.open_run(
        as_of=None,
        account_id=None,
        usage_watermark=await world.usage.watermark(),
        event_watermark=0,
        actor="user:test",
    )
    await world.mediation.catch_up(run.usage_watermark)
    for batch in range(await world.billing.plan_run(run.bill_run_id)):
        await world.billing.rate_batch(run.bill_run_id, batch)
        await world.finance.issue(run.bill_run_id, await world.billing.charges(run.bill_run_id, batch))
    await world.log.close()


async def count(database: Database) -> int:
    async with database.read() as conn:
        return await conn.scalar(select(func.count()).select_from(invoice)) or 0


async def test_killed_bill_run_issues_one_document_per_account(database: Database, tmp_path: Path) -> None:
    await subscribers(database, tmp_path / "jobs")
    url = database.url.render_as_string(hide_password=False)
    for least in KILLED_AT:
        process = child(url, tmp_path)
        while await count(database) < least and process.poll() is None:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.002)
        process.kill()
        process.wait()
    assert await count(database) < ACCOUNTS, "nothing was left to be gone on with"
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
    issued = await world.finance.invoices(limit=100)
    assert sorted(i.number for i in issued) == [f"INV-2026-{n:06d}" for n in range(1, ACCOUNTS + 1)]
    await world.log.close()

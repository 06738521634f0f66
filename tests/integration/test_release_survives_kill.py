"""Bills that waited are let go and rated again, and killed at any instant: each has one document, as if left alone."""

from __future__ import annotations

import asyncio
import random
from datetime import date, timedelta
from pathlib import Path

from sqlalchemy import func, select

from billing_bridge.billing.rerating import Reratings
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import bill_rated_again, charge
from controller.app.schema import metadata
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows.certificate import read
from erp.finance.tables import invoice
from tests.integration.test_bill_run_survives_kill import count, documents
from tests.support import zygote
from tests.support.billing_world import BERLIN, BillingWorld
from tests.support.release_child import ACTIVATED, BILLED, RELEASED, RIGHT, VERSION, Dear, prices

ACCOUNTS, DEAR = 12, 8
KILLED_AT = ((bill_rated_again, 1), (bill_rated_again, 5), (invoice, ACCOUNTS - DEAR + 1))
MOST_MS = 40


async def billed(database: Database, data_dir: Path) -> None:
    """Bills of October, of which the dear ones wait for a price that was wrong; then it is corrected."""
    world = BillingWorld(database, data_dir, prices(), ACTIVATED, accounts_per_batch=4, checker=Dear())
    await world.entity()
    for n in range(ACCOUNTS):
        line = await world.activate(VERSION, await world.customer(f"Customer {n:02d}"))
        at = ACTIVATED + timedelta(hours=1)
        await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), n * GB, (30 + n if n >= 4 else 5) * GB))
    world.clock.move_to(BILLED)
    await world.launch()
    run = await world.bill()
    assert len(await world.book.waiting(run)) == DEAR
    world.clock.move_to(RELEASED)
    correct = Reratings(database, world.clock, BillingSettings(zone=BERLIN))
    wrong, right = prices()
    assert (wrong.version_id, right.version_id) == (VERSION, RIGHT)
    await correct.apply(wrong.offering_id, date(2026, 9, 1), (wrong, right), reason="", actor="user:anna")
    await world.close()


def child(url: str, directory: Path) -> zygote.Running:
    return zygote.start("tests.support.release_child", url, str(directory / "jobs"), output=directory / "said")


async def test_bills_let_go_have_one_document_each_however_often_it_is_killed(
    database: Database, tmp_path: Path
) -> None:
    await billed(database, tmp_path / "jobs")
    url = database.url.render_as_string(hide_password=False)
    chance = random.Random(seed := random.SystemRandom().getrandbits(32))
    print(f"killed at instants of seed {seed}")
    alive = 0
    for table, least in KILLED_AT:
        process = child(url, tmp_path)
        while await count(database, table) < least and process.poll() is None:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.uniform(0, MOST_MS) / 1000)
        alive += process.poll() is None
        process.kill()
        process.wait()
    assert alive > 1, "it was done before it could be killed"
    assert await asyncio.to_thread(child(url, tmp_path).wait, 60) == 0, (tmp_path / "said").read_text()

    undisturbed = Database(f"sqlite+aiosqlite:///{tmp_path}/undisturbed.db")
    async with undisturbed.begin() as conn:
        await conn.run_sync(metadata.create_all)
    await billed(undisturbed, tmp_path / "other" / "jobs")
    alone = undisturbed.url.render_as_string(hide_password=False)
    assert await asyncio.to_thread(child(alone, tmp_path / "other").wait, 60) == 0
    expected = await documents(undisturbed)
    async with undisturbed.read() as conn:
        charged = await conn.scalar(select(func.sum(charge.c.net_minor)))
    await undisturbed.close()
    assert len(expected) == ACCOUNTS
    assert all(len(totals) == 1 for totals in expected.values())
    assert await documents(database) == expected

    world = BillingWorld(database, tmp_path / "jobs", prices(), RELEASED)
    (run,) = await world.billing.bill_runs(None, 10)
    assert (run.state, run.documents) == ("done", ACCOUNTS)
    async with database.read() as conn:
        assert await conn.scalar(select(func.sum(charge.c.net_minor))) == charged
    again = await world.runs.again.rated_again(run.bill_run_id, None, 100)
    assert [(a.number, a.outcome, a.released_by) for a in again] == [(1, "changed", "user:bert")] * DEAR
    content = read((await world.certifier.certificates(run.bill_run_id))[-1])[0]
    assert (content["issued"][0]["documents"], content["waiting"]["accounts"]) == (ACCOUNTS, 0)
    assert len(content["rated_again"]) == DEAR
    await world.log.close()

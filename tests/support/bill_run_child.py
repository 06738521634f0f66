"""A process that bills: starts a bill run if there is none, resumes what is there, and ends when all are done.

    python -m tests.support.bill_run_child DATABASE_URL DATA_DIR

Prints "launched" when it begins to work and "done" at the end. Made to be killed in between.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from pathlib import Path

from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store.engine import Database
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

VERSION = "a" * 32
ACTIVATED: datetime = berlin(2026, 9, 16, 14)
BILLED: datetime = berlin(2026, 10, 1, 6)


def prices() -> list[TariffVersion]:
    return [tariff(VERSION, "29.90", included=10 * GB, overage="0.37")]


async def main(url: str, data_dir: Path) -> None:
    database = Database(url)
    world = BillingWorld(database, data_dir, prices(), BILLED, accounts_per_batch=2)
    await world.jobs.launch()
    await world.runs.resume()
    print("launched", flush=True)
    known = await world.billing.bill_runs(None, 10)
    if not known:
        known = [await world.runs.start(as_of=None, account_id=None, actor="user:test")]
    for run in known:
        await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    await world.close()
    await database.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

"""A process that lets go every bill that waits: what was wrong with them has been mended since.

    python -m tests.support.release_child DATABASE_URL DATA_DIR

Goes on with what another one began, and ends when nothing waits any more. Made to be killed in between.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from billing_bridge.billing.holds import CHECK
from billing_bridge.errors import UnknownHold
from controller.domain.identity import BillRunId
from controller.domain.ports import RatedBatch, Waiting
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store.engine import Database
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

VERSION, RIGHT = "a" * 32, "b" * 32
ACTIVATED: datetime = berlin(2026, 9, 1, 9)
BILLED: datetime = berlin(2026, 10, 1, 6)
RELEASED: datetime = berlin(2026, 10, 3, 9)
LIMIT = 10_000
"""Bills of so many cents wait."""


class Dear:
    """A ChargeChecker that lets dear bills wait."""

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        sums: dict[str, int] = {}
        for made in batch.charges:
            sums[made.account_id] = sums.get(made.account_id, 0) + made.net.minor
        return [Waiting(i, "It is dear.") for i in batch.account_ids if sums.get(i, 0) >= LIMIT]


def prices() -> list[TariffVersion]:
    """The second is what the first should have been: usage costs a tenth."""
    wrong, right = (tariff(i, "29.90", included=10 * GB, overage=p) for i, p in ((VERSION, "3.70"), (RIGHT, "0.37")))
    return [wrong, replace(right, offering_id=wrong.offering_id, number=2)]


async def is_at_work(world: BillingWorld, bill_run_id: BillRunId) -> bool:
    if await world.book.waiting(bill_run_id):
        return True
    return (await world.billing.bill_run(bill_run_id)).state != "done"


async def main(url: str, data_dir: Path) -> None:
    database = Database(url)
    world = BillingWorld(database, data_dir, prices(), RELEASED, accounts_per_batch=4, checker=Dear())
    await world.launch()
    await world.runs.resume()
    (run,) = await world.billing.bill_runs(None, 10)
    for hold in await world.book.holds(run.bill_run_id):
        if hold.released_at is None:
            try:
                await world.runs.release(
                    run.bill_run_id, hold.account_id, CHECK, reason="the price was mended", actor="user:bert"
                )
            except UnknownHold as error:
                print(error, flush=True)
    while await is_at_work(world, run.bill_run_id):  # noqa: ASYNC110 (several jobs, one after the other)
        await asyncio.sleep(0.02)
    await world.close()
    await database.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

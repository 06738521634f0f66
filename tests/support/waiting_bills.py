"""Bills that wait in a run, are mended and let go: the world of the tests of it, and what they ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from billing_bridge.billing.holds import CHECK, WHOLE_RUN
from billing_bridge.billing.rerating import Reratings
from billing_bridge.settings import BillingSettings
from controller.domain.identity import AccountId, BillRunId
from controller.domain.ports import RatedBatch, Waiting
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import certificate
from erp.crm.hierarchy import HierarchyService
from erp.finance.model import Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

FIBRE, FASTER, RIGHT, DOLLARS = "a" * 32, "b" * 32, "c" * 32, "d" * 32
PRICES = [
    tariff(FIBRE, "30.00", included=10 * GB, overage="1.00"),
    tariff(FASTER, "60.00", name="Fibre 500"),
    replace(
        tariff(RIGHT, "25.00", included=10 * GB, overage="1.00"), offering_id=tariff(FIBRE, "0").offering_id, number=2
    ),
    tariff(DOLLARS, "20.00", included=10 * GB, overage="1.00", name="Transit", currency="USD"),
]


class Net:
    """A ChargeChecker that lets accounts wait which are charged as much as it is told, or more."""

    def __init__(self) -> None:
        self.limit = 10**9
        self.seen: list[RatedBatch] = []
        self.meanwhile: Callable[[], Any] | None = None

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        self.seen.append(batch)
        if self.meanwhile is not None:
            await self.meanwhile()
        sums: dict[AccountId, int] = {}
        for made in batch.charges:
            sums[made.account_id] = sums.get(made.account_id, 0) + made.net.minor
        return [Waiting(i, f"It comes to {minor}.") for i, minor in sums.items() if minor >= self.limit]


@asynccontextmanager
async def waiting_world(database: Database, data_dir: Path) -> AsyncIterator[BillingWorld]:
    """Its `net` is what lets accounts wait."""
    checker = Net()
    made = BillingWorld(database, data_dir, PRICES, berlin(2026, 9, 1, 10), accounts_per_batch=5, checker=checker)
    made.net = checker  # type: ignore[attr-defined]
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def two(world: BillingWorld) -> tuple[Line, Line]:
    """Of September, one line used 12 GB: 2.00 above its fee; the other 110 GB, which are 100.00."""
    lines = await world.activate(FIBRE), await world.activate(FIBRE)
    for line, gb, at in zip(lines, (12, 110), (berlin(2026, 9, 2, 10), berlin(2026, 9, 12, 10)), strict=True):
        for told in ((at, 0, 0), (at + timedelta(days=3), 0, gb * GB)):
            world.clock.move_to(told[0])
            await world.account_for(line, told)
    world.clock.move_to(berlin(2026, 10, 1, 6))
    world.net.limit = 15_800  # type: ignore[attr-defined]
    return lines


async def held(world: BillingWorld) -> tuple[BillRunId, Line]:
    """A run in which the dear one of two waits."""
    _, dear = await two(world)
    run = BillRunId(await world.bill())
    assert await world.book.waiting(run) == {dear.account_id}
    return run, dear


async def let_go(world: BillingWorld, run: BillRunId, line: Line, n: int = 1, source: str = CHECK) -> None:
    await world.runs.release(run, line.account_id, source, reason="it was mended", actor="user:bert")
    await world.jobs.wait(f"bill-run.v1:{run}:{n}")


async def nets(world: BillingWorld, line: Line, run: str | None = None) -> list[int]:
    """Of the documents of the line's account, oldest first."""
    wanted = Wanted(account_ids=[line.account_id], bill_run_id=run)
    return [i.net.minor for i in reversed(await world.finance.invoices(wanted, limit=100))]


async def certified(world: BillingWorld, run: BillRunId) -> dict[str, Any]:
    content = certificate.read((await world.certifier.certificates(run))[-1])[0]
    assert all(check["holds"] for check in content["checks"])
    return content


async def intact(world: BillingWorld, line: Line) -> None:
    """Every line of every document of the account is found again from its evidence."""
    for found in await world.finance.invoices(Wanted(account_ids=[line.account_id]), limit=100):
        for each in await world.finance.lines(found.invoice_id):
            explained = await world.explainer.explain(each.line_id)
            assert explained.intact, (each.description, explained.faults)


async def correct_price(world: BillingWorld, month: date) -> None:
    correct = Reratings(world.database, world.clock, BillingSettings(zone=BERLIN))
    await correct.apply(PRICES[0].offering_id, month, (PRICES[0], PRICES[2]), reason="", actor="user:anna")


async def family(world: BillingWorld) -> tuple[Line, Line]:
    """The child's line until October, and then the parent's: 32.00 for the one and 30.00 for the other."""
    hierarchy = HierarchyService(world.database, world.clock)
    parent, child = await world.customer("Holding AG"), await world.customer("Site 1")
    line = await world.activate(FIBRE, child)
    at = berlin(2026, 9, 12, 10)
    await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), 0, 12 * GB))
    world.clock.move_to(berlin(2026, 9, 30, 9))
    await hierarchy.set_parent(child, parent, billed_to_parent=True, heading="Site 1", actor="user:anna")
    await world.bus.drain()
    world.clock.move_to(berlin(2026, 10, 1, 6))
    return line, Line(parent, line.subscription_id, line.service_id, line.session_key)


async def held_by_hand(world: BillingWorld, *accounts: AccountId) -> str:
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test", hold="wait")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    for account_id in accounts:
        await world.runs.hold(run.bill_run_id, account_id, reason="a call", actor="user:anna")
    await world.book.release(run.bill_run_id, WHOLE_RUN, "person", reason="go", actor="user:anna")
    await world.runs.resume()
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    return run.bill_run_id

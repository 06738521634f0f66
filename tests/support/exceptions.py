"""A world whose bills are checked against a catalogue and a book of sales of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from billing_bridge.billing import holds
from billing_bridge.checks.queue import HELD, Waiter, Wanted
from billing_bridge.checks.service import ChecksService
from billing_bridge.settings import BillingSettings
from controller.domain.clock import MovableClock
from controller.domain.identity import AccountId, BillRunId, OfferingVersionId
from controller.domain.ports import AccountSales, ChargeChecker, RatedBatch, SoldProduct, Waiting
from controller.domain.price import Flat, PricePlan
from controller.domain.units import GB
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList, tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

PLAN, GIVEN_AWAY, RIGHT = "a" * 32, "9" * 32, "8" * 32
BY = {"actor": "user:anna", "reason": "the price was agreed by telephone"}


@dataclass
class Sales:
    """A SalesBook of what tests say was sold."""

    sold: dict[AccountId, dict[str, SoldProduct]] = field(default_factory=dict)

    def add(self, line: Line, version_id: str, at: object) -> None:
        product = SoldProduct(OfferingVersionId(version_id), 1, at)  # type: ignore[arg-type]
        self.sold.setdefault(line.account_id, {})[line.subscription_id] = product

    async def sold_in(self, conn: object, account_ids: Sequence[AccountId]) -> Mapping[AccountId, AccountSales]:
        return {i: AccountSales("EUR", self.sold.get(i, {})) for i in account_ids}


@dataclass
class Later:
    """The checker of a world that is made before its checks."""

    checks: ChargeChecker | None = None
    batches: list[RatedBatch] = field(default_factory=list)

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        assert self.checks is not None
        self.batches.append(batch)
        return await self.checks.check(batch)


class Office:
    """A world whose bills are checked against a catalogue and a book of sales of their own."""

    line: Line
    """Whose bill waits."""

    def __init__(self, database: Database, directory: Path) -> None:
        version = tariff(PLAN, "30.00", included=10 * GB)
        self.given_away = tariff(GIVEN_AWAY, "0.00")
        later = Later()
        self.world = BillingWorld(database, directory, [version, self.given_away], berlin(2026, 9, 1, 9), checker=later)
        self.version = version
        self.catalog, self.sales = PriceList([version, self.given_away]), Sales()
        self.clock: MovableClock = self.world.clock
        self.checks = later.checks = ChecksService(
            database, self.clock, BillingSettings(zone=BERLIN), catalog=self.catalog, sales=self.sales
        )
        self.batches = later.batches
        self.checks.let_go = self.let_go

    async def let_go(self, bill_run_id: BillRunId, account_id: AccountId, actor: str, reason: str) -> None:
        await self.world.runs.release(bill_run_id, account_id, holds.CHECK, reason=reason, actor=actor)

    async def waits(self, run: BillRunId) -> set[AccountId]:
        return await self.world.runs.book.waiting(run)

    async def run_again(self, run: BillRunId) -> None:
        """Wait for the job that a release has started."""
        await self.world.jobs.wait(f"bill-run.v1:{run}:1")

    def agree(self, fee: str) -> None:
        """The catalogue says another fee than billing has copied."""
        plan = PricePlan(prices=(Flat(code="fee", amount=Decimal(fee)), *self.version.plan.prices[1:]))
        self.catalog.add(replace(self.version, plan=plan))

    async def bill(self) -> BillRunId:
        await self.world.launch()
        return BillRunId(await self.world.bill())

    async def waiting(self, state: str | None = HELD) -> list[Waiter]:
        return await self.checks.page(Wanted(state), "", 100)

    async def documents(self, run: BillRunId) -> int:
        return (await self.world.billing.bill_run(run)).documents


@asynccontextmanager
async def office_of(database: Database, directory: Path) -> AsyncIterator[Office]:
    made = Office(database, directory)
    await made.world.entity()
    try:
        yield made
    finally:
        await made.world.close()

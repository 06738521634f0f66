"""Part `billing`: a bill run from the first rating to the certificate, at three sizes, on SQLite and on PostgreSQL.

Each subscription has an account, a plan with volume, and a month of usage by day, as mediation leaves it. Only the run
is timed, by the clock and in processor time of this process; making the subscriptions is not. A run with checks looks
at each bill before it leaves.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import structlog
import uvloop
from sqlalchemy import text

from bench.postgres import Postgres, binaries
from bench.results import Result
from billing_bridge.billing.run_book import RunBook
from billing_bridge.billing.service import BillingService
from billing_bridge.checks.service import ChecksService
from billing_bridge.mediation.service import MediationService
from billing_bridge.settings import BillingSettings
from billing_bridge.tables import entitlement, subscription, tariff, usage_day
from controller.app.cli import GC_THRESHOLDS
from controller.app.schema import metadata
from controller.domain.clock import Clock, MovableClock
from controller.domain.identity import AccountId, OfferingId, OfferingVersionId, new_id
from controller.domain.ports import ChargeChecker
from controller.domain.price import Flat, Overage, PricePlan
from controller.domain.price_text import plan_to_json
from controller.domain.tariff import TariffVersion
from controller.domain.units import GB
from controller.store.engine import Database
from controller.store.jobs import Jobs
from controller.store.many import insert_all, insert_rows
from controller.store.secrets import SecretBox
from controller.store.usage_reader import UsageLogReader
from controller.workflows.bill_run import BillRuns
from controller.workflows.certify import Certifier
from erp.catalog.service import CatalogService
from erp.crm.service import CrmService
from erp.crm.tables import account, customer
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from erp.orders.sales import OrderedSales

SQLITE_SIZES = (1_000, 10_000)
POSTGRES_SIZES = (1_000, 10_000, 100_000)
SQLITE_GOAL_S = 30.0
CHECKED_SIZE = 10_000
"""Of the run on PostgreSQL that checks each bill before it leaves, as a site's runs do."""
MS_GOAL = 0.9
"""A million in 15 minutes."""

_ACTIVATED = datetime(2026, 8, 31, 22, tzinfo=UTC)
_BILLED = datetime(2026, 10, 1, 4, tzinfo=UTC)
_MONTH = [date(2026, 9, 1) + timedelta(days=n) for n in range(30)]
_AT_ONCE = 2_000


def run(_seconds: float, _rounds: int) -> Sequence[Result]:
    """Every size in a database of its own, on the event loop that `headend serve` has."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        for size in SQLITE_SIZES:
            directory = Path(name) / f"sqlite-{size}"
            directory.mkdir()
            results.append(uvloop.run(_measure(f"sqlite+aiosqlite:///{directory}/bench.db", directory, size)))
        if binaries() is None:
            return results
        with Postgres(Path(name) / "postgres", core="0,1") as postgres:
            for size, checked in [*((size, False) for size in POSTGRES_SIZES), (CHECKED_SIZE, True)]:
                called = f"billing_{size}{'_checked' if checked else ''}"
                directory = Path(name) / called
                directory.mkdir()
                postgres.create(called)
                url = postgres.dsn(called).replace("postgresql://", "postgresql+psycopg://")
                results.append(uvloop.run(_measure(url, directory, size, postgres, checked=checked)))
    return results


async def _measure(
    url: str, directory: Path, size: int, postgres: Postgres | None = None, *, checked: bool = False
) -> Result:
    database, clock, crm = await site(url, size)
    jobs, runs = room(database, clock, crm, directory, checks(database, clock) if checked else None)
    await jobs.launch()
    gc.collect()
    gc.freeze()  # as `headend serve` does
    gc.set_threshold(*GC_THRESHOLDS)
    before_mb = _peak_mb()
    helper = _helper(url, directory, checked=checked) if postgres else None
    began, cpu, theirs = time.perf_counter(), time.process_time(), postgres.processor_s() if postgres else 0.0
    made = await runs.start(as_of=None, account_id=None, actor="user:bench")
    documents = await jobs.wait(f"bill-run.v1:{made.bill_run_id}", poll_s=0.25)
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    theirs = postgres.processor_s() - theirs if postgres else 0.0
    assert documents == size, f"{documents} documents for {size} subscriptions"
    if helper is not None:
        helper.communicate()
    await jobs.close()
    await database.close()
    name = "SQLite" if database.is_sqlite else "PostgreSQL with checks" if checked else "PostgreSQL"
    ms = took * 1000 / size
    scale = (
        f"{size:,} subscriptions with a month of usage, {took:.1f} s, {spent * 1000 / size:.2f} ms CPU in this process"
        f"{f', {theirs * 1000 / size:.2f} ms in PostgreSQL, the rest in a helper' if postgres else ''},"
        f" {_peak_mb() - before_mb} MB more at the peak"
    )
    goal, met = f"<= {MS_GOAL} ms", ms <= MS_GOAL
    if database.is_sqlite:
        goal, met = f"10,000 in {SQLITE_GOAL_S:.0f} s", ms <= SQLITE_GOAL_S / 10
    return Result(f"bill run on {name}, per invoice", round(ms, 3), "ms", scale, goal=goal, met=met)


async def site(url: str, size: int) -> tuple[Database, Clock, CrmService]:
    """A database with so many subscriptions and their month of usage, on the day on which they are billed."""
    database, clock = Database(url), MovableClock(_BILLED)
    async with database.begin() as conn:
        await conn.run_sync(metadata.create_all)
    crm = CrmService(database, clock)
    await crm.ensure_entity(
        name="Bench GmbH",
        zone="Europe/Berlin",
        currency="EUR",
        locale="de_DE",
        address="Kabelweg 1\n10115 Berlin",
        tax_id="DE123456788",
    )
    await _subscriptions(database, (await crm.entity()).entity_id, size)
    if not database.is_sqlite:
        async with database.begin() as conn:
            # Subscribers of years are not news to the planner; of tables that are empty nobody would have told it.
            for table in (customer, account, subscription, entitlement, usage_day):
                await conn.execute(text(f"ANALYZE {table.name}"))
    return database, clock, crm


def checks(database: Database, clock: Clock) -> ChecksService:
    """What looks at each bill before it leaves."""
    catalog = CatalogService(database, clock)
    return ChecksService(database, clock, BillingSettings(), catalog=catalog, sales=OrderedSales())


def room(
    database: Database, clock: Clock, crm: CrmService, directory: Path, checker: ChargeChecker | None = None
) -> tuple[Jobs, BillRuns]:
    """Everything that a bill run needs, as the program puts it together, without checks where there is no checker."""
    settings, usage, book = BillingSettings(), UsageLogReader(database), RunBook(database, clock)
    finance = FinanceService(database, clock, crm, FinanceSettings())
    billing = BillingService(database, clock, CatalogService(database, clock), settings)
    mediation = MediationService(database, clock, usage, settings)
    certifier = Certifier(database, clock, SecretBox([bytes(32)]), book, finance, usage)
    jobs = Jobs(database.url, directory / "jobs")
    runs = BillRuns(database, clock, jobs, billing, mediation, finance, usage, certifier=certifier, checker=checker)
    runs.register()
    return jobs, runs


def _helper(url: str, directory: Path, *, checked: bool) -> subprocess.Popen[str]:
    """A second process that takes batches from the queue; it listens when this returns."""
    command = [sys.executable, "-m", "bench.billing", url, str(directory / "helper"), *(["checked"] if checked else [])]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "listening":
        raise SystemExit("the helper of the bill run did not start")
    return process


async def help_until_told(url: str, directory: Path, *, checked: bool) -> None:
    """What the helper does, until its standard input ends."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    database, clock = Database(url), MovableClock(_BILLED)
    jobs, _ = room(
        database, clock, CrmService(database, clock), directory, checks(database, clock) if checked else None
    )
    await jobs.launch()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    print("listening", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await jobs.close()
    await database.close()


async def _subscriptions(database: Database, entity_id: str, size: int) -> None:
    version = _version()
    async with database.begin() as conn:
        await insert_rows(
            conn,
            tariff,
            (
                "version_id", "offering_id", "offering_name", "number", "effective_on", "currency", "tax_percent",
                "tax_category", "kind", "cycle", "plan", "names",
            ),
            [
                (
                    version.version_id, version.offering_id, version.offering_name, 1, version.effective_on, "EUR",
                    version.tax_percent, "S", "internet", "month", plan_to_json(version.plan), "[]",
                )
            ],
        )  # fmt: skip
    chance = random.Random(7)
    for first in range(0, size, _AT_ONCE):
        await _some(database, entity_id, version.version_id, range(first, min(size, first + _AT_ONCE)), chance)


async def _some(database: Database, entity_id: str, version_id: str, numbers: range, chance: random.Random) -> None:
    people = [(AccountId(new_id(_ACTIVATED)), new_id(_ACTIVATED), new_id(_ACTIVATED)) for _ in numbers]
    customers = [
        (a, entity_id, f"Customer {n}", "", "", f"Straße {n}\n20095 Hamburg", "", "", _ACTIVATED)
        for n, (a, _, _) in zip(numbers, people, strict=True)
    ]
    days = [
        (service, day, chance.getrandbits(29), chance.getrandbits(32), 48, n * 30 + place)
        for n, (_, _, service) in zip(numbers, people, strict=True)
        for place, day in enumerate(_MONTH)
    ]
    async with database.begin() as conn:
        await insert_rows(
            conn,
            customer,
            ("customer_id", "entity_id", "name", "email", "phone", "address", "language", "tax_id", "created_at"),
            customers,
        )
        rows = [(a, a, "EUR", "Europe/Berlin", _ACTIVATED) for a, _, _ in people]
        await insert_rows(conn, account, ("account_id", "customer_id", "currency", "zone", "created_at"), rows)
        await insert_all(
            conn,
            subscription,
            [
                {
                    "subscription_id": s,
                    "account_id": a,
                    "service_id": v,
                    "anchor_day": 1,
                    "phase_on": _MONTH[0],
                    "rate_from_on": _MONTH[0],
                }
                for a, s, v in people
            ],
        )
        await insert_all(
            conn,
            entitlement,
            [
                {
                    "subscription_id": s,
                    "at": _ACTIVATED,
                    "version_id": version_id,
                    "quantity": 1,
                    "event_id": s,
                    "event_name": "ServiceActivated",
                    "order_id": s,
                }
                for _, s, _ in people
            ],
        )
        columns = ("service_id", "day", "upstream_octets", "downstream_octets", "intervals", "last_interval_id")
        await insert_rows(conn, usage_day, columns, days)


def _version() -> TariffVersion:
    plan = PricePlan(
        prices=(
            Flat(code="fee", amount=Decimal("29.90")),
            Overage(code="data", price=Decimal("0.05"), included=20 * GB),
        )
    )
    return TariffVersion(
        version_id=OfferingVersionId("b" * 32),
        offering_id=OfferingId("c" * 32),
        offering_name="Fibre 100",
        number=1,
        effective_on=date(2026, 1, 1),
        currency="EUR",
        tax_percent=Decimal(19),
        plan=plan,
        speed=None,
    )


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    uvloop.run(help_until_told(sys.argv[1], Path(sys.argv[2]), checked=sys.argv[3:] == ["checked"]))

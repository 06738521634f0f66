"""What checking costs: a bill run with its checks beside the same run without; and a look at leakage of a whole site.

Runs are interleaved, in processor time of this process, each in a database of its own.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select, update

from bench.billing import checks, room, site
from bench.results import Result
from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.leakage import LIVE_NOT_BILLED
from billing_bridge.tables import subscription
from collectors.onus import OnuSightings
from controller.domain.clock import Clock
from controller.domain.identity import ServiceId
from controller.store.engine import Database
from controller.store.many import insert_rows
from controller.workflows.leakage import Leakage
from erp.catalog.service import CatalogService
from erp.inventory.service import InventoryService
from radius.live import LiveAccess
from radius.tables import subscriber

SIZE = 2_000
"""Subscriptions of a run."""
SERVICES = 100_000
"""Services of a site whose leakage is looked for."""
HANDMADE = 1_000
"""Logins among them that nobody is billed for."""
_PAGE = 100


def run(rounds: int) -> Sequence[Result]:
    """Both parts, on SQLite."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(prefix="headend-bench-", dir="/tmp") as name:
        spent: dict[bool, list[float]] = {False: [], True: []}
        for number in range(rounds):
            for checked in (False, True):
                directory = Path(name) / f"run-{number}-{checked}"
                directory.mkdir()
                spent[checked].append(asyncio.run(_bill(directory, checked=checked)))
        plain, with_checks = median(spent[False]), median(spent[True])
        each = f"{SIZE:,} invoices on SQLite, {rounds} runs of each"
        costs = [
            Result("bill run without checks: CPU", round(plain, 3), "ms per invoice", each),
            Result(
                "bill run with checks: CPU", round(with_checks, 3), "ms per invoice", each,
                "without", round(plain, 3), round(with_checks / plain, 3),
            ),
        ]  # fmt: skip
        return [*costs, *asyncio.run(_leakage(Path(name)))]


async def _bill(directory: Path, *, checked: bool) -> float:
    """Milliseconds of processor time per invoice."""
    database, clock, crm = await site(f"sqlite+aiosqlite:///{directory}/bench.db", SIZE)
    jobs, runs = room(database, clock, crm, directory, checks(database, clock) if checked else None)
    await jobs.launch()
    gc.collect()
    gc.freeze()
    began = time.process_time()
    made = await runs.start(as_of=None, account_id=None, actor="user:bench")
    documents = await jobs.wait(f"bill-run.v1:{made.bill_run_id}")
    spent = time.process_time() - began
    gc.unfreeze()
    await jobs.close()
    await database.close()
    assert documents == SIZE, f"{documents} documents: checks have held bills that are right"
    return spent * 1000 / SIZE


class _NoOnus:
    """An AccessMap of a site without a PON."""

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        return {}


async def _leakage(directory: Path) -> list[Result]:
    database, clock, _ = await site(f"sqlite+aiosqlite:///{directory}/leakage.db", SERVICES)
    await _logins(database, clock)
    looked = Leakage(
        database,
        clock,
        ZoneInfo("Europe/Berlin"),
        "EUR",
        billed=BilledLines(database),
        catalog=CatalogService(database, clock),
        inventory=InventoryService(database, clock),
        radius=LiveAccess(database),
        onus=OnuSightings(database),
        access=_NoOnus(),
    )
    before = _peak_mb()
    began, cpu = time.perf_counter(), time.process_time()
    found = await looked.note()
    took, spent = time.perf_counter() - began, time.process_time() - cpu
    own = [leak for leak in found if leak.side == LIVE_NOT_BILLED]
    assert len(own) == HANDMADE, f"{len(own)} logins without a bill found, {HANDMADE} made"
    pages: list[float] = []
    after = 0
    while rows := await _timed(looked, after, pages):
        after = rows
    await database.close()
    scale = f"{SERVICES:,} services, {HANDMADE:,} of them not billed, SQLite"
    return [
        Result("leakage: a look", round(took, 2), "s", f"{scale}, {spent:.2f} s CPU, {_peak_mb() - before} MB more"),
        Result("leakage: a page", round(1000 * max(pages), 2), "ms", f"{scale}, the slowest of {len(pages)} pages"),
    ]


async def _timed(looked: Leakage, after: int, pages: list[float]) -> int | None:
    """The rank of the last row of the page after `after`; None of an empty one."""
    began = time.perf_counter()
    rows = await looked.page(LIVE_NOT_BILLED, after, _PAGE)
    pages.append(time.perf_counter() - began)
    return rows[-1].rank if rows else None


async def _logins(database: Database, clock: Clock) -> None:
    """One of each service that is billed, and some of services that nobody knows."""
    columns = (
        "username", "service_id", "password", "profile_name", "downstream_bps", "upstream_bps", "enabled", "withdrawn",
        "revision", "updated_at",
    )  # fmt: skip
    async with database.begin() as conn:
        days = {"entitled_from_on": subscription.c.rate_from_on, "entitled_until_on": date.max}
        await conn.execute(update(subscription).values(days))
        services = list(await conn.scalars(select(subscription.c.service_id)))
        services += [f"{n:032x}" for n in range(HANDMADE)]
        rows = [
            (f"user-{n}", service, b"sealed", "p100", 100_000_000, 40_000_000, True, False, n, clock.now())
            for n, service in enumerate(services)
        ]
        await insert_rows(conn, subscriber, columns, rows)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

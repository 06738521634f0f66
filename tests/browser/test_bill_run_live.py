"""A bill run watched in a real browser while it works, and one of its lines followed down to the packets behind it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.ports import RatedBatch, Waiting
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import routes_bill_runs, routes_billing
from controller.workflows.preview import Previews
from erp.crm import routes as crm_routes
from erp.finance import routes as finance_routes
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
NAMES = ("Ada Lovelace", "Grace Hopper & Söhne GmbH", "Erika Beispiel", "Mary Somerville")


class Gate:
    """A ChargeChecker that lets one batch pass for each time that it is told to."""

    def __init__(self) -> None:
        self.passes = asyncio.Semaphore(0)

    async def check(self, batch: RatedBatch) -> Sequence[Waiting]:
        await self.passes.acquire()
        return ()


@dataclass
class Office:
    address: str
    database: Path
    loop: asyncio.AbstractEventLoop
    gate: Gate

    def let_pass(self, batches: int) -> None:
        for _ in range(batches):
            self.loop.call_soon_threadsafe(self.gate.passes.release)


@pytest.fixture
def office(sqlite_template: Path, tmp_path: Path) -> Iterator[Office]:
    """Four lines, a batch each, on the second of October; the first of them was told of 5 GB of August that day."""
    made: list[tuple[asyncio.AbstractEventLoop, BillingWorld, Gate]] = []

    async def furnish(database: Database) -> Furnished:
        gate = Gate()
        prices = [tariff("a" * 32, "30.00", included=10 * GB)]
        world = BillingWorld(
            database, tmp_path / "jobs", prices, berlin(2026, 8, 1, 10), accounts_per_batch=1, checker=gate
        )
        await world.entity()
        await world.launch()
        made.append((asyncio.get_running_loop(), world, gate))
        lines = [await world.activate("a" * 32, await world.customer(name)) for name in NAMES]
        world.clock.move_to(berlin(2026, 9, 2, 9))
        for _ in NAMES:
            gate.passes.release()
        await world.bill()
        for line in lines:
            at = berlin(2026, 9, 5, 9)
            await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), GB, 12 * GB))
        late = berlin(2026, 8, 20, 9)
        nobody, known = replace(lines[0], session_key="8" * 32), replace(lines[0], session_key="9" * 32)
        await world.account_for(nobody, (late, 0, 0), (late + timedelta(hours=2), 0, GB), unmapped=True)
        await world.account_for(known, (late, 0, 0), (late + timedelta(hours=1), 0, 15 * GB))
        world.clock.move_to(berlin(2026, 10, 2, 6))

        previews = Previews(world.billing, world.book, world.finance)
        rooms = [crm_routes.endpoints(world.crm), finance_routes.endpoints(world.finance)]
        rooms.append(routes_bill_runs.endpoints(world.runs, world.billing, world.certifier, previews))
        rooms.append(routes_billing.endpoints(world.explainer))
        return world.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        ((loop, world, gate),) = made
        yield Office(url, tmp_path / "headend.db", loop, gate)
        for _ in NAMES:
            loop.call_soon_threadsafe(gate.passes.release)  # or a run that is under way would not end
        asyncio.run_coroutine_threadsafe(world.close(), loop).result(30)


def test_a_run_is_seen_to_move_and_its_lines_lead_to_their_packets(chromium: Chromium, office: Office) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, office.address, "/bill-runs")
    page.get_by_role("link", name="Bill run …").first.click()
    page.get_by_label("What").select_option("real")
    page.get_by_role("button", name="Start").click()

    share, phase = page.locator("#share"), page.locator("#phase")
    expect(phase).to_have_text("rates and checks accounts")
    expect(share).to_have_text("0 %")
    page.evaluate("window.stays = true")
    office.let_pass(2)
    expect(share).to_have_text("25 %")  # two of four batches checked, none issued
    office.let_pass(1)
    expect(share).to_have_text("37 %")
    assert page.evaluate("window.stays"), "it moved without being read anew"
    assert_fits_both_widths(page)
    office.let_pass(1)
    expect(page.get_by_text("Certificate 1, signed by key")).to_be_visible()
    expect(share).to_have_count(0)

    late = page.locator("section.card", has_text="Came late for its own bill")
    expect(late.get_by_role("row", name="Ada Lovelace")).to_contain_text("2026-08-01")
    expect(late.get_by_role("row", name="Ada Lovelace")).to_contain_text("2,50 EUR")
    waits = page.locator("section.card", has_text="In suspense when it was signed")
    expect(waits.get_by_role("row", name="unknown-service")).to_contain_text("1")
    assert_fits_both_widths(page)

    page.goto(f"{office.address}/invoices?q=Hopper")
    page.get_by_role("link", name="INV-2026-").first.click()
    page.get_by_role("link", name="GB beyond the included volume").click()
    expect(page.locator("dl.facts").first).to_contain_text("verified")
    expect(page.locator("section.card", has_text="Price")).to_contain_text("Fibre 100")
    expect(page.locator("section.card", has_text="How it was worked out")).to_contain_text("rounded once")
    records = page.locator("section.card", has_text="Usage records").locator("tbody tr")
    expect(records).to_have_count(1)
    expect(records).to_contain_text("12")
    assert_fits_both_widths(page)

    alter_the_record_of(page.url.rpartition("/")[2], office.database)
    page.reload()
    expect(page.locator("dl.facts").first).to_contain_text("mismatch")
    expect(page.get_by_text(re.compile(r"^record \d+: ")).first).to_be_visible()
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Invoice INV-2026-").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Invoice INV-2026-")
    chromium.assert_clean(office.address)


def alter_the_record_of(line_id: str, file: Path) -> None:
    """As somebody with the database's own tools would, its triggers out of the way."""
    with sqlite3.connect(file, timeout=30) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            connection.execute(f"DROP TRIGGER {name}")
        service = "SELECT service_id FROM finance_invoice_line WHERE line_id = ?"
        connection.execute(
            f"UPDATE store_usage_record SET downstream_octets = downstream_octets - 1 WHERE service_id = ({service})"
            " AND downstream_octets > 0",
            (line_id,),
        )
    connection.close()

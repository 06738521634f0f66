"""A misprinted price is corrected in a real browser: seen first, by customer and line, and issued as it was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing_bridge.billing.rerating import Reratings
from billing_bridge.settings import BillingSettings
from controller.domain.clock import MovableClock
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from controller.workflows import rerate, routes_bill_runs
from controller.workflows.preview import Previews
from erp.catalog import routes as catalog_routes
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm import routes as crm_routes
from erp.finance import routes as finance_routes
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.plans import plan_of
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
SPEED = SpeedProfile("fibre-100", 100_000_000, 40_000_000)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Two lines were billed 30.00 for September; the version that should have been in force says 25.00."""
    made: list[tuple[asyncio.AbstractEventLoop, BillingWorld]] = []

    async def furnish(database: Database) -> Furnished:
        catalog = CatalogService(database, MovableClock(berlin(2026, 8, 1)))
        terms = [VersionTerms(date(2026, 8, 1), "EUR", Decimal(19), plan_of(fee), SPEED) for fee in ("30.00", "25.00")]
        by = "user:anna"
        offering = await catalog.create_offering(Product("Fibre 100"), terms[0], actor=by)
        offering = await catalog.add_version(offering.offering_id, terms[1], actor=by)
        prices = [version.tariff for version in offering.versions]
        world = BillingWorld(database, tmp_path / "jobs", prices, berlin(2026, 9, 1, 10))
        await world.entity()
        await world.launch()
        made.append((asyncio.get_running_loop(), world))
        for name in ("Ada Lovelace", "Grace Hopper & Söhne GmbH, Niederlassung Hamburg"):
            await world.activate(prices[0].version_id, await world.customer(name))
        await world.bill()
        world.clock.move_to(berlin(2026, 9, 20, 6))
        reratings = Reratings(database, world.clock, BillingSettings(zone=BERLIN))

        previews = Previews(world.billing, world.book, world.finance)
        rooms = [crm_routes.endpoints(world.crm), finance_routes.endpoints(world.finance)]
        rooms += [catalog_routes.endpoints(catalog), rerate.endpoints(catalog, reratings, world.runs)]
        rooms.append(routes_bill_runs.endpoints(world.runs, world.billing, world.certifier, previews))
        return world.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url
        ((loop, world),) = made
        asyncio.run_coroutine_threadsafe(world.close(), loop).result(30)


def test_a_price_is_corrected_as_it_was_shown(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/reratings", "billing-user")
    expect(page.get_by_text("No month was rated again.")).to_be_visible()
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Rate a month again").first.click()
    page.get_by_label("Offering").select_option("Fibre 100")
    page.get_by_label("Periods that began in").fill("2026-09")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_label("Periods that began in")).to_have_value("2026-09")
    page.get_by_label("Why").fill("misprint")
    page.get_by_role("button", name="Show what it changes").click()
    expect(page.get_by_text("Nothing changes")).to_be_visible()
    expect(page.get_by_role("button", name="Issue the notes")).to_have_count(0)
    page.get_by_label("Version whose price was wrong").select_option(index=1)
    page.get_by_role("button", name="Show what it changes").click()
    expect(page.get_by_role("alert").first).to_contain_text("name both")
    page.get_by_label("Price it as version").select_option(index=2)
    page.get_by_role("button", name="Show what it changes").click()
    expect(page.locator("dl.facts")).to_contain_text("-10,00 EUR")
    expect(page.locator(".bars dl > div", has_text="Ada Lovelace")).to_contain_text("-5,00 EUR")
    assert_fits_both_widths(page)
    page.get_by_label("Price it as version").select_option(index=1)
    page.get_by_role("button", name="Issue the notes").click()
    expect(page.get_by_role("alert").first).to_contain_text("not those that were shown")
    page.get_by_label("Price it as version").select_option(index=2)
    page.get_by_role("button", name="Show what it changes").click()
    page.get_by_role("button", name="Issue the notes").click()
    page.wait_for_url("**/bill-runs/*")
    expect(page.get_by_role("link", name="Certificate")).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/reratings")
    expect(page.get_by_role("row", name="misprint")).to_contain_text("version 1 priced as version 2")
    assert_fits_both_widths(page)
    page.goto(f"{address}/invoices?q=Ada")
    expect(page.get_by_role("row", name="CN-")).to_contain_text("-5,95 EUR")
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # versions that were not both named
    chromium.assert_clean(address)

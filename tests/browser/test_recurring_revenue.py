"""Recurring revenue in a real browser, over the real services: a day, what moved it, and whose lines it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from billing_bridge.mrr import routes
from billing_bridge.mrr.service import RecurringRevenue
from billing_bridge.settings import BillingSettings
from controller.domain.identity import OfferingVersionId
from controller.store.engine import Database
from erp.crm import routes as crm_routes
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
A, B = (OfferingVersionId(c * 32) for c in "ab")


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Ada begins in January and changes to more in February; Grace begins in January and pauses."""

    async def furnish(database: Database) -> Furnished:
        prices = [tariff(A, "30.00"), tariff(B, "47.11", name="Fibre 250 with a long name")]
        world = BillingWorld(database, tmp_path, prices, berlin(2027, 1, 10, 9))
        await world.entity()
        ada = await world.activate(A, await world.customer("Ada Lovelace"))
        grace = await world.activate(B, await world.customer("Grace Hopper & Söhne GmbH"))
        world.clock.move_to(berlin(2027, 2, 3, 9))
        await world.change(ada, A, B)
        await world.pause(grace, date(2027, 2, 10), date(2027, 2, 20), 0)
        world.clock.move_to(berlin(2027, 2, 15, 9))
        revenue = RecurringRevenue(database, world.clock, BillingSettings(zone=BERLIN))
        return world.clock, [*routes.endpoints(revenue), *crm_routes.endpoints(world.crm)]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def shown(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert_fits_both_widths(page)


def test_a_day_leads_to_what_moved_it_and_to_whose_lines_it_is_made_of(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/recurring-revenue", "billing-user")
    shown(page, "Recurring revenue")
    expect(page.locator("dl.totals")).to_contain_text("47,11 EUR")
    expect(page.get_by_role("row", name="All days")).to_contain_text("77,11 EUR")
    page.get_by_role("link", name="2027-02-10").click()
    shown(page, "What moved recurring revenue")
    expect(page.get_by_role("row", name="Grace Hopper")).to_contain_text("-47,11 EUR")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_have_count(0)
    page.goto(f"{address}/recurring-revenue?since=2027-01-01")
    page.get_by_role("link", name="Lines").click()
    shown(page, "Lines with a fee")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("Fibre 250 with a long name (version 1)")
    page.goto(f"{address}/recurring-revenue/movements?since=2027-01-01&until=2027-01-09")
    expect(page.get_by_text("Nothing moved on these days.")).to_be_visible()
    chromium.assert_clean(address)
    page.goto(f"{address}/recurring-revenue?since=2027-02-01&until=2027-03-01")
    expect(page.get_by_text("has not come yet")).to_be_visible()

"""A customer's own look at usage in a real browser: a link is made on a form, opened by a stranger, and withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing_bridge.billing.accounts import AccountBilling
from billing_bridge.reading import BillingReader
from billing_bridge.settings import BillingSettings
from controller.domain.identity import OfferingVersionId
from controller.store.engine import Database
from controller.workflows import routes_customer_usage
from controller.workflows.customer_usage import CustomerUsage
from erp.crm import routes as crm_routes
from erp.crm import usage_link_routes
from erp.crm.usage_links import UsageLinks
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
PLAN = OfferingVersionId("a" * 32)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Ada used something on each day of September, was billed in October, and goes on using."""

    async def furnish(database: Database) -> Furnished:
        prices = [tariff(PLAN, "30.00", included=0, overage="0.05", name="Fibre 250 for the whole family")]
        world = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 1, 9))
        await world.entity()
        await world.launch()
        line = await world.activate(PLAN, await world.customer("Ada Lovelace"))
        at = berlin(2026, 9, 1, 10)
        totals = [(at + timedelta(hours=12 * n), n * 300_000_001, n * (2 + n // 9) * 10**9) for n in range(70)]
        await world.account_for(line, *totals)
        world.clock.move_to(berlin(2026, 10, 6, 9))
        await world.bill()
        await world.close()
        links = UsageLinks(database, world.clock)
        accounts = AccountBilling(database, world.clock, world.crm, BillingSettings(zone=BERLIN))
        own = CustomerUsage(links, world.crm, accounts, BillingReader(database), world.finance)
        return world.clock, [
            *crm_routes.endpoints(world.crm),
            *usage_link_routes.endpoints(links),
            *routes_customer_usage.endpoints(own),
        ]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_a_customer_sees_the_own_usage_by_a_link_until_it_is_withdrawn(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=1440, height=900)
    sign_in(page, address, "/customers", "billing-user")
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="Show them their usage").click()
    expect(page.get_by_text("None was made yet.")).to_be_visible()
    page.get_by_role("button", name="Make a link").click()
    link = page.locator("dl", has_text="Address").get_by_text("/my-usage/").inner_text()
    assert_fits_both_widths(page)

    stranger = chromium.page(width=TELEPHONE, height=900)
    stranger.goto(link)
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Usage in October 2026")
    expect(stranger.get_by_text("Nothing of this month is on an invoice yet.")).to_be_visible()
    stranger.get_by_role("link", name="September 2026").click()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Usage in September 2026")
    expect(stranger.locator(".bars dl > div")).to_have_count(30)
    row = stranger.locator("table tbody tr")
    expect(row).to_have_count(1)
    counted = row.locator("[data-value]").evaluate_all("all => all.map(one => one.dataset.value)")
    whole = stranger.locator("dl.facts [data-value]").get_attribute("data-value")
    assert counted == [whole, whole]
    assert_fits_both_widths(stranger)
    assert stranger.locator("nav").count() == 0
    chromium.assert_clean(address)

    page.get_by_role("link", name="Withdraw").click()
    page.get_by_role("button", name="Withdraw it").click()
    expect(page.get_by_role("link", name="Withdraw")).to_have_count(0)
    stranger.reload()
    expect(stranger.get_by_role("heading", level=1)).to_have_text("Not Found")
    expect(stranger.get_by_text("Ask for a new one")).to_be_visible()

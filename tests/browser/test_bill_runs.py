"""Bill runs in a real browser: a preview, the run that is made of it, waits, is let go and ends with a certificate."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import routes_bill_runs
from controller.workflows.preview import Previews
from erp.crm import routes as crm_routes
from erp.finance import routes as finance_routes
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, Line, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


@dataclass
class Office:
    """A site to look at, and the world behind it, which lives on a loop of its own."""

    address: str
    loop: asyncio.AbstractEventLoop
    world: BillingWorld
    lines: list[Line]

    def tell(self, what: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(what, self.loop).result(30)


@pytest.fixture
def office(sqlite_template: Path, tmp_path: Path) -> Iterator[Office]:
    """Three lines with a month of usage, to be billed on the first of October."""
    made: list[tuple[asyncio.AbstractEventLoop, BillingWorld]] = []
    lines: list[Line] = []

    async def furnish(database: Database) -> Furnished:
        prices = [tariff("a" * 32, "30.00", included=10 * GB)]
        world = BillingWorld(database, tmp_path / "jobs", prices, berlin(2026, 9, 1, 10))
        await world.entity()
        await world.launch()
        made.append((asyncio.get_running_loop(), world))
        for n, name in enumerate(("Ada Lovelace", "Grace Hopper & Söhne GmbH", "Erika Beispiel")):
            line = await world.activate("a" * 32, await world.customer(name))
            lines.append(line)
            at = world.clock.now() + timedelta(hours=1)
            await world.account_for(line, (at, 0, 0), (at + timedelta(days=3), n * GB, (8 + 4 * n) * GB))
        world.clock.move_to(berlin(2026, 10, 1, 6))

        previews = Previews(world.billing, world.book, world.finance)
        rooms = [crm_routes.endpoints(world.crm), finance_routes.endpoints(world.finance)]
        rooms.append(routes_bill_runs.endpoints(world.runs, world.billing, world.certifier, previews))
        return world.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        ((loop, world),) = made
        yield (found := Office(url, loop, world, lines))
        found.tell(world.close())


def test_a_preview_becomes_a_run_that_waits_and_is_certified(chromium: Chromium, office: Office) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, office.address, "/bill-runs")
    expect(page.get_by_text("Nothing was billed yet.")).to_be_visible()
    page.get_by_role("link", name="Bill run …").first.click()
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_text("What it would come to")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Grace Hopper & Söhne GmbH")).to_be_visible()
    assert_fits_both_widths(page)

    page.get_by_role("link", name="Issue what is shown …").click()
    page.get_by_label("Hold first, because").fill("the board wants to see it")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("the whole run")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Nothing: it is what was shown.")).to_be_visible()

    page.get_by_role("link", name="Let go …").click()
    page.get_by_label("Why").fill("seen")
    page.get_by_role("button", name="Let go").click()
    expect(page.get_by_text("Certificate 1, signed by key")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("row", name="documents-say-their-drafts")).to_contain_text("proved")
    assert_fits_both_widths(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Certificate", exact=True).click()
    assert "headend-bill-run-certificate" in Path(download.value.path()).read_text()


def test_a_customer_who_waited_is_rated_again_and_the_page_says_what_has_changed(
    chromium: Chromium, office: Office
) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, office.address, "/bill-runs")
    page.get_by_role("link", name="Bill run …").first.click()
    page.get_by_label("What").select_option("real")
    page.get_by_label("Hold first, because").fill("the board wants to see it")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("the whole run")).to_be_visible(timeout=20_000)

    decide(page, "Hold …", "Hold", "Grace")
    decide(page, "Let go …", "Let go")
    expect(page.get_by_text("Certificate 1, signed by key")).to_be_visible(timeout=20_000)
    # 8 GB more, told late: 4.00 and their tax.
    grace, at = office.lines[1], berlin(2026, 9, 20, 10)
    office.tell(office.world.account_for(grace, (at, GB, 20 * GB)))
    decide(page, "Let go …", "Let go", "Grace")
    expect(page.get_by_text("Certificate 2, signed by key")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("Rated again before it left")).to_be_visible()
    again = page.get_by_role("row", name="another bill, which left")
    expect(again).to_contain_text("73,19 EUR")
    expect(again).to_contain_text("77,95 EUR")
    expect(again).to_contain_text("let go by")
    expect(again).to_contain_text("total_minor")
    assert_fits_both_widths(page)


def decide(page: Page, link: str, button: str, name: str = "") -> None:
    page.get_by_role("link", name=link).click()
    if name:
        page.get_by_label("Account").fill(name)
        page.locator("datalist option").first.wait_for(state="attached")
        page.get_by_label("Account").fill(page.locator("datalist option").first.get_attribute("value") or "")
    page.get_by_label("Why").fill("seen")
    page.get_by_role("button", name=button).click()

"""Contracts of several promises in a real browser: the plan is seen before it is signed or changed, and drawn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import books_routes, revenue_routes
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import Books, made_entity
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """A customer, on a day in December."""

    async def furnish(database: Database) -> Furnished:
        books = Books(database)
        await made_entity(books)
        await books.account("Grace Hopper & Söhne GmbH")
        books.clock.move_to(datetime(2026, 12, 16, 9, tzinfo=UTC))

        rooms = [crm_routes.endpoints(books.crm), books_routes.endpoints(books.books)]
        return books.clock, [e for room in [*rooms, revenue_routes.endpoints(books.revenue)] for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_a_contract_is_planned_signed_and_changed(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger/contracts", "billing-user")
    expect(page.get_by_text("No contract yet")).to_be_visible()
    page.get_by_role("link", name="New contract").first.click()
    page.get_by_label("Account").press_sequentially("grace")
    page.locator("datalist option").first.wait_for(state="attached")
    page.get_by_label("Account").fill(page.locator("datalist option").first.get_attribute("value") or "")
    page.get_by_label("Contract", exact=False).first.fill("C-2026-17")
    page.get_by_label("Price of the whole").fill("480,00")
    page.get_by_label("Signed on").fill("2026-12-16")
    page.get_by_label("Promise 1").fill("Fibre 100, 12 months")
    page.get_by_label("Alone it costs 1").fill("480")
    page.get_by_label("Until 1").fill("2027-12-16")
    page.get_by_label("Promise 2").fill("Router")
    page.get_by_label("Kind 2").select_option("equipment")
    page.get_by_label("Alone it costs 2").fill("120 EUR")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("alert").first).to_contain_text("look at 1 field again")
    page.get_by_label("Alone it costs 2").fill("120")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("row", name="Router Equipment")).to_contain_text("96,00 EUR")
    expect(page.locator(".uplot")).to_have_count(1)
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Record contract").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Contract C-2026-17")
    expect(page.locator(".uplot")).to_have_count(1)
    first = page.locator("section.card", has_text="Earned by the month").locator("tbody tr").first
    expect(first).to_contain_text("112,83 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Change", exact=True).click()
    expect(page.get_by_label("Until 1")).to_have_value("2027-12-16")
    page.get_by_label("From the day").fill("2027-01-01")
    page.get_by_label("Added to the price").fill("-24,00")
    page.get_by_label("Why").fill("loyalty")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("alert").first).to_contain_text("look at 1 field again")
    page.get_by_label("Alone it costs 1").fill("459")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("#field-promises-1-stand_alone-amount-note")).to_contain_text("row 2 has a name")
    page.get_by_label("Promise 2").fill("")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator("section.card", has_text="Promises").locator("tbody tr")).to_have_count(3)
    assert_fits_both_widths(page)
    page.evaluate(
        """async () => {
            const form = document.querySelector("form.form");
            const body = new URLSearchParams(new FormData(form));
            body.set("do", "change");
            await fetch(form.action, { method: "POST", body });
        }"""
    )
    page.get_by_role("button", name="Change contract").click()
    expect(page.get_by_role("alert").first).to_contain_text("was changed meanwhile: look at change 2 first")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("row", name="loyalty")).to_contain_text("-24,00 EUR")
    expect(page.locator("dl.facts")).to_contain_text("456,00 EUR")
    page.get_by_role("link", name="Contracts").click()
    expect(page.get_by_role("row", name="C-2026-17")).to_contain_text("Grace Hopper")
    assert_fits_both_widths(page)
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # what was refused
    chromium.assert_clean(address)

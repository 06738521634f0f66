"""An account's days as a picture, and a line paused and resumed by forms, in Chromium at both widths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Chromium, assert_nothing_sticks_out
from tests.support.controller import Controller
from tests.support.road import offering, ordered
from tests.support.site import sign_in

pytestmark = pytest.mark.browser
TODAY = datetime.now(UTC).date()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller(tmp_path / "data")
    made.start()
    try:
        yield made
    finally:
        made.stop()


def signed_in(chromium: Chromium, controller: Controller, width: int) -> Page:
    page = chromium.page(width=width, height=900)
    sign_in(page, controller.url, "/customers", "admin", controller.admin_password)
    return page


def test_a_line_is_paused_and_its_days_are_drawn(chromium: Chromium, controller: Controller) -> None:
    customer = controller.post("/customers", {"name": "Ada Meyer", "address": "Seeweg 1"})
    fast = offering(controller, "Fibre 100", "30.00", 100_000_000, 20_000_000)
    router = controller.post(
        "/offerings",
        {
            "name": "Router", "kind": "rental", "effective_on": "2026-01-01", "tax_percent": "19",
            "prices": [{"model": "flat", "code": "rent", "amount": "5.00"}],
        },
    )  # fmt: skip
    account = customer["account_id"]
    line = ordered(controller, {"action": "add", "account_id": account, "offering_id": fast["offering_id"]})
    controller.post(
        "/items",
        {
            "account_id": account, "reference": "r-1", "offering_id": router["offering_id"],
            "subscription_id": line["subscription_id"], "on": (TODAY - timedelta(days=40)).isoformat(),
        },
    )  # fmt: skip
    days = {"since_on": "2026-01-01", "until_on": "2028-12-31"}
    controller.until(
        lambda: len(controller.get(f"/accounts/{account}/entitlements", **days)["subscriptions"]) == 2, "billing knows"
    )
    for width in (1440, 390):
        page = signed_in(chromium, controller, width)
        page.goto(f"{controller.url}/services/{line['service_id']}/pause")
        page.locator("#field-first_on").fill((TODAY + timedelta(days=10 if width > 400 else 30)).isoformat())
        page.locator("#field-until_on").fill((TODAY + timedelta(days=9)).isoformat())
        page.locator("#field-reason").fill("winter in the south")
        assert_nothing_sticks_out(page)
        page.get_by_role("button", name="Pause the line").click()
        expect(page.get_by_text("until_on is the first day without it")).to_be_visible()
        page.locator("#field-until_on").fill((TODAY + timedelta(days=22 if width > 400 else 35)).isoformat())
        page.get_by_role("button", name="Pause the line").click()
        page.wait_for_url(f"**/services/{line['service_id']}")
        expect(page.get_by_role("cell", name=re.compile("winter in the south")).first).to_be_visible()
        assert_nothing_sticks_out(page)
        page.goto(f"{controller.url}/customers/{customer['customer_id']}")
        expect(page.get_by_text("paused at 0 % of the fee").first).to_be_attached()
        expect(page.locator(".strip svg")).to_have_count(2)
        box = page.locator(".strip svg").first.bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert_nothing_sticks_out(page)
    page.get_by_role("link", name=re.compile(r"^\d{4}-\d\d-\d\d")).first.click()
    page.locator("#field-on").fill(TODAY.isoformat())
    page.get_by_role("button", name="Set the end").click()
    page.wait_for_url(f"**/services/{line['service_id']}")
    expect(page.get_by_text("called-off")).to_be_visible()


def test_a_site_is_put_on_the_bill_of_its_company_and_a_deposit_is_taken(
    chromium: Chromium, controller: Controller
) -> None:
    company = controller.post("/customers", {"name": "Holding AG", "address": "Platz 1"})
    for width, name in ((1440, "Depot Nord"), (390, "Depot Süd")):
        site = controller.post("/customers", {"name": name, "address": "Weg 2"})
        page = signed_in(chromium, controller, width)
        page.goto(f"{controller.url}/customers/{site['customer_id']}/parent")
        page.locator("#field-parent_id").fill(site["account_id"])
        page.locator("#field-heading").fill(f"{name} · 4711")
        assert_nothing_sticks_out(page)
        page.get_by_role("button", name="Set", exact=True).click()
        expect(page.get_by_text("does not belong to itself")).to_be_visible()
        page.locator("#field-parent_id").fill(company["account_id"])
        page.get_by_role("button", name="Set", exact=True).click()
        page.wait_for_url(f"**/customers/{site['customer_id']}")
        expect(page.get_by_role("heading", name="Belongs to")).to_be_visible()
        page.get_by_role("link", name="Take a deposit").click()
        page.locator("#field-amount-amount").fill("50,00")
        page.locator("#field-reference").fill("router")
        assert_nothing_sticks_out(page)
        page.get_by_role("button", name="Take the deposit").click()
        page.wait_for_url(f"**/customers/{site['customer_id']}")
        expect(page.get_by_text("50,00 EUR")).to_be_visible()
        page.get_by_role("link", name="Billing day").click()
        page.get_by_label("Day of the month").fill("32")
        page.get_by_role("button", name="Set", exact=True).click()
        expect(page.locator("#field-anchor_day-note")).to_contain_text("less than or equal to 31")
        page.get_by_label("Day of the month").fill("15")
        page.get_by_role("button", name="Set", exact=True).click()
        page.wait_for_url(f"**/customers/{site['customer_id']}")
        page.get_by_role("link", name="Billed now").click()
        expect(page.get_by_text("all that is due has been billed")).to_be_visible()
        assert_nothing_sticks_out(page)
        page.goto(f"{controller.url}/customers/{site['customer_id']}")
        page.get_by_role("link", name="Give back").click()
        page.get_by_label("Why").fill("moved out")
        page.get_by_role("button", name="Give back").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Payment of {name}")
        assert_nothing_sticks_out(page)
        page.goto(f"{controller.url}/customers/{company['customer_id']}")
        expect(page.get_by_text(f"{name} · 4711")).to_be_visible()
        assert_nothing_sticks_out(page)

"""A card is charged by hand in a real browser, over a gateway that speaks as Stripe's published API does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from controller.http.endpoint import Call, Endpoint
from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import routes as finance_routes
from erp.finance import settlement_routes
from erp.payments import routes
from lab.stripe import DECLINING, StripeEmulator
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import NOW, made_entity
from tests.support.http_server import serving
from tests.support.payments import API_KEY, WEBHOOK_SECRET, Till
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
SEND = """async () => {
    const form = document.querySelector("form.form");
    const body = new URLSearchParams(new FormData(form));
    await fetch(form.action, { method: "POST", body });
}"""
"""Sends the form as it is, and stays on it."""


@pytest.fixture
def stripe() -> StripeEmulator:
    return StripeEmulator(API_KEY, WEBHOOK_SECRET, int(NOW.timestamp()))


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path, stripe: StripeEmulator) -> Iterator[str]:
    """Ada owes two invoices; her cards are at a gateway that can be asked."""

    async def gateway() -> Any:
        return stripe.app

    async def furnish(database: Database) -> Furnished:
        till = Till(database)
        await made_entity(till)
        ada = await till.account("Ada Lovelace")
        await till.issue(ada)
        await till.issue(ada, "80.00")
        await till.gateway(gateway_url)

        async def hear(_call: Call) -> None:
            """What the gateway tells arrives."""
            at = int(till.clock.now().timestamp())
            for event in stripe.events:
                await till.room.inbox.receive("stripe", *stripe.signed(event, at))
            await till.room.inbox.drain()

        rooms = [crm_routes.endpoints(till.crm), finance_routes.endpoints(till.finance)]
        rooms += [settlement_routes.endpoints(till.finance), routes.endpoints(till.room)]
        told = Endpoint("POST", "/told", scope="public", handler=hear, summary="The gateway tells its events")
        return till.clock, [told, *(e for room in rooms for e in room)]

    with serving(gateway) as gateway_url, site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def of_ada(page: Page, address: str, name: str = "billing-user") -> None:
    sign_in(page, address, "/customers", name)
    page.get_by_role("link", name="Ada Lovelace").click()


def test_a_card_is_charged_once_and_the_gateways_event_makes_it_paid(
    chromium: Chromium, address: str, stripe: StripeEmulator
) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    of_ada(page, address)
    expect(page.locator("section.card", has_text="Card charges")).to_contain_text("No card was charged by hand.")
    page.get_by_role("link", name="Charge a card").click()
    page.get_by_label("Invoice").select_option(index=1)
    page.get_by_role("button", name="Charge the card").click()
    expect(page.get_by_role("alert")).to_contain_text("Another card is named by its gateway")
    assert_fits_both_widths(page)
    page.get_by_label("Customer there").fill("cus_ada")
    page.get_by_label("Card there").fill(DECLINING)
    page.get_by_role("button", name="Charge the card").click()
    expect(page.get_by_role("alert")).to_contain_text("The card was not charged")
    expect(page.locator("dl.facts")).to_contain_text("insufficient_funds")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Charge another card").click()
    page.get_by_label("Card", exact=True).select_option("another")
    page.get_by_label("Customer there").fill("cus_ada")
    page.get_by_label("Card there").fill("pm_card_visa")
    page.evaluate(SEND)
    page.get_by_role("button", name="Charge the card").click()
    expect(page.get_by_role("status")).to_contain_text("It is paid when its event says so")
    assert len(stripe.intents) == 2, "the declined one and this: the form that was sent twice charged once"
    assert_fits_both_widths(page)
    httpx2.post(f"{address}/api/v1/told", timeout=20).raise_for_status()
    page.get_by_role("link", name="Look again").click()
    expect(page.locator("dl.facts")).to_contain_text("paid")
    page.get_by_role("link", name="Card charges").click()
    expect(page.get_by_role("row", name="Ada Lovelace")).to_have_count(2)
    assert_fits_both_widths(page)
    page.goto(f"{address}/invoices")
    page.locator("tr", has_text="open").get_by_role("link", name="INV-").click()
    page.get_by_role("link", name="Charge a card").click()
    expect(page.get_by_label("Card", exact=True)).to_contain_text("pm_card_visa of stripe, last paid")
    page.get_by_label("Card", exact=True).select_option("stripe cus_ada pm_card_visa")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Charge the card").click()
    expect(page.locator("dl.facts")).to_contain_text("pending")
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the card that was not named
    chromium.assert_clean(address)


def test_a_form_that_a_browser_kept_charges_another_card_after_a_declined_one(
    chromium: Chromium, address: str, stripe: StripeEmulator
) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    of_ada(page, address)
    page.get_by_role("link", name="Charge a card").click()
    page.get_by_label("Invoice").select_option(index=1)
    page.get_by_label("Customer there").fill("cus_ada")
    page.get_by_label("Card there").fill(DECLINING)
    page.evaluate(SEND)
    assert len(stripe.intents) == 1
    page.get_by_label("Card there").fill("pm_card_visa")
    page.get_by_role("button", name="Charge the card").click()
    expect(page.get_by_role("alert")).to_contain_text("send this one again")
    assert len(stripe.intents) == 1
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Charge the card").click()
    expect(page.get_by_role("status")).to_contain_text("It is paid when its event says so")
    assert len(stripe.intents) == 2
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the form that was sent before
    chromium.assert_clean(address)


def test_who_may_only_read_charges_nothing(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    of_ada(page, address, "support-user")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")
    expect(page.get_by_role("link", name="Charge a card")).to_have_count(0)
    chromium.assert_clean(address)

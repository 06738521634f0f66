"""What billing staff set up, in a real browser over the real services: gateways, taxes, resellers and mandates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import books_routes, resale_routes, settlement_routes, tax_routes
from erp.finance import routes as finance_routes
from erp.finance.resale import ResaleService
from erp.finance.settings import FinanceSettings
from erp.finance.taxes import TaxService
from erp.payments import routes
from erp.payments.sepa import routes as sepa_routes
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import made_entity
from tests.support.payments import Till
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Ada owes two invoices and is a reseller's customer; the month after is here."""

    async def furnish(database: Database) -> Furnished:
        till = Till(database)
        await made_entity(till)
        ada, shop = await till.account("Ada Lovelace"), await till.account("Radio Hopper & Söhne")
        await till.account("Mary Somerville")
        resale = ResaleService(database, till.clock, till.crm, FinanceSettings())
        await resale.assign(ada, shop, Decimal("12.5"), since=date(2026, 10, 1), actor="user:test")
        await till.issue(ada)
        await till.later(minutes=1)
        await till.issue(ada, "80.00")
        till.clock.move_to(datetime(2026, 12, 3, 9, tzinfo=UTC))

        rooms = [crm_routes.endpoints(till.crm), finance_routes.endpoints(till.finance)]
        rooms += [settlement_routes.endpoints(till.finance), books_routes.endpoints(till.books)]
        rooms += [routes.endpoints(till.room), sepa_routes.endpoints(till.room), resale_routes.endpoints(resale)]
        rooms += [tax_routes.endpoints(TaxService(database, till.clock, till.crm))]
        return till.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def signed_in(chromium: Chromium, address: str, place: str, user: str = "billing-user") -> Page:
    page = chromium.page(width=TELEPHONE, height=900)
    page.on("dialog", lambda dialog: dialog.accept())
    sign_in(page, address, place, user)
    return page


def test_an_invoice_is_written_off_in_parts_and_no_further(chromium: Chromium, address: str) -> None:
    page = signed_in(chromium, address, "/invoices")
    page.get_by_role("link", name="INV-2026-000001").click()
    page.get_by_role("link", name="Write off").click()
    expect(page.get_by_text("all of the 35,70 EUR that are open")).to_be_visible()
    page.get_by_label("Amount").fill("99")
    page.get_by_label("Why").fill("insolvent")
    page.get_by_role("button", name="Write off").click()
    expect(page.get_by_role("alert").first).to_contain_text("35.70 EUR of invoice INV-2026-000001 are open")
    assert_fits_both_widths(page)
    page.get_by_label("Amount").fill("11,90")
    page.get_by_label("The tax in it").select_option("yes")
    page.get_by_role("button", name="Write off").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Write-off for Ada Lovelace")
    match = page.get_by_role("row", name="INV-2026-000001")
    expect(match).to_contain_text("11,90 EUR")
    expect(match.get_by_role("link", name="Take back")).to_have_count(0)  # the loss as a whole can be
    page.get_by_role("link", name="INV-2026-000001").click()
    expect(page.locator("dl.facts div", has_text="Still open")).to_contain_text("23,80 EUR")
    page.goto(f"{address}/ledger")
    expect(page.get_by_role("row", name="Losses on receivables")).to_contain_text("10,00 EUR")


def test_the_secrets_of_a_gateway_are_entered_and_never_shown(chromium: Chromium, address: str) -> None:
    page = signed_in(chromium, address, "/payments/gateways", "admin-user")
    page.get_by_role("link", name="Add a gateway").first.click()
    page.get_by_label("Signing secret").fill("whsec_of_the_test")
    page.get_by_label("API key").fill("short")
    page.get_by_role("button", name="Add gateway").click()
    expect(page.locator("#field-api_key-note")).to_contain_text("at least 8 characters")
    assert page.get_by_label("Signing secret").input_value() == ""
    assert_fits_both_widths(page)
    page.get_by_label("Signing secret").fill("whsec_of_the_test")
    page.get_by_label("API key").fill("sk_of_the_test")
    page.get_by_role("button", name="Add gateway").click()
    expect(page.get_by_role("row", name="stripe")).to_contain_text("/api/v1/payment-gateways/stripe/webhook")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="stripe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Change stripe")
    assert "of_the_test" not in page.content()
    for place, nothing in (("events", "No gateway has told"), ("chargebacks", "Nobody has taken a card payment")):
        page.goto(f"{address}/payments/{place}")
        expect(page.get_by_text(nothing)).to_be_visible()
        assert_fits_both_widths(page)
    clerk = signed_in(chromium, address, "/payments/gateways")
    expect(clerk.get_by_role("row", name="stripe")).to_be_visible()
    expect(clerk.get_by_role("link", name="Add a gateway")).to_have_count(0)
    assert clerk.goto(f"{address}/payments/gateways/stripe").status == 403  # type: ignore[union-attr]


def test_a_rate_changes_on_a_day_and_an_account_is_taxed_elsewhere(chromium: Chromium, address: str) -> None:
    page = signed_in(chromium, address, "/taxes")
    for percent, since in (("16", "2026-07-01"), ("19", "2027-01-01")):
        page.get_by_role("link", name="New rate").first.click()
        page.get_by_label("Class").fill("19")
        page.get_by_label("Taxed at").fill(percent)
        page.get_by_label("From").fill(since)
        assert_fits_both_widths(page)
        page.get_by_role("button", name="Add rate").click()
    expect(page.locator("tbody tr").nth(0)).to_contain_text("to come")
    expect(page.locator("tbody tr").nth(1)).to_contain_text("active")
    expect(page.locator("tbody tr").nth(1)).to_contain_text("2027-01-01")
    assert_fits_both_widths(page)
    page.goto(f"{address}/taxes/levies/new")
    page.get_by_label("Code").fill("fusf")
    page.get_by_label("Name").fill("Universal service")
    page.get_by_label("From").fill("2026-10-01")
    page.get_by_role("button", name="Add levy").click()
    expect(page.get_by_role("alert").first).to_contain_text("a per cent, an amount for each line, or both")
    page.get_by_label("Of the amount").fill("34,5")
    page.get_by_label("Products").fill("voice, internet")
    page.get_by_role("button", name="Add levy").click()
    expect(page.get_by_role("row", name="Universal service")).to_contain_text("voice, internet")
    assert_fits_both_widths(page)
    page.goto(f"{address}/customers")
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="Move to a tax area").click()
    page.get_by_label("Tax area").fill("ES-CN")
    page.get_by_label("From").fill("2026-12-01")
    page.get_by_role("button", name="Move").click()
    expect(page.get_by_role("row", name="ES-CN")).to_be_visible()
    page.get_by_role("link", name="Add an exemption").click()
    page.get_by_label("From").fill("2026-12-01")
    page.get_by_label("Until (not included)").fill("2026-11-01")
    page.get_by_label("Reason").fill("Reverse charge")
    page.get_by_role("button", name="Add exemption").click()
    expect(page.get_by_role("alert").first).to_contain_text("ends after it begins")
    page.get_by_label("Until (not included)").fill("2027-12-01")
    page.get_by_role("button", name="Add exemption").click()
    expect(page.get_by_role("row", name="Reverse charge")).to_contain_text("exempt")
    assert_fits_both_widths(page)


def test_a_reseller_is_settled_and_a_customer_found_by_name(chromium: Chromium, address: str) -> None:
    page = signed_in(chromium, address, "/resellers")
    expect(page.get_by_role("row", name="Radio Hopper")).to_contain_text("1")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Radio Hopper").click()
    expect(page.get_by_text("2026-12 is not over")).to_be_visible()
    page.get_by_role("link", name="Earlier month").click()
    expect(page.get_by_role("row", name="INV-2026-000002")).to_contain_text("10,00 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Settle 2026-11").click()
    page.get_by_role("link", name="the entry").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Commission Radio Hopper")
    page.goto(f"{address}/customers")
    page.get_by_role("link", name="Mary Somerville").click()
    page.get_by_role("link", name="Assign to a reseller").click()
    page.get_by_label("Reseller").press_sequentially("love")
    page.locator("datalist option").first.wait_for(state="attached")
    chosen = page.locator("datalist option").first.get_attribute("value") or ""
    assert chosen.startswith("Ada Lovelace (")
    page.get_by_label("Reseller").fill(chosen)
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Assign").click()
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("10 %")
    assert_fits_both_widths(page)
    chromium.assert_clean(address)


def test_a_mandate_is_added_from_a_customer_and_ended(chromium: Chromium, address: str) -> None:
    page = signed_in(chromium, address, "/customers")
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="New mandate").click()
    expect(page.get_by_label("Holder of the account")).to_have_value("Ada Lovelace")
    page.get_by_label("Mandate reference").fill("M-1")
    page.get_by_label("Signed on").fill("2026-11-30")
    page.get_by_label("IBAN").fill("DE12500105170648489891")
    page.get_by_role("button", name="Add mandate").click()
    expect(page.get_by_role("alert").first).to_contain_text("IBAN")
    page.get_by_label("IBAN").fill("DE12 5001 0517 0648 4898 90")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Add mandate").click()
    page.wait_for_url("**/mandates")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("DE12 5001 0517 0648 4898 90")
    assert_fits_both_widths(page)
    for when, state in (("yes", "ending"), ("no", "ended")):
        page.get_by_role("link", name="End", exact=True).click()
        page.get_by_label("When").select_option(when)
        page.get_by_label("Why").fill("revoked")
        assert_fits_both_widths(page)
        page.get_by_role("button", name="End mandate").click()
        page.wait_for_url("**/mandates")
        expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text(state)
    expect(page.get_by_role("link", name="End", exact=True)).to_have_count(0)

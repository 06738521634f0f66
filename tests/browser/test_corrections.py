"""What the office corrects, in a real browser: credit notes, adjustments, entries of four eyes, contracts and cash."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_data
from controller.store.engine import Database
from erp.catalog import routes as catalog_routes
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm import routes as crm_routes
from erp.finance import books_routes, correction_routes, note_routes, proposal_routes, revenue_routes
from erp.finance import routes as finance_routes
from erp.finance.proposals import ProposalService
from erp.orders import contract_routes, item_routes
from erp.orders.contracts import ContractService
from erp.orders.items import ItemRequest, ItemService
from erp.orders.selling import Offer
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import Books, made_entity
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """A customer with an invoice, and hosting under a contract of two years, fourteen months old."""

    async def furnish(database: Database) -> Furnished:
        books = Books(database)
        await made_entity(books)
        account = await books.account("Grace Hopper & Söhne GmbH")
        await books.issue(account, "30.00", "7.50")
        await books.pay(account, "44.63", "t1")
        catalog = CatalogService(database, books.clock)
        items = ItemService(database, books.clock, crm=books.crm, catalog=catalog)
        contracts = ContractService(database, books.clock, crm=books.crm, catalog=catalog, items=items)
        plan = plan_from_data(
            {
                "prices": [{"model": "flat", "code": "fee", "amount": "20.00"}],
                "contract": {"term_months": 24, "early_termination": {"amount": "120.00", "declining": True}},
            }
        )
        terms = VersionTerms(date(2026, 1, 1), "EUR", Decimal(19), plan, None)
        offering = await catalog.create_offering(Product("Hosting", kind=ProductKind.HOSTING), terms, actor="user:anna")
        await items.add(ItemRequest(account, "hosting-1", Offer(offering.offering_id)), actor="user:anna")
        books.clock.move_to(datetime(2027, 12, 20, 9, tzinfo=UTC))
        proposals = ProposalService(database, books.clock, books.books)

        rooms = [crm_routes.endpoints(books.crm), finance_routes.endpoints(books.finance)]
        rooms += [books_routes.endpoints(books.books), revenue_routes.endpoints(books.revenue)]
        rooms += [correction_routes.endpoints(books.corrections), proposal_routes.endpoints(proposals)]
        rooms += [note_routes.endpoints(books.finance)]
        rooms += [catalog_routes.endpoints(catalog), item_routes.endpoints(items)]
        rooms += [contract_routes.endpoints(contracts)]
        return books.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_an_invoice_is_credited_and_an_account_adjusted(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/invoices")
    page.get_by_role("link", name="INV-2026-000001").click()
    page.get_by_role("link", name="Credit or void").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Credit INV-2026-000001")
    assert_fits_both_widths(page)
    page.get_by_label("1. Fibre 100").fill("30,01")
    page.get_by_label("Reason").fill("outage")
    page.get_by_role("button", name="Issue credit note").click()
    expect(page.get_by_role("alert").first).to_contain_text("30.00 EUR are left of 30.00 EUR")
    chromium.complaints.clear()  # Chromium calls the refusal, which is shown, an error
    page.get_by_label("1. Fibre 100").fill("10")
    page.get_by_role("button", name="Issue credit note").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice CN-2027-000001")
    assert_fits_both_widths(page)

    page.get_by_role("link", name="Void", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Take back CN-2027-000001")
    page.get_by_label("Reason").fill("it was right")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Take back all of it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice INV-2027-000001")
    expect(page.locator("dl.facts")).to_contain_text("debit-note")
    page.get_by_role("link", name="Credit or void").click()
    expect(page.locator("main")).to_contain_text("undone by a new credit of the invoice")
    assert_fits_both_widths(page)
    page.go_back()

    page.get_by_role("link", name="Grace Hopper").click()
    page.get_by_role("link", name="Adjust").click()
    page.get_by_label("What").fill("Goodwill")
    page.get_by_label("Amount").fill("-11,90")
    page.get_by_label("Tax", exact=True).select_option("yes")
    page.get_by_label("Reason").fill("apology")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Issue document").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice CN-2027-000002")
    expect(page.locator("dl.facts")).to_contain_text("-10,00 EUR")
    chromium.assert_clean(address)


def test_what_a_credit_note_settles_is_moved(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/invoices")
    for what, amount in (("Goodwill", "-11,90"), ("Cable", "5")):
        page.goto(f"{address}/invoices")
        page.get_by_role("link", name="Grace Hopper").first.click()
        page.get_by_role("link", name="Adjust").click()
        page.get_by_label("What").fill(what)
        page.get_by_label("Amount").fill(amount)
        page.get_by_label("Tax", exact=True).select_option("yes")
        page.get_by_label("Reason").fill("told")
        page.get_by_role("button", name="Issue document").click()
        page.wait_for_url("**/invoices/*")
    page.goto(f"{address}/invoices?state=unapplied")
    page.get_by_role("link", name="CN-2027-000001").click()
    row = page.get_by_role("row", name="INV-2027-000001")
    expect(row).to_contain_text("5,00 EUR")
    assert_fits_both_widths(page)
    row.get_by_role("link", name="Take back").click()
    page.get_by_label("Why").fill("not for this one")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("taken back").first).to_be_visible()
    page.get_by_role("link", name="Allocate").click()
    expect(page.get_by_label("Amount")).to_have_value("11.90")
    page.get_by_label("Invoice").select_option(index=1)
    page.get_by_label("Amount").fill("2")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Allocate").click()
    expect(page.get_by_role("row", name="applied")).to_contain_text("2,00 EUR")
    chromium.assert_clean(address)


def test_a_contract_says_what_leaving_costs(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/invoices")
    page.get_by_role("link", name="Grace Hopper").first.click()
    page.get_by_role("link", name="Products and contracts").click()
    expect(page.get_by_role("row", name="Hosting")).to_contain_text("50,00 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Hosting").click()
    expect(page.locator("section", has_text="Contract").first).to_contain_text("2028-11-01")
    assert_fits_both_widths(page)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="End today").click()
    expect(page.locator("dl.facts").first).to_contain_text("ended")
    chromium.assert_clean(address)


def test_a_large_entry_is_approved_by_somebody_else(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/invoices")
    page.goto(f"{address}/ledger/proposals/new")
    page.get_by_label("What for").fill("Share capital")
    page.get_by_label("Account 1").select_option("1800")
    page.get_by_label("Amount 1").fill("25000")
    page.get_by_label("Account 2").select_option("2900")
    page.get_by_label("Amount 2").fill("-25000,00")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Post or propose").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Share capital")
    expect(page.locator("dl.facts")).to_contain_text("waiting")
    assert_fits_both_widths(page)
    where = page.url
    other = chromium.page(width=TELEPHONE, height=900)
    sign_in(other, address, "/invoices", "billing-user")
    other.goto(where)
    other.once("dialog", lambda dialog: dialog.accept())
    other.get_by_role("button", name="Approve and post").click()
    expect(other.locator("dl.facts")).to_contain_text("posted")
    other.goto(f"{address}/ledger/proposals")
    expect(other.get_by_role("row", name="Share capital")).to_contain_text("25.000,00 EUR")
    assert_fits_both_widths(other)
    other.goto(f"{address}/ledger/cash-flow")
    expect(other.locator("table.statement", has_text="Financing").locator("tfoot")).to_contain_text("25.000,00")
    expect(other.locator("table.statement", has_text="Bank and cash")).to_contain_text("25.044,63 EUR")
    assert_fits_both_widths(other)
    other.goto(where)
    other.get_by_role("link", name="Entry", exact=True).click()
    other.get_by_role("link", name="Take back").click()
    other.get_by_label("Reason").fill("never paid in")
    assert_fits_both_widths(other)
    other.get_by_role("button", name="Reverse or propose").click()
    expect(other.locator("dl.facts")).to_contain_text("waiting")
    expect(other.locator("dl.facts")).to_contain_text("never paid in")
    assert_fits_both_widths(other)
    chromium.assert_clean(address)

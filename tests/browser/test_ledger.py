"""The books in a real browser, over the real services: from a statement down to a posting and its document."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.identity import BillRunId
from controller.store.engine import Database
from erp.crm import entity_routes
from erp.crm import routes as crm_routes
from erp.crm.entities import EntityService
from erp.finance import books_routes, control_routes, revenue_routes
from erp.finance import routes as finance_routes
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import NOW, Books, made_entity, manual
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Two customers, one of whom pays late and too little; wages; the year's end between them."""

    async def furnish(database: Database) -> Furnished:
        books = Books(database)
        await made_entity(books)
        for part in range(4):  # above 10,000 an entry would need a second person
            await manual(books, f"Share capital, part {part + 1}", "1800", "2900", "6250.00", date(2025, 12, 1))
        early, late = await books.account("Ada Lovelace"), await books.account("Grace Hopper & Söhne GmbH")
        await books.issue(early, "30.00", "7.50")
        await books.issue(late, "1300.00")
        await manual(books, "Wages", "6020", "1800", "400.00", NOW.date())
        await books.pay(early, "44.63", "statement 7/1")
        books.clock.move_to(datetime(2027, 1, 20, 9, tzinfo=UTC))
        across = books.charge(late, "30.00", days=(date(2027, 1, 15), date(2027, 2, 14)))
        await books.finance.issue(BillRunId("january"), [across])
        await books.pay(late, "500.00", "statement 1/3")
        await books.pay(early, "9.00", "too much")

        rooms = [crm_routes.endpoints(books.crm), finance_routes.endpoints(books.finance)]
        rooms += [books_routes.endpoints(books.books), revenue_routes.endpoints(books.revenue)]
        rooms += [control_routes.endpoints(books.control)]
        rooms += [entity_routes.endpoints(EntityService(database, books.clock), books.crm)]
        return books.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_statements_lead_down_to_postings_and_documents(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger")
    expect(page.locator("dl.totals")).to_contain_text("0,00 EUR")
    assert_fits_both_widths(page)

    page.get_by_role("link", name="Balance sheet").click()
    expect(page.locator("table.statement", has_text="Assets").locator("tfoot")).to_contain_text("26.227,33 EUR")
    expect(page.locator("table.statement", has_text="Result of the year")).to_contain_text("937,50 EUR")
    assert_fits_both_widths(page)
    page.locator("#filter-as_of").fill("2025-12-31")
    expect(page.locator("table.statement", has_text="Assets").locator("tfoot")).to_contain_text("25.000,00 EUR")
    page.goto(f"{address}/ledger/balance-sheet")

    page.get_by_role("link", name="Profit and loss").click()
    expect(page.locator("table.statement", has_text="Revenue").first).to_contain_text("17,00 EUR")
    assert_fits_both_widths(page)  # and its script is there, which follows the filter
    page.locator("#filter-since").fill("2026-01-01")
    expect(page.locator("table.statement", has_text="Revenue").first).to_contain_text("1.354,50 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Revenue, recurring fees").click()
    page.wait_for_url("**/ledger/accounts/4400?**since=2026-01-01**")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Invoice INV-2026-000002").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice INV-2026-000002")

    page.goto(f"{address}/ledger/entries")
    page.get_by_role("link", name="2026-11-01").last.click()
    expect(page.get_by_role("heading", level=2)).to_have_text("Postings")
    assert_fits_both_widths(page)
    chromium.assert_clean(address)


def test_receivables_age_and_lead_to_what_is_open(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger")
    page.get_by_role("link", name="Receivables", exact=True).click()
    totals = page.locator("dl.totals")
    expect(totals.locator("div", has_text="61–90")).to_contain_text("1.047,00 EUR")
    expect(totals.locator("div", has_text="In the ledger")).to_contain_text("1.073,70 EUR")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("-9,00 EUR")
    assert_fits_both_widths(page)
    page.locator("#filter-as_of").fill("2026-11-30")
    expect(totals.locator("div", has_text="1–30 days")).to_contain_text("1.547,00 EUR")
    page.get_by_role("link", name="Grace Hopper").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Open items of Grace Hopper & Söhne GmbH")
    expect(page.get_by_role("row", name="INV-2026-000002")).to_contain_text("15")
    assert_fits_both_widths(page)

    page.get_by_role("link", name="Revenue to come").click()
    expect(page.get_by_role("row", name="2027-02")).to_contain_text("13,00 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Periods").click()
    assert_fits_both_widths(page)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close 2026-12").click()
    expect(page.locator("dl.facts")).to_contain_text("2027-01-01")
    expect(page.get_by_role("button", name="Close")).to_have_count(0)
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Reopen 2026-12").click()
    page.get_by_label("Why").fill("a bill came late")
    page.get_by_role("button", name="Reopen").click()
    expect(page.get_by_role("row", name="a bill came late")).to_be_visible()
    chromium.assert_clean(address)


def test_control_accounts_are_compared_at_the_press_of_a_button(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger")
    page.get_by_role("link", name="Control accounts", exact=True).click()
    expect(page.locator("main")).to_contain_text("Nothing was compared yet")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Compare now").click()
    row = page.get_by_role("row", name="Deferred revenue")
    expect(row).to_contain_text("agrees")
    expect(row).to_contain_text("-13,00 EUR")
    expect(page.get_by_role("row", name="Receivables")).to_contain_text("end of 2027-01-19")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Deferred revenue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("3900 Deferred revenue")
    chromium.assert_clean(address)


def test_a_second_legal_entity_is_added_and_its_books_are_looked_at(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger")
    page.get_by_role("link", name="Legal entities", exact=True).click()
    expect(page.get_by_role("row", name="Testnetz GmbH")).to_contain_text("Europe/Berlin")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Add a legal entity").click()
    for label, said in (
        ("name", "Testnetz AG"), ("zone", "Europe/Zurich"), ("currency", "CHF"), ("address", "Gasse 1"),
        ("country", "CH"), ("tax_id", "CHE-123.456.788"), ("locale", "de_CH"), ("iban", "CH9300762011623852957"),
    ):  # fmt: skip
        page.locator(f"#field-{label}").fill(said)
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Add it").click()
    row = page.get_by_role("row", name="Testnetz AG")
    expect(row).to_contain_text("CH9300762011623852957")
    assert_fits_both_widths(page)
    row.get_by_role("link", name="Change").click()
    page.locator("#field-address").fill("Platz 2")
    page.get_by_role("button", name="Change").click()
    expect(row).to_contain_text("Platz 2")

    page.goto(f"{address}/ledger/controls")
    page.get_by_role("button", name="Compare now").click()
    page.get_by_role("row", name="Deposits").filter(has_text="Testnetz AG").get_by_role("link").click()
    expect(page.locator("#filter-entity_id")).to_have_value(page.url.partition("entity_id=")[2])

    page.goto(f"{address}/customers/new")
    page.locator("#field-entity_id").select_option(label="Testnetz AG")
    page.locator("#field-name").fill("Urs Muster")
    page.get_by_role("button", name="Create customer").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Urs Muster")
    expect(page.locator("main")).to_contain_text("CHF")

    page.goto(f"{address}/ledger")
    expect(page.get_by_role("row", name="Bank")).to_be_visible()
    page.locator("#filter-entity_id").select_option(label="Testnetz AG")
    expect(page.locator("main")).to_contain_text("Nothing was booked")
    page.goto(f"{address}/legal-entities")
    page.get_by_role("link", name="Testnetz AG").click()
    page.get_by_role("link", name="Balance sheet", exact=True).click()
    expect(page.locator("#filter-entity_id")).to_have_value(page.url.partition("entity_id=")[2])
    page.get_by_role("link", name="Periods", exact=True).click()
    expect(page.locator("main")).to_contain_text("Of Testnetz AG.")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close 2026-12").click()
    expect(page.locator("dl.facts")).to_contain_text("2027-01-01")
    page.goto(f"{address}/ledger/periods")
    expect(page.get_by_role("button", name="Close 2026-12")).to_be_visible()
    assert_fits_both_widths(page)
    chromium.assert_clean(address)


def test_pictures_show_what_is_owed_by_age_and_the_journal_is_taken_away(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/ledger")
    page.goto(f"{address}/ledger/receivables")
    picture = page.get_by_role("group", name="By age, EUR")
    expect(picture.locator("div", has_text="61–90")).to_contain_text("1.047,00 EUR")
    assert picture.locator("rect.bad").first.get_attribute("width") == "100.00"
    page.goto(f"{address}/ledger/revenue")
    expect(page.get_by_role("group", name="Earned by the month, EUR")).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/ledger/entries?as_of=2026-11-30")
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    assert taken.value.suggested_filename == "journal.csv"
    assert "2027-01" not in taken.value.path().read_text()

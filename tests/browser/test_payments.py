"""Payments in a real browser, over the real services: allocated and taken back, a file imported, a day at the till."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import routes as finance_routes
from erp.finance import settlement_routes
from erp.payments import cash_routes, routes
from erp.payments.bank import routes as bank_routes
from erp.payments.sepa import routes as sepa_routes
from erp.payments.sepa.mandates import WantedMandate
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.camt import IBAN, Entry, Stmt, Tx, camt
from tests.support.finance import NOW, made_entity
from tests.support.pain import rejection
from tests.support.payments import Till, euro
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
THEIRS = "DE12500105170648489890"


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Ada owes two invoices and has paid too much once; Grace has a mandate."""

    async def furnish(database: Database) -> Furnished:
        till = Till(database)
        await made_entity(till)
        ada, grace = await till.account("Ada Lovelace"), await till.account("Grace Hopper & Söhne GmbH")
        await till.pay(ada, "50.00", "statement 7/1")
        till.clock.move_to(datetime(2026, 11, 21, 9, tzinfo=UTC))
        await till.issue(ada)
        await till.later(minutes=1)
        await till.issue(ada)
        await till.issue(grace, "80.00")
        await till.room.bank.add_account(
            name="Testnetz GmbH", iban=IBAN, bic="", creditor_id="DE98ZZZ09999999999", currency="EUR", actor="user:test"
        )
        mandate = WantedMandate(grace, "M-1", "CORE", True, NOW.date(), THEIRS, "Grace Hopper")
        await till.room.mandates.add(mandate, actor="user:test")
        desk = await till.room.cash.add_till("HQ1", actor="user:test")
        shift = await till.room.cash.open(desk.till_id, euro("0.00"), reason="", actor="user:anna")
        await till.room.cash.transfer(shift.shift_id, euro("100.00"), request="f", note="float", actor="user:anna")

        await till.gateway()
        paid = till.stripe.paid(3000, metadata={"account_id": ada})
        till.stripe.settle(paid, 150)
        till.stripe.pay_out(int(till.clock.now().timestamp()))
        await till.deliver(till.stripe.events[-1])
        await till.room.inbox.drain()

        rooms = [crm_routes.endpoints(till.crm), finance_routes.endpoints(till.finance)]
        rooms += [settlement_routes.endpoints(till.finance), routes.endpoints(till.room)]
        rooms += [m.endpoints(till.room) for m in (bank_routes, sepa_routes, cash_routes)]
        return till.clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_a_match_is_taken_back_and_made_with_another_invoice(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/payments")
    expect(page.get_by_text("Every payment is applied.")).to_be_visible()
    page.locator("#filter-show").select_option("all")
    page.locator("td a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment of Ada Lovelace")
    assert_fits_both_widths(page)
    page.get_by_role("row", name="INV-2026-000002").get_by_role("link", name="Take back").click()
    page.get_by_label("Why").fill("meant the first")
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("taken back").first).to_be_visible()
    expect(page.locator("dl.facts div", has_text="Not applied")).to_contain_text("14,30 EUR")
    page.get_by_role("link", name="Allocate").click()
    page.get_by_label("Invoice").select_option(index=1)
    page.get_by_label("Amount").fill("200")
    page.get_by_role("button", name="Allocate").click()
    expect(page.get_by_role("alert").first).to_contain_text("unapplied, not 200.00 EUR")
    assert_fits_both_widths(page)
    page.get_by_label("Amount").fill("4,30")
    page.get_by_role("button", name="Allocate").click()
    expect(page.locator("dl.facts div", has_text="Not applied")).to_contain_text("10,00 EUR")
    page.get_by_role("link", name="Refund").click()
    page.get_by_label("Amount").fill("10,00")
    page.get_by_label("Way").select_option("cash")
    page.get_by_label("Why").fill("overpaid")
    page.get_by_role("button", name="Ask for the refund").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("row", name="overpaid")).to_contain_text("approved")
    assert_fits_both_widths(page)


def test_a_bank_file_is_imported_and_its_lines_identified(chromium: Chromium, address: str, tmp_path: Path) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/payments")
    entries = [
        Entry("35.70", [Tx(text="thank you", name="LOVELACE ADA")], ref="1"),
        Entry("95.20", [Tx(text="INV-2026-000003", name="Grace")], ref="2"),
        Entry("-12.00", [Tx(text="office rent", name="Landlord")], ref="3"),
    ]
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_bytes(camt("08", Stmt("1000.00", entries)))
    bad.write_bytes(camt("08", Stmt("1000.00", entries, closing="1.00")))
    page.goto(f"{address}/bank")
    page.get_by_role("link", name="Import a file").first.click()
    page.get_by_label("File").set_input_files(bad)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#file-note")).to_contain_text("not 1.00 EUR")
    page.get_by_label("File").set_input_files(good)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#facts")).to_contain_text("Matched at once1")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#facts")).to_contain_text("all of it was known")
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as packed:
        packed.write(good, "good.xml")
        packed.write(bad, "bad.xml")
        packed.writestr("report.xml", rejection("none of ours", group="RJCT"))
    page.get_by_label("File").set_input_files(tmp_path / "both.zip")
    page.get_by_role("button", name="Import").click()
    expect(page.locator("#facts")).to_contain_text("In the archivebad.xmlRefused")
    expect(page.locator("#facts")).to_contain_text("In the archivegood.xmlFile")
    unknown = "In the archivereport.xmlRefusedno file of direct debits or of refunds"
    expect(page.locator("#facts")).to_contain_text(unknown)
    assert_fits_both_widths(page)
    page.get_by_role("link", name="To the lines").click()
    expect(page.locator("dl.totals")).to_contain_text("23,70 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("row", name="LOVELACE ADA").get_by_role("link").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("What it may be")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Ada Lovelace").first.click()
    page.get_by_role("button", name="Book as a payment").click()
    expect(page.get_by_role("link", name="Take back")).to_be_visible()
    page.goto(f"{address}/bank")
    page.get_by_role("row", name="Landlord").get_by_role("link").click()
    page.get_by_role("link", name="Something else").click()
    page.get_by_label("Account of the ledger").fill("6300")
    page.get_by_label("Why").fill("rent")
    page.get_by_role("button", name="Book").click()
    page.goto(f"{address}/bank/statements")
    expect(page.get_by_role("row", name="2026-11-20")).to_contain_text("1.118,90 EUR")
    assert_fits_both_widths(page)
    assert [c for c in chromium.complaints if "422" not in c] == []


def test_a_write_off_is_taken_back(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/invoices")
    page.get_by_role("link", name="INV-2026-000003").click()
    page.get_by_role("link", name="Write off").click()
    page.get_by_label("Why").fill("insolvent")
    page.get_by_role("button", name="Write off").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Write-off for Grace Hopper")
    page.get_by_role("link", name="Take back").click()
    page.get_by_label("Why").fill("another customer")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("section", has_text="Went back").last).to_contain_text("another customer")
    expect(page.get_by_role("link", name="Take back")).to_have_count(0)
    page.goto(f"{address}/invoices?state=open")
    expect(page.get_by_role("row", name="INV-2026-000003")).to_contain_text("95,20 EUR")
    chromium.assert_clean(address)


def test_a_payment_booked_by_hand_is_void(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/payments")
    page.locator("#filter-show").select_option("all")
    page.get_by_role("row", name="statement 7/1").locator("a").first.click()
    page.get_by_role("link", name="Void").click()
    page.get_by_label("Why").fill("never came")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Void").click()
    expect(page.locator("section", has_text="Went back").last).to_contain_text("never came")
    expect(page.get_by_role("link", name="Void")).to_have_count(0)
    chromium.assert_clean(address)


def test_payouts_and_what_is_decided_about_payments(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/payments")
    page.goto(f"{address}/bank")
    page.get_by_role("link", name="Payouts").first.click()
    row = page.get_by_role("row", name="po_lab")
    expect(row).to_contain_text("28,50 EUR")
    expect(row).to_contain_text("sent")
    assert_fits_both_widths(page)
    page.goto(f"{address}/bank/settings")
    page.get_by_label("Fee of a returned direct debit").select_option("no")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/bank")
    page.goto(f"{address}/bank/settings")
    expect(page.get_by_label("Fee of a returned direct debit")).to_have_value("no")
    chromium.assert_clean(address)


def test_a_direct_debit_file_and_a_day_at_the_till(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    page.on("dialog", lambda dialog: dialog.accept())
    sign_in(page, address, "/payments")
    page.goto(f"{address}/direct-debits")
    page.get_by_role("link", name="Make a file").first.click()
    page.get_by_label("Bank account").select_option(index=1)
    page.get_by_label("Collect on").fill("2026-12-07")
    page.get_by_role("button", name="Make the file").click()
    expect(page.get_by_role("row", name="Grace Hopper")).to_contain_text("95,20 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="It was sent").click()
    expect(page.get_by_role("row", name="Grace Hopper")).to_contain_text("paid")
    page.goto(f"{address}/cash")
    page.get_by_role("link", name="HQ1").click()
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Close").click()
    page.get_by_label("Counted").fill("99,50")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_contain_text("100.00 EUR should be there")
    page.get_by_label("Why it differs").fill("wrong change")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("dl.facts div", has_text="Difference")).to_contain_text("-0,50 EUR")
    assert_fits_both_widths(page)


def test_a_receipt_is_written_once_however_often_its_form_is_sent(chromium: Chromium, address: str) -> None:
    page = chromium.page()
    sign_in(page, address, "/payments")
    page.goto(f"{address}/cash")
    page.get_by_role("link", name="HQ1").click()
    shift = page.url
    page.get_by_role("link", name="Take a payment").click()
    page.get_by_label("Account").press_sequentially("love")
    page.locator("datalist option").first.wait_for(state="attached")
    page.get_by_label("Account").fill(page.locator("datalist option").first.get_attribute("value") or "")
    page.get_by_label("Amount").fill("12,00")
    page.evaluate(
        """async () => {
            const form = document.querySelector("form.form");
            const body = new URLSearchParams(new FormData(form));
            for (let n = 0; n < 2; n += 1) await fetch(form.action, { method: "POST", body });
        }"""
    )
    page.goto(shift)
    expect(page.locator("tbody tr", has_text="12,00 EUR")).to_have_count(1)


def test_a_refund_is_refused_and_a_direct_debit_file_given_up(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/payments")
    page.locator("#filter-show").select_option("all")
    page.locator("td a").first.click()
    page.get_by_role("link", name="Take back").first.click()
    page.get_by_label("Why").fill("meant the first")
    page.get_by_role("button", name="Take back").click()
    page.get_by_role("link", name="Refund").click()
    page.get_by_label("Amount").fill("5,00")
    page.get_by_label("Way").select_option("cash")
    page.get_by_label("Why").fill("overpaid")
    page.get_by_role("button", name="Ask for the refund").click()
    page.get_by_role("link", name="Refuse").click()
    page.get_by_label("Why").fill("it was not")
    page.get_by_role("button", name="Refuse").click()
    expect(page.get_by_role("row", name="overpaid")).to_contain_text("refused")
    expect(page.get_by_role("link", name="Refuse")).to_have_count(0)
    page.goto(f"{address}/direct-debits/new")
    page.get_by_label("Bank account").select_option(index=1)
    page.get_by_label("Collect on").fill("2026-12-07")
    page.get_by_role("button", name="Make the file").click()
    page.get_by_role("link", name="Give it up").click()
    page.get_by_label("Why").fill("wrong day")
    page.get_by_role("button", name="Give it up").click()
    expect(page.locator("dl.facts")).to_contain_text("dropped")
    assert_fits_both_widths(page)

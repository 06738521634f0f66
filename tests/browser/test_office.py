"""The office's pages of a running `headend serve` in Chromium: a line is sold by forms alone, and found again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lab.olt.server import PASSWORD, USERNAME
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.controller import Controller
from tests.support.road import NAS_SECRET, SERIAL, Network, billed, reached, rows
from tests.support.site import sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller(tmp_path / "data")
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def network(controller: Controller, tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path, controller)
    made.now = datetime.now(UTC)
    try:
        yield made
    finally:
        made.close()


def open_office(chromium: Chromium, controller: Controller, width: int) -> Page:
    page = chromium.page(width=width, height=900)
    sign_in(page, controller.url, "/customers", "admin", controller.admin_password)
    return page


def fill(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.locator(f"#field-{name}").fill(value)


def send(page: Page, button: str) -> None:
    assert_fits_both_widths(page)
    page.get_by_role("button", name=button, exact=True).click()


def show(page: Page, controller: Controller, path: str) -> None:
    page.goto(controller.url + path)
    assert_fits_both_widths(page)


def park_an_event(controller: Controller) -> None:
    """As the bus does with what its subscriber refused again and again."""
    with sqlite3.connect(controller.data_dir / "headend.db", timeout=30) as connection:
        connection.execute(
            "INSERT INTO store_outbox_parked (subscriber, position, error, attempts, parked_at)"
            " SELECT 'billing', min(position), 'no price for it', 5, 0 FROM store_outbox"
        )
    connection.close()


def subscribed(controller: Controller, page: Page, order_id: str) -> None:
    """The line's own page, from which its plan is changed and then the line ended."""
    ((service_id,),) = rows(controller, "SELECT service_id FROM orders_subscription")
    show(page, controller, f"/services/{service_id}")
    expect(page.get_by_role("cell", name="olt-1")).to_be_visible()
    page.get_by_role("link", name="Change plan").click()
    page.locator("#field-offering_id").select_option(index=2)
    send(page, "Preview")
    expect(page.get_by_text("What the customer pays")).to_be_visible()
    expect(page.locator("dd", has_text="1.021,00 EUR")).to_be_visible()
    show(page, controller, f"/services/{service_id}")
    page.get_by_role("link", name="End line").click()
    send(page, "End the line")
    page.wait_for_url("**/orders/*")
    ((ending,),) = rows(controller, f"SELECT order_id FROM orders_order WHERE order_id <> '{order_id}'")
    reached(controller, ending, "completed")
    show(page, controller, f"/services/{service_id}")
    expect(page.get_by_role("link", name="End line")).to_have_count(0)


def new_version(page: Page) -> None:
    """Of the offering that is shown: a price that is no JSON, one that is no price, a trial, and the release."""
    page.get_by_role("link", name="New version").click()
    fill(page, effective_on="2040-01-01", prices="[")
    send(page, "Release")
    expect(page.get_by_text("no JSON")).to_be_visible()
    fill(page, prices='[{"model": "gold", "code": "fee"}]')
    send(page, "Release")
    expect(page.get_by_text("must be one of flat")).to_be_visible()
    tiers = '[{"up_to": 100000000000, "price": "0.10"}, {"price": "0.02"}]'
    fill(page, prices='[{"model": "graduated", "code": "data", "tiers": ' + tiers + "}]", tax_percent="0")
    send(page, "Release")
    expect(page.get_by_text("say Z for a zero rate")).to_be_visible()
    page.locator("#field-tax_category").select_option("Z")
    send(page, "Try on last month's usage")
    expect(page.get_by_text("Last month by these prices")).to_be_visible()
    assert_fits_both_widths(page)
    send(page, "Release")
    expect(page.get_by_text("Version 2, from 2040-01-01 (nobody has it yet)")).to_be_visible()
    expect(page.get_by_text("graduated tiers in EUR per GB")).to_be_visible()
    assert_fits_both_widths(page)
    page.get_by_role("link", name="New version").click()
    expect(page.locator("#field-tax_category")).to_have_value("Z")
    assert_fits_both_widths(page)


def test_a_line_is_sold_and_paid_by_forms_alone(chromium: Chromium, controller: Controller, network: Network) -> None:
    page = open_office(chromium, controller, TELEPHONE)
    expect(page.get_by_text("There is no customer yet.")).to_be_visible()

    show(page, controller, "/nas/new")
    fill(page, name="bras-1", address="127.0.0.2", secret=NAS_SECRET)
    send(page, "Register NAS")
    expect(page.get_by_role("cell", name="127.0.0.2")).to_be_visible()
    show(page, controller, "/devices/new")
    fill(page, name="olt-1", host="127.0.0.1", port=str(network.olt.port), username=USERNAME, password=PASSWORD)
    page.locator("#field-driver").select_option("bbf-olt")
    send(page, "Register device")
    expect(page.get_by_role("heading", level=1)).to_have_text("olt-1")
    show(page, controller, "/offerings/new")
    fill(page, name="Fibre 100", effective_on="2026-01-01", monthly_fee="31,00")
    fill(page, downstream_bps="100", upstream_bps="50", included_octets="150", overage_price="0,05")
    send(page, "Create offering")
    expect(page.get_by_text("31,00 EUR")).to_be_visible()
    show(page, controller, "/offerings/new")
    fill(page, name="Fibre 50", effective_on="2026-01-01", monthly_fee="1021", downstream_bps="50", upstream_bps="10")
    send(page, "Create offering")
    expect(page.get_by_text("1.021,00 EUR")).to_be_visible()
    new_version(page)
    show(page, controller, "/stock/new")
    fill(page, serial=SERIAL)
    send(page, "Receive")
    expect(page.get_by_text(SERIAL)).to_be_visible()

    show(page, controller, "/customers/new")
    fill(page, name="Ada Lovelace", email="ada at home")
    send(page, "Create customer")
    expect(page.locator("#field-email-note")).to_contain_text("match pattern")
    expect(page.locator("#field-name")).to_have_value("Ada Lovelace")
    fill(page, email="ada@home.example", address="Ring 1\n10115 Berlin", zone="Mars/Base")
    send(page, "Create customer")
    expect(page.get_by_text("'Mars/Base' is no IANA time zone")).to_be_visible()
    fill(page, zone="Europe/Paris")
    send(page, "Create customer")
    expect(page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace")
    expect(page.get_by_text("Europe/Paris")).to_be_visible()

    page.get_by_role("link", name="New line").click()
    page.locator("#field-offering_id").select_option(index=1)
    page.locator("#field-device_id").select_option(label="olt-1")
    page.locator("#field-onu_serial").select_option(SERIAL)
    send(page, "Preview")
    expect(page.locator("#field-pon_port-note")).to_have_text("needed")
    fill(page, pon_port="pon-1")
    send(page, "Preview")
    expect(page.get_by_text("What the customer pays")).to_be_visible()
    expect(page.locator("pre").first).to_contain_text("<pir>")
    assert rows(controller, "SELECT count(*) FROM orders_order") == [(0,)], "a preview orders nothing"
    send(page, "Place order")
    expect(page.get_by_role("heading", level=1)).to_have_text("Order accepted")
    ((order_id,),) = rows(controller, "SELECT order_id FROM orders_order")
    reached(controller, order_id, "completed")

    (invoice,) = billed(controller)
    show(page, controller, "/invoices?q=lovelace")
    expect(page.locator("dl.totals")).to_contain_text(invoice["total"]["amount"].replace(".", ","))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Ada Lovelace").click()
    page.get_by_role("link", name="Record a payment").click()
    fill(page, **{"amount-amount": invoice["total"]["amount"], "reference": "transfer 1"})
    send(page, "Record payment")
    expect(page.locator(".state", has_text="paid")).to_be_visible()
    show(page, controller, "/invoices?state=open")
    expect(page.get_by_text("No invoice fits.")).to_be_visible()

    subscribed(controller, page, order_id)

    park_an_event(controller)
    show(page, controller, "/noc")
    expect(page.locator("table[data-table=components]")).to_contain_text("1 to be redelivered")
    page.get_by_role("link", name="Parked events").click()
    expect(page.get_by_text("no price for it")).to_be_visible()
    assert_fits_both_widths(page)

    show(page, controller, "/orders?q=ada")
    expect(page.get_by_role("link", name="Ada Lovelace")).to_have_count(2)
    show(page, controller, "/orders?q=nobody")
    expect(page.get_by_text("No order fits.")).to_be_visible()
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the forms that were refused
    chromium.assert_clean(controller.url)

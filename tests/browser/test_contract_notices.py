"""Notices before a contract ends in a real browser, over the real services: one that no mail can tell is decided."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.clock import MovableClock
from controller.domain.price import ProductKind
from controller.domain.price_text import plan_from_data
from controller.store.engine import Database
from controller.workflows.contract_notices import ContractNotices
from controller.workflows.routes_contract_notices import endpoints as notice_endpoints
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.crm import routes as crm_routes
from erp.crm.model import Contact
from erp.crm.service import CrmService
from erp.orders.items import ItemRequest, ItemService
from erp.orders.selling import Offer
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.dunning import KeptMail
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
ACTOR = "user:anna"


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:

    async def furnish(database: Database) -> Furnished:
        clock = MovableClock(datetime(2026, 3, 12, 9, tzinfo=UTC))
        crm, catalog = CrmService(database, clock), CatalogService(database, clock)
        items = ItemService(database, clock, crm=crm, catalog=catalog)
        await crm.ensure_entity(
            name="Testnetz", zone="Europe/Berlin", currency="EUR", locale="de_DE", address="Weg 1", tax_id="DE1"
        )
        contract = {"term_months": 12, "renewal_months": 12, "notice_days": 30, "remind_days": 60}
        plan = plan_from_data({"prices": [{"model": "flat", "code": "fee", "amount": "5.00"}], "contract": contract})
        terms = VersionTerms(date(2026, 1, 1), "EUR", Decimal(19), plan, None)
        made = await catalog.create_offering(Product("Router 7", kind=ProductKind.RENTAL), terms, actor=ACTOR)
        for name, email in (("Ada Lovelace", "ada@example.org"), ("Grace Hopper", "")):
            contact = Contact(name, address="Weg 2", email=email)
            account = (await crm.create_customer(contact, actor=ACTOR)).account.account_id
            await items.add(ItemRequest(account, "router", Offer(offering_id=made.offering_id)), actor=ACTOR)
        clock.move_to(datetime(2027, 1, 20, 12, tzinfo=UTC))
        notices = ContractNotices(
            database, clock, crm, mailer=KeptMail(), sender="isp@example.net", process="headend-1"
        )
        await notices.look()
        while await notices.work():
            pass

        return clock, [*crm_routes.endpoints(crm), *notice_endpoints(notices)]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_a_notice_that_no_mail_can_tell_is_read_and_decided(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/contract-notices?state=uncertain")
    expect(page.get_by_role("heading", name="Contract notices")).to_be_visible()
    row = page.get_by_role("row", name="Grace Hopper")
    expect(row).to_contain_text("not by mail, tell them otherwise")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_have_count(0)
    assert_fits_both_widths(page)
    row.get_by_role("link", name="Decide").click()
    expect(page.get_by_text("Router 7").first).to_be_visible()
    page.get_by_label("Why").fill("phoned her")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="The customer was told").click()
    page.wait_for_url("**/contract-notices")
    expect(page.get_by_role("row", name="Grace Hopper")).to_contain_text("sent")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("sent")
    expect(page.get_by_role("link", name="Decide")).to_have_count(0)
    chromium.assert_clean(address)

"""Fees that wait for a tax service, in a real browser: why they wait, tried once it is back, or withdrawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import expect

from controller.domain.money import Money
from controller.store.engine import Database
from erp.crm import routes as crm_routes
from erp.finance import adjusting_routes
from erp.finance.adjusting import Adjusting
from erp.finance.adjustments import Adjustment
from erp.finance.errors import LevyUnavailable
from erp.finance.levies import LevyRequest
from erp.finance.model import Levy
from erp.finance.service import FinanceService
from erp.finance.settings import FinanceSettings
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import Books, made_entity
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser


class TaxService:
    """LevyAdapter of a service that is away until it is said to be back."""

    asks_a_peer = True
    away = True

    async def levies(self, requests: Sequence[LevyRequest]) -> list[list[Levy]]:
        if self.away:
            raise LevyUnavailable("the tax service does not answer: ConnectError")
        return [[] for _ in requests]


@pytest.fixture
def tax_service() -> TaxService:
    return TaxService()


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path, tax_service: TaxService) -> Iterator[str]:
    """Two customers owe a fee that could not be issued yet."""

    async def furnish(database: Database) -> Furnished:
        books = Books(database)
        await made_entity(books)
        finance = FinanceService(database, books.clock, books.crm, FinanceSettings(), tax_service)
        adjusting = Adjusting(database, books.clock, finance.corrections)
        for name, why in (("Ada Lovelace", "reminder 2"), ("Grace Hopper & Söhne GmbH", "returned direct debit")):
            fee = Adjustment(
                await books.account(name), Money(500, "EUR"), Decimal(0), "Late fee", why, f"late-fee:{why}",
                tax_category="O",
            )  # fmt: skip
            async with database.begin() as conn:
                await finance.corrections.adjust_in(conn, fee, actor="system:dunning")
        assert await adjusting.once() == 0

        return books.clock, [*crm_routes.endpoints(books.crm), *adjusting_routes.endpoints(adjusting)]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_a_fee_that_waits_is_withdrawn_and_the_other_issued_once_the_service_is_back(
    chromium: Chromium, address: str, tax_service: TaxService
) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/adjustments", "billing-user")
    expect(page.locator("dl.totals")).to_contain_text("10,00 EUR")
    row = page.get_by_role("row", name="Grace Hopper")
    expect(row).to_contain_text("returned direct debit")
    expect(page.locator("table")).to_contain_text("does not answer")
    assert_fits_both_widths(page)
    row.get_by_role("link", name="Withdraw").click()
    expect(page.locator(".lead")).to_contain_text("Late fee, 5,00 EUR")
    page.get_by_role("button", name="Withdraw").click()
    expect(page.get_by_role("alert").first).to_contain_text("look at 1 field again")
    page.get_by_label("Why").fill("goodwill")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Withdraw").click()
    page.wait_for_url("**/adjustments")
    expect(page.get_by_role("row", name="Grace Hopper")).to_have_count(0)
    tax_service.away = False
    page.get_by_role("link", name="Ask now").click()
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Ask now").click()
    page.wait_for_url("**/adjustments?*")
    expect(page.locator(".lead")).to_have_text("1 issued, 0 still wait.")
    expect(page.get_by_role("status")).to_contain_text("Nothing waits")
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the reason that was missing
    chromium.assert_clean(address)

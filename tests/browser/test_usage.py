"""Usage in a real browser: what arrived, what became of it, and the source it came from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import routes as source_routes
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.sources.service import SourceService
from billing_bridge.suspense import routes as suspense_routes
from billing_bridge.suspense.service import SuspenseService
from controller.domain.clock import MovableClock
from controller.store.engine import Database
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
NOW = datetime(2026, 9, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """A switch whose calls nobody owns yet, delivered twice; one of them lasts longer than a day."""

    async def furnish(database: Database) -> Furnished:
        clock = MovableClock(NOW)
        settings = BillingSettings()
        sources, intake = SourceService(database, clock, settings), Intake(database, clock, settings)
        made = Source(
            "msc-berlin", "Switch in Berlin", "calls", "phone", True, True, 900, None, None, 0, b"", NOW, "", None
        )
        await sources.register(made, actor="user:anna")
        began = NOW - timedelta(hours=40)
        calls = [
            Fact(str(n), n, "4930555100", began, began + timedelta(seconds=s), f"line {n}", duration_s=s, number="4989")
            for n, s in enumerate((65, 1234567 // 10, 30), 1)
        ]
        for name in ("calls-0901.csv", "calls-0901-again.csv"):
            await intake.deliver(
                "msc-berlin", calls, title=name, content=b"0" * 32, complete_until=None, actor="token:gateway"
            )

        suspense = SuspenseService(database, clock, settings)
        return clock, [*source_routes.endpoints(sources, intake, suspense), *suspense_routes.endpoints(suspense)]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def test_the_ledger_leads_to_a_source_whose_watermark_a_person_moves(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/usage", "billing-user")
    row = page.get_by_role("row", name="msc-berlin")
    expect(row).to_contain_text("ok")
    expect(row).to_contain_text("190 s")
    expect(page.locator("dl.totals div", has_text="Accepted")).to_contain_text("6")
    expect(page.locator("dl.totals div", has_text="Duplicate")).to_contain_text("3")
    assert_fits_both_widths(page)
    row.get_by_role("link", name="msc-berlin").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Source msc-berlin")
    expect(page.get_by_role("row", name="calls-0901-again.csv")).to_contain_text("3")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Nothing more comes").click()
    page.get_by_label("Complete until").fill("2026-09-01T00:00:00+02:00")
    page.get_by_label("Why").fill("the switch is empty")
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Say so").click()
    page.wait_for_url("**/usage/sources/msc-berlin")
    expect(page.locator("dl", has_text="Complete until")).to_contain_text("14 h 30 min ago")
    page.goto(f"{address}/suspense?reason=absurd")
    expect(page.get_by_role("row", name="absurd")).to_contain_text("lasts 123456 s")
    assert_fits_both_widths(page)
    chromium.assert_clean(address)

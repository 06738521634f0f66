"""Bills that wait, leakage and the three counts in a real browser, over the real services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect
from sqlalchemy import insert

from billing_bridge.checks import compared, queue
from billing_bridge.checks import routes as check_routes
from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.case import By, Finding, Record
from billing_bridge.checks.queue import HELD, SiteLimits, Waiter
from billing_bridge.checks.reconcile import Counted, Overhead, reconcile
from billing_bridge.checks.recount import Recount
from billing_bridge.checks.service import ChecksService
from billing_bridge.checks.tables import leak_day
from billing_bridge.mediation.service import MediationService
from billing_bridge.settings import BillingSettings
from collectors.netconf.model import OnuState
from collectors.onus import OnuSightings
from controller.domain.clock import MovableClock
from controller.domain.identity import AccountId, BillRunId, ServiceId, new_id
from controller.domain.money import Money
from controller.domain.ports import AccountSales
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from controller.workflows import routes_assurance
from controller.workflows.leakage import Leakage
from controller.workflows.reconciliation import Reconciliation
from erp.catalog.service import CatalogService
from erp.crm import routes as crm_routes
from erp.inventory.service import InventoryService
from radius.live import LiveAccess
from tests.support.billing_fakes import PriceList
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.finance import Books, made_entity
from tests.support.series import FakeTimeSeries
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
TB = 10**12


class Nothing:
    """A SalesBook and an AccessMap of nobody."""

    async def sold_in(self, conn: object, account_ids: Sequence[AccountId]) -> Mapping[AccountId, AccountSales]:
        return {}

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        return {}


def euros(minor: int) -> Money:
    return Money(minor, "EUR")


def waiter(account_id: AccountId, check: str, stake: int, n: int) -> Waiter:
    usage = check == "usage-jump"
    finding = Finding(
        check,
        By.HISTORY if usage else By.CONTRACT,
        "912 GB from 2026-10-01 to 2026-11-01; usual are 180 to 410 GB"
        if usage
        else "agreed at 25.00 EUR, billed 30.00",
        euros(2400 if usage else 2500),
        euros(6100 if usage else 2500),
        euros(6100 + stake if usage else 2500 + stake),
        euros(stake),
        "s" * 32,
        "e" * 32,
        (
            Record("charge", "c" * 32, "Fibre 100: 762 GB beyond the included volume"),
            Record("usage-day", f"{'e' * 32}/2026-10-11", "2026-10-11: 240000000000 octets"),
            Record("interval", "4711", "2026-10-11 03:10 to 03:15 UTC: 201000000000 octets, log records 881,882"),
        ),
    )
    at = NOW - timedelta(hours=n)
    return Waiter(
        new_id(at), BillRunId("b" * 32), account_id, 0, HELD, euros(9900), euros(stake), (finding,), at, "user:clerk"
    )  # fmt: skip


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Two bills wait, a user and an ONU were made by hand, and one service lost a per cent of a day."""

    async def furnish(database: Database) -> Furnished:
        clock = MovableClock(NOW)
        books = Books(database)
        await made_entity(books)
        ada, grace = await books.account("Ada Lovelace"), await books.account("Grace Hopper & Söhne GmbH")
        settings, nothing = BillingSettings(zone=BERLIN), Nothing()
        checks = ChecksService(database, clock, settings, catalog=PriceList([]), sales=nothing)
        await checks.put_limits(SiteLimits("EUR", Decimal(20), Decimal(3), Decimal("0.02")), actor="user:root")
        onus, usage = OnuSightings(database), UsageLogReader(database)
        leakage = Leakage(
            database, clock, BERLIN, "EUR", billed=BilledLines(database), catalog=CatalogService(database, clock),
            inventory=InventoryService(database, clock), radius=LiveAccess(database), onus=onus, access=nothing,
        )  # fmt: skip
        reconciliation = Reconciliation(
            database, clock, BERLIN, recount=Recount(database, usage, settings),
            mediation=MediationService(database, clock, usage, settings), usage=usage, series=FakeTimeSeries(),
            access=nothing,
        )  # fmt: skip
        await onus.note("d" * 32, [OnuState("NOKI0000BAD1", "v", True, "pon-3", None, None, None, None)], NOW)
        async with database.begin() as conn:
            await queue.add(conn, [waiter(ada, "usage-jump", 3800, 2), waiter(grace, "contract-price", 500, 1)])
            await conn.execute(insert(leak_day), [leak_row(n, side) for n in range(30) for side in (0, 1)])
            for n in range(21):
                day, radius = date(2026, 11, 19) - timedelta(days=n), 3 * TB + n % 7 * TB // 9
                lost = radius // 100 if n == 2 else 0
                counted = Counted("e" * 32, radius, radius - lost, 0, int(radius * 1.03))
                other = Counted("f" * 32, radius // 3, radius // 3, radius // 3, None)
                known = Overhead(0.03, 0.005, "the days before")
                await compared.put(conn, day, [reconcile(counted, known), reconcile(other, known)], NOW)
        await leakage.note()

        rooms = [crm_routes.endpoints(books.crm), check_routes.endpoints(checks, "EUR")]
        rooms.append(routes_assurance.endpoints(leakage, reconciliation))
        return clock, [e for room in rooms for e in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def leak_row(n: int, side: int) -> dict[str, object]:
    return {
        "day": date(2026, 11, 19) - timedelta(days=n),
        "side": ("live-not-billed", "billed-not-live")[side],
        "currency": "EUR",
        "items": 3,
        "per_day_minor": (900 - 20 * n if not side else 150 + n % 5 * 30),
        "looked_at": NOW,
    }


def test_a_bill_is_looked_at_released_and_approved_by_another(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/exceptions", "billing-user")
    expect(page.locator("dl.totals")).to_contain_text("usage jump")
    expect(page.get_by_role("row", name="Ada Lovelace")).to_contain_text("38,00 EUR")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Ada Lovelace").click()
    expect(page.get_by_role("img", name="expected 24.00 to 61.00")).to_be_visible()
    expect(page.get_by_role("cell", name="log records 881,882")).to_be_visible()
    assert_fits_both_widths(page)
    page.get_by_role("button", name="I look at it").click()
    expect(page.locator("dl.facts").first).to_contain_text("user:billing-user")
    page.get_by_role("link", name="Release").click()
    page.get_by_label("Why").fill("the customer has told us of a new server")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_contain_text("a second person")
    page.get_by_role("link", name="Approve").click()
    page.get_by_label("Why").fill("I say so myself")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("another person must decide")
    assert_fits_both_widths(page)
    other = chromium.page(width=TELEPHONE, height=900)
    sign_in(other, address, "/exceptions")
    other.goto(f"{address}/exceptions?state=released")
    other.get_by_role("link", name="Ada Lovelace").click()
    other.get_by_role("link", name="Approve").click()
    other.get_by_label("Why").fill("I have called the customer")
    other.get_by_role("button", name="Approve").click()
    expect(other.locator("dl.facts").first).to_contain_text("user:admin-user: I have called the customer")
    assert_fits_both_widths(other)
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the approval that was refused
    chromium.assert_clean(address)


def test_leakage_and_the_three_counts_are_pictures_first(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/leakage", "billing-user")
    expect(page.locator(".uplot")).to_have_count(1)
    expect(page.get_by_role("row", name="NOKI0000BAD1")).to_contain_text("pon-3")
    expect(page.locator("dl.facts").first).to_contain_text("As of")
    page.get_by_role("button", name="Look now").click()
    page.wait_for_url("**/leakage")
    expect(page.get_by_role("row", name="NOKI0000BAD1")).to_contain_text("pon-3")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Reconciliation").click()
    expect(page.locator(".uplot")).to_have_count(1)
    expect(page.locator("section.card", has_text="What no reason explains").last).to_contain_text(
        "RADIUS told more than is billed"
    )
    assert_fits_both_widths(page)
    page.get_by_role("link", name="e" * 32).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Counts of a service")
    expect(page.locator("table.stack tbody tr")).to_have_count(21)
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Reconciliation").click()
    page.get_by_role("button", name="Compare now").click()
    page.wait_for_url("**/reconciliation")
    chromium.assert_clean(address)


def test_the_limits_are_tried_on_what_waits_then_set_and_who_set_them_is_told(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/check-limits")
    expect(page.get_by_role("row", name="EUR")).to_contain_text("user:root")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="EUR", exact=True).click()
    waiting = page.locator("section.card", has_text="Bills that wait now")
    expect(waiting.locator("div", has_text="Two people").last).to_contain_text("1")
    assert_fits_both_widths(page)
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Two people above").fill("38,00")
    page.get_by_label("Why").fill("the team is trained")
    page.get_by_role("button", name="What would it mean?").click()
    expect(page.locator("section.card", has_text="by that limit").locator("dl div").last).to_contain_text("0")
    assert_fits_both_widths(page)
    page.get_by_label("Usage held from").fill("-1")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_role("alert").first).to_contain_text("look at 1 field again")
    page.get_by_label("Usage held from").fill("4")
    page.get_by_role("button", name="Set", exact=True).click()
    row = page.get_by_role("row", name="the team is trained")
    expect(row).to_contain_text("was 20")
    expect(row).to_contain_text("user:admin-user")
    assert_fits_both_widths(page)
    clerk = chromium.page(width=TELEPHONE, height=900)
    sign_in(clerk, address, "/check-limits", "billing-user")
    clerk.get_by_role("link", name="EUR", exact=True).click()
    expect(clerk.get_by_role("status")).to_contain_text("Only an administrator")
    expect(clerk.get_by_role("link", name="Change")).to_have_count(0)
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the limit that was refused
    chromium.assert_clean(address)

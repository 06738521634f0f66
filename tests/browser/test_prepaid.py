"""Prepaid services in a real browser, over the real services: a balance is opened, topped up, looked at and closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from billing_bridge.prepaid import routes as prepaid_routes
from billing_bridge.prepaid.telling import PrepaidTelling
from controller.domain.clock import MovableClock
from controller.domain.identity import ServiceId
from controller.store.engine import Database
from controller.workflows import routes_prepaid, routes_prepaid_notices
from controller.workflows.prepaid import PrepaidSales
from controller.workflows.prepaid_notices import PrepaidNotices
from erp.crm import routes as crm_routes
from erp.finance import voucher_routes
from erp.finance.prepayments import Prepayments
from erp.finance.settlement import Settlement
from erp.finance.vouchers import Receipts
from tests.support.browser import Chromium, assert_nothing_sticks_out
from tests.support.isp import Isp
from tests.support.prepaid import MB, NAS, NOW, SERVICE, PrepaidWorld
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser

OTHER, LATER = ServiceId("6" * 32), NOW + timedelta(hours=1)


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """A balance of Anna's with a session that has used it up, and a service of hers that is not prepaid yet."""

    async def furnish(database: Database) -> Furnished:
        isp, world = Isp(database, tmp_path), PrepaidWorld(database)
        account_id = (await isp.customer()).account.account_id
        await world.open(slice_=500 * MB, account=account_id, low=100 * MB)
        await world.top_up(800 * MB, 840)
        await world.prepaid.reserve(SERVICE, "line 1", NAS)
        await world.report("start")
        for used in (300, 700, 850):
            await world.later(minutes=5)
            await world.report("interim", used * MB)
        await world.log.close()
        sales = sales_of(isp, world)
        telling = PrepaidTelling(world.clock, world.prepaid)
        notices = PrepaidNotices(database, world.clock, isp.crm, telling, mailer=None)
        await notices.look()
        await notices.work()

        rooms = [crm_routes.endpoints(isp.crm), prepaid_routes.endpoints(world.prepaid)]
        rooms += [routes_prepaid.endpoints(sales), voucher_routes.endpoints(Receipts(database))]
        rooms.append(routes_prepaid_notices.endpoints(notices))
        return world.clock, [endpoint for room in rooms for endpoint in room]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url


def sales_of(isp: Isp, world: PrepaidWorld) -> PrepaidSales:
    prepayments = Prepayments(world.clock, isp.crm, Settlement(world.database, world.clock, isp.crm))
    return PrepaidSales(world.database, world.prepaid, world.closing, prepayments, isp.crm)


async def wait_no_longer(directory: Path) -> None:
    """What the controller's own tasks do once the time to wait for the session is over."""
    world = PrepaidWorld(Database(f"sqlite+aiosqlite:///{directory}/headend.db"), clock=MovableClock(LATER))
    await world.counter.catch_up()
    await sales_of(Isp(world.database, directory), world).pay_out()
    await world.log.close()
    await world.database.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_a_balance_is_opened_topped_up_looked_at_and_closed(
    chromium: Chromium, address: str, width: int, tmp_path: Path
) -> None:
    page = chromium.page(width=width, height=900)
    sign_in(page, address, "/prepaid")
    assert_nothing_sticks_out(page)

    page.get_by_role("link", name="Anna Muster").click()
    expect(page.get_by_role("heading", name="Prepaid balance of Anna Muster")).to_be_visible()
    expect(page.locator(".state").first).to_contain_text("empty")
    expect(page.get_by_text("used, 50 MB beyond the balance")).to_be_visible()
    assert_nothing_sticks_out(page)

    page.get_by_role("link", name="Top up").click()
    page.get_by_role("button", name="Take the money").click()
    expect(page.get_by_text("needed").first).to_be_visible()
    page.locator("[name='paid.amount']").fill("11,90")
    page.locator("[name='units']").fill("1,5")
    page.locator("[name='tax_percent']").fill("19")
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="Take the money").click()
    expect(page.locator(".state").first).to_contain_text("active")
    expect(page.get_by_text("+1.5 GB")).to_be_visible()

    assert_nothing_sticks_out(page)
    with page.expect_response("**/receipts/*/pdf") as answered:
        page.evaluate("fetch(document.querySelector('a[href^=\"/receipts/\"]').href)")
    assert answered.value.headers["content-type"] == "application/pdf"
    assert "RC-" in answered.value.headers["content-disposition"]

    page.get_by_role("link", name="Close").click()
    page.locator("[name='reason']").fill("moved to a contract")
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".state").first).to_contain_text("closing")
    expect(page.get_by_role("link", name="Top up")).to_have_count(0)
    expect(page.get_by_text("becomes a payment of the account")).to_be_visible()
    assert_nothing_sticks_out(page)
    later = threading.Thread(target=lambda: asyncio.run(wait_no_longer(tmp_path)))
    later.start()
    later.join(30)
    page.reload()
    expect(page.locator(".state").first).to_contain_text("closed")
    expect(page.get_by_text("given back to the customer")).to_be_visible()
    page.goto(f"{address}/receipts")
    expect(page.get_by_role("link", name="RC-")).to_have_count(2)
    assert_nothing_sticks_out(page)

    page.goto(f"{address}/prepaid")
    page.get_by_role("link", name="Prepaid notices").click()
    expect(page.get_by_text("not by mail, tell them otherwise")).to_be_visible()
    assert_nothing_sticks_out(page)
    page.get_by_role("link", name="Decide").click()
    expect(page.get_by_text("noch 0 B übrig")).to_be_visible()
    page.locator("[name='reason']").fill("phoned")
    page.get_by_role("button", name="The customer was told").click()
    expect(page.get_by_text("told, says")).to_be_visible()

    page.goto(f"{address}/prepaid/new")
    page.locator("[name='service_id']").fill(OTHER)
    page.locator("[name='unit']").select_option("seconds")
    page.locator("[name='slice']").fill("3600")
    page.get_by_label("Account").press_sequentially("Anna")
    page.locator("datalist option").first.wait_for(state="attached")
    page.get_by_label("Account").fill(page.locator("datalist option").first.get_attribute("value") or "")
    assert_nothing_sticks_out(page)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("No session, and no login.")).to_be_visible()
    expect(page.get_by_text("3600 s")).to_be_visible()
    assert_nothing_sticks_out(page)

"""A number that changed hands at noon, told late, in a real browser: given, moved, and what moved is told for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from billing_bridge.settings import BillingSettings
from billing_bridge.sources import routes as source_routes
from billing_bridge.sources.identifiers import PHONE
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from controller.domain.price import Calls, Destination, Flat, PricePlan
from controller.http.endpoint import Call, Endpoint
from controller.http.endpoint import Page as Listed
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS
from erp.crm import routes as crm_routes
from erp.orders.routes import SubscriptionOut, SubscriptionQuery
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.site import Furnished, sign_in, site_over

pytestmark = pytest.mark.browser
PLAN, NUMBER = "b" * 32, "4930555100"


def subscriptions(lines: dict[str, Line]) -> Endpoint:
    """Of the lines by user name: orders are not what is tested."""

    async def index(call: Call) -> Listed:
        query: Any = call.query_as(SubscriptionQuery)
        rows = [
            SubscriptionOut(
                subscription_id=line.subscription_id, account_id=line.account_id, service_id=line.service_id,
                version_id=PLAN, state="active", username=username, framed_ipv4=None, attachments=[],
                ordered_at=berlin(2026, 9, 1), activated_at=None, ended_at=None,
            )
            for username, line in lines.items()
            if query.account_id in (None, line.account_id) and query.service_id in (None, line.service_id)
        ]  # fmt: skip
        return Listed.of(rows, query, lambda row: (row.subscription_id,), lambda row: row)

    return Endpoint(
        "GET", "/subscriptions", scope="orders:read", handler=index, summary="Lines", query=SubscriptionQuery,
        returns=SubscriptionOut, paged=True,
    )  # fmt: skip


@pytest.fixture
def address(sqlite_template: Path, tmp_path: Path) -> Iterator[str]:
    """Ada's number made three calls, two of them after noon; Grace has two lines."""
    made: list[tuple[asyncio.AbstractEventLoop, BillingWorld]] = []

    async def furnish(database: Database) -> Furnished:
        germany = Destination(prefix="49", price=Decimal("0.06"), first_s=60, next_s=6)
        prices = (Flat(code="fee", amount=Decimal("5.00")), Calls(code="voice", destinations=(germany,)))
        plan = replace(tariff(PLAN, "5.00"), plan=PricePlan(prices=prices))
        world = BillingWorld(database, tmp_path / "jobs", [plan], berlin(2026, 9, 1, 7))
        await world.entity()
        await world.launch()
        made.append((asyncio.get_running_loop(), world))
        ada, grace = await world.customer("Ada Lovelace"), await world.customer("Grace Hopper & Söhne GmbH")
        lines = {"ada.1": await world.activate(PLAN, ada)}
        lines |= {name: await world.activate(PLAN, grace) for name in ("grace.1", "grace.2")}
        now = world.clock.now()
        pbx = Source("pbx", "PBX", "calls", PHONE, True, False, None, None, None, 0, FIRST_PREVIOUS, now, "", None)
        await world.sources.register(pbx, actor="user:anna")
        await world.suspense.give(
            PHONE, NUMBER, berlin(2026, 9, 1, 8), lines["ada.1"].service_id, overrides=False, actor="user:anna",
            reason="new line",
        )  # fmt: skip
        world.clock.move_to(berlin(2026, 9, 1, 15))
        begun = [berlin(2026, 9, 1, hour) for hour in (9, 13, 14)]
        calls = [
            Fact(str(n), n, NUMBER, at, at + timedelta(seconds=65), str(n), 0, 0, 65, "49891234")
            for n, at in enumerate(begun, 1)
        ]
        intake = Intake(database, world.clock, BillingSettings(zone=BERLIN))
        await intake.deliver("pbx", calls, title="calls", content=b"c" * 32, complete_until=None, actor="user:anna")

        own = source_routes.endpoints(world.sources, intake, world.suspense)
        return world.clock, [*crm_routes.endpoints(world.crm), subscriptions(lines), *own]

    with site_over(sqlite_template, tmp_path, furnish) as url:
        yield url
        ((loop, world),) = made
        asyncio.run_coroutine_threadsafe(world.close(), loop).result(30)


def choose_grace(page: Page) -> None:
    page.get_by_label("Customer").press_sequentially("grace")
    page.locator("datalist option").first.wait_for(state="attached")
    page.get_by_label("Customer").fill(page.locator("datalist option").first.get_attribute("value") or "")


def test_a_number_goes_over_at_noon_and_ends(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, "/usage/identifiers", "billing-user")
    expect(page.get_by_role("row", name=NUMBER)).to_contain_text("Ada Lovelace")
    assert_fits_both_widths(page)
    page.get_by_role("link", name=NUMBER).click()
    expect(page.get_by_text("Nothing: all usage came after")).to_be_visible()
    page.get_by_role("link", name="Give it to a service").click()
    page.get_by_label("From the instant").fill("2026-09-01 12:00")
    choose_grace(page)
    page.get_by_label("Why").fill("ported at noon, told late")
    page.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("alert").first).to_contain_text("customer's lines? There are: grace.1, grace.2")
    assert_fits_both_widths(page)
    page.get_by_label("Service").fill("grace.2")
    page.get_by_role("button", name="Say so").click()
    expect(page.locator(".field.wrong")).to_contain_text("timezone")
    page.get_by_label("From the instant").fill("2026-09-01T12:00:00+02:00")
    page.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Said of {NUMBER}")
    expect(page.get_by_role("row", name="grace.2")).to_contain_text("2 calls, 130 s")
    assert_fits_both_widths(page)
    page.get_by_role("link", name=f"All of {NUMBER}").click()
    expect(page.get_by_role("row", name="taken from")).to_contain_text("Ada Lovelace")
    expect(page.get_by_role("row", name="given to")).to_contain_text("2 calls, 130 s")
    expect(page.locator(".strip rect.plan")).to_have_count(1)
    assert_fits_both_widths(page)
    page.get_by_role("link", name="It is nobody's any more").click()
    expect(page.get_by_label("Belongs to")).to_have_value("nobody")
    page.get_by_label("Why").fill("given back")
    page.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("status").first).to_contain_text("belongs to nobody from then on")
    page.goto(f"{address}/usage/identifiers?q=4930")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.goto(f"{address}/usage/identifiers?q=30")
    expect(page.get_by_text("None fits.")).to_be_visible()
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # what was not clear
    chromium.assert_clean(address)


def test_who_may_only_read_says_nothing(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    sign_in(page, address, f"/usage/identifiers/one?kind=phone&identifier={NUMBER}", "readonly-user")
    expect(page.get_by_role("heading", level=1)).to_have_text(NUMBER)
    expect(page.get_by_role("link", name="Give it to a service")).to_have_count(0)
    chromium.assert_clean(address)

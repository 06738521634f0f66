"""The NOC page in a real browser: what it shows equals what the network says, it moves, and it talks to nobody else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from controller.app.auth_tables import browser_session, token, user
from controller.store.audit import audit
from controller.store.engine import Database
from controller.store.metadata import metadata
from controller.store.outbox import outbox
from tests.support import sample_api
from tests.support.browser import Chromium, assert_nothing_sticks_out
from tests.support.http_server import serving
from tests.support.noc import FakeNoc, snapshot
from tests.support.site import World, sign_in

pytestmark = pytest.mark.browser


@pytest.fixture
def world() -> World:
    return World(noc=FakeNoc(snapshot(datetime.now(UTC))), endpoints=lambda database, auth: sample_api.endpoints([]))


@pytest.fixture
def address(world: World, tmp_path: Path) -> Iterator[str]:
    tasks: list[asyncio.Task[None]] = []

    async def build() -> object:
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/noc.db")
        tables = [user, token, browser_session, audit, outbox]
        async with database.begin() as connection:
            await connection.run_sync(lambda sync: metadata.create_all(sync, tables=tables))
        app = await world.build(database)
        assert world.feed is not None
        tasks.append(asyncio.create_task(world.feed.run()))
        return app

    def stop() -> None:
        assert world.stream is not None
        world.stream.close()
        tasks[0].cancel()

    with serving(build, on_stop=stop) as url:
        yield url


def figure(page: Page, name: str) -> float:
    return float(page.locator(f"[data-figure={name}]").get_attribute("data-value") or "nan")


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_shows_what_the_network_says_and_moves_with_it(
    chromium: Chromium, address: str, world: World, width: int, dark: bool
) -> None:
    page = chromium.page(width=width, height=900, dark=dark)
    sign_in(page, address, "/noc", "noc-user")
    expect(page.locator("#pulse")).to_have_text("Live")
    shown = world.noc.now
    assert shown is not None
    for name in ("live_sessions", "subscribers", "held_orders", "downstream_bps", "upstream_bps"):
        assert figure(page, name) == getattr(shown, name)
    expect(page.locator("[data-figure=downstream_bps]")).to_have_text("2.41 Gbit/s")
    world.noc.now = snapshot(datetime.now(UTC), live_sessions=191, held_orders=0, downstream_bps=None)
    expect(page.locator("[data-figure=live_sessions]")).to_have_text("191")
    expect(page.locator("[data-figure=downstream_bps]")).to_have_text("–")
    assert page.locator("[data-alarm=held_orders].alarm").count() == 0
    assert_nothing_sticks_out(page)
    chromium.assert_clean(address)


def test_devices_orders_events_and_parts_are_listed_with_their_state_in_words(chromium: Chromium, address: str) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc", "noc-user")
    row = page.locator("table[data-table=devices] tr", has_text="core-1.ber")
    expect(row).to_contain_text("down")
    expect(row).to_contain_text("SNMP: no answer for 42 s")
    held = page.locator("table[data-table=orders] tr", has_text="Bäckerei Krüger")
    expect(held).to_contain_text("OLT shows 100 Mbit/s, 300 wanted")
    expect(held).to_contain_text("network")
    expect(page.locator("table[data-table=events] tr", has_text="order.held")).to_have_count(1)
    expect(page.locator("table[data-table=components] tr", has_text="MQTT broker")).to_contain_text("absent")
    chromium.assert_clean(address)


def test_the_charts_draw_and_their_range_can_be_chosen(chromium: Chromium, address: str) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc", "noc-user")
    for chart in ("throughput", "logins", "accounting"):
        expect(page.locator(f"#chart-{chart} canvas")).to_be_visible()
    painted = """() => {
        const canvas = document.querySelector("#chart-throughput canvas");
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
        copy.drawImage(canvas, 0, 0);
        const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data;
        const colours = new Set();
        for (let i = 0; i < pixels.length; i += 4) colours.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`);
        return colours.size;
    }"""
    for chosen in ("1 h", "24 h", "60 d"):
        with page.expect_response("**/noc/throughput?range=*") as answered:
            page.get_by_role("button", name=chosen).click()
        assert len(answered.value.json()["at"]) >= 48
        assert page.get_by_role("button", name=chosen).get_attribute("aria-pressed") == "true"
        assert page.evaluate(painted) > 20
    page.get_by_role("button", name="5 min").click()
    assert page.evaluate(painted) > 5
    chromium.assert_clean(address)


def test_a_page_that_stands_still_says_so_and_goes_on_by_itself(chromium: Chromium, address: str, world: World) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc", "noc-user")
    expect(page.locator("#pulse")).to_have_text("Live")
    world.noc.failing = True
    expect(page.locator("#pulse")).to_have_text("Standing still", timeout=20_000)
    world.noc.failing = False
    expect(page.locator("#pulse")).to_have_text("Live", timeout=20_000)


def test_an_ended_session_leads_back_to_the_login_page(chromium: Chromium, address: str) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc", "noc-user")
    expect(page.locator("#pulse")).to_have_text("Live")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    assert "__Host-headend" not in {cookie["name"] for cookie in page.context.cookies()}
    page.goto(f"{address}/noc")
    page.wait_for_url("**/login?next=**")


def test_chromium_keeps_the_secure_cookie_on_loopback_and_hides_it_from_scripts(
    chromium: Chromium, address: str
) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc", "noc-user")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    kept = cookies["__Host-headend"]
    assert (kept["secure"], kept["httpOnly"], kept["sameSite"]) == (True, True, "Lax")
    assert page.evaluate("document.cookie") == ""


def test_sessions_are_searched_as_one_types(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=390, height=800)
    sign_in(page, address, "/noc", "noc-user")
    page.goto(f"{address}/sessions")
    expect(page.locator("#rows tbody tr")).to_have_count(24)
    page.get_by_label("Search").fill("sub007@isp.example")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=sub007"))
    assert_nothing_sticks_out(page)
    chromium.assert_clean(address)


def test_every_control_has_a_name_and_every_page_one_heading(chromium: Chromium, address: str) -> None:
    page = chromium.page()
    sign_in(page, address, "/noc")
    for path in ("noc", "sessions", "orders", "orders/" + "0" * 31 + "1", "customers", "devices", "invoices"):
        page.goto(f"{address}/{path}")
        assert page.locator("h1").count() == 1
        nameless = page.evaluate("""() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select")]
            .filter((e) => !(e.textContent.trim() || e.labels?.length || e.getAttribute("aria-label") || e.title))
            .map((e) => e.outerHTML)""")
        assert nameless == []
        assert page.evaluate("document.documentElement.lang") == "en"
    chromium.assert_clean(address)

"""The pages of RADIUS in Chromium, over a true room and the lab's BRAS: what operators do and what they see of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from controller.app import record_routes
from controller.app.bus import Bus
from controller.app.schema import metadata
from controller.domain.clock import SystemClock
from controller.domain.identity import ServiceId
from controller.domain.service import SpeedProfile
from controller.http.endpoint import Endpoint
from controller.store.engine import Database
from controller.store.usage_reader import UsageLogReader
from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Line
from lab.clock import now
from radius import access_routes, session_speed_routes, trace_routes
from radius import routes as radius_routes
from radius.accounting import check_routes, quarantine_routes, whois_routes
from radius.accounting import routes as session_routes
from radius.accounting.checks import NasChecks
from radius.accounting.quarantine import QuarantineService
from radius.accounting.whois import Whois
from radius.dynamic import routes as change_routes
from radius.pools import routes as pool_routes
from radius.quota import routes as quota_routes
from radius.room import RadiusRoom
from tests.support.browser import TELEPHONE, Chromium, assert_fits_both_widths
from tests.support.http_server import serving
from tests.support.radius import GOLD, SECRET, SERVICE, RecordingRoom, put_login, recording_room, register
from tests.support.site import World, sign_in

pytestmark = pytest.mark.browser

GB, TB = 10**9, 10**12
SLOW = SpeedProfile("slow", 2_000_000, 1_000_000)
BERTA = ServiceId("b" * 32)


class Isp:
    """A room, its BRAS and its pages, in the loop of the server's thread. `do` runs something there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self.room: RadiusRoom
        self.bras: Bras

    async def build(self) -> Any:
        self._loop = asyncio.get_running_loop()
        database = Database(f"sqlite+aiosqlite:///{self._directory}/pages.db")
        self._stack.push_async_callback(database.close)
        async with database.begin() as connection:
            await connection.run_sync(metadata.create_all)
        running = await self._stack.enter_async_context(recording_room(database, self._directory))
        self.room = running.room
        lines = [Line(name, "hunter2", f"02:00:00:00:00:0{n}", n, f"e{n}") for n, name in enumerate(("anna", "berta"))]
        auth, acct = self.room.listener.auth_port, self.room.listener.acct_port
        settings = BrasSettings(
            "127.0.0.2", SECRET, ("127.0.0.1", auth), ("127.0.0.1", acct), self._directory / "bras.json",
            reports_rate=True,
        )  # fmt: skip
        self.bras = Bras(settings, lines, now)
        self.bras.bind()
        self._stack.push_async_callback(self.bras.close)
        await register(self.room, address="127.0.0.2", vendor="mikrotik", coa_port=self.bras.coa_port)
        for name, service_id in (("anna", SERVICE), ("berta", BERTA)):
            await put_login(self.room, name, service_id)
        background = asyncio.create_task(self.room.run())
        self._stack.callback(background.cancel)
        return await World(endpoints=lambda *_: _endpoints(database, running)).build(database)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop(self) -> None:
        self._ending = asyncio.create_task(self._stack.aclose())


def _endpoints(database: Database, running: RecordingRoom) -> list[Endpoint]:
    room, clock = running.room, SystemClock()
    return [
        *radius_routes.endpoints(room.nas, room.sessions),
        *access_routes.endpoints(room.access),
        *trace_routes.endpoints(room.traces),
        *session_speed_routes.endpoints(room.speeds),
        *session_routes.endpoints(running.sessions),
        *pool_routes.endpoints(room.pools),
        *quota_routes.endpoints(room.quota, "Europe/Berlin"),
        *change_routes.endpoints(room.sessions.changes),
        *quarantine_routes.endpoints(QuarantineService(database, clock)),
        *check_routes.endpoints(NasChecks(database, clock)),
        *whois_routes.endpoints(Whois(database, clock, UsageLogReader(database))),
        *record_routes.endpoints(database, Bus(database, clock, {})),
    ]


@pytest.fixture
def isp(tmp_path: Path) -> Isp:
    return Isp(tmp_path)


@pytest.fixture
def address(isp: Isp) -> Iterator[str]:
    with serving(isp.build, on_stop=isp.stop) as url:
        yield url


def fill(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.locator(f"#field-{name}").fill(value)


def send(page: Page, button: str) -> None:
    assert_fits_both_widths(page)
    page.get_by_role("button", name=button, exact=True).click()


def follow(page: Page, link: str) -> None:
    assert_fits_both_widths(page)
    page.get_by_role("link", name=link, exact=True).click()


def test_what_an_operator_does_about_sessions_addresses_and_fair_use(
    chromium: Chromium, address: str, isp: Isp
) -> None:
    page = chromium.page(width=TELEPHONE, height=900)
    page.on("dialog", lambda dialog: dialog.accept())
    sign_in(page, address, "/sessions")
    _a_pool_is_made_and_widened(page)
    page.goto(f"{address}/trace?target=berta")
    expect(page.locator("#pulse")).to_have_text("Watching berta")
    isp.do(isp.room.access.put_offering(GOLD.name, {"pool": "homes"}, actor="user:test"))
    session = isp.do(isp.bras.login("berta", wait_for_start=True))
    expect(page.locator("#packets .code", has_text="Access-Accept")).to_have_count(1)
    expect(page.locator("#packets dl > div", has_text="User-Password")).to_contain_text("***")
    expect(page.locator("#packets .code", has_text="Accounting-Response")).to_have_count(1)
    assert_fits_both_widths(page)
    page.get_by_role("button", name="Stop").click()
    _the_address_is_leased_and_found(page, address, session.framed_ip)
    _a_speed_is_changed_and_its_outcome_shown(page, address, isp)
    _a_leap_is_held_and_dismissed(page, address, isp)
    _an_allowance_throttles_and_a_top_up_frees(page, address, isp)
    page.goto(f"{address}/sessions?q=berta")
    send(page, "Disconnect")
    newest = page.locator("tbody tr").first
    expect(newest.locator("td[data-label='What'] > span")).to_have_text("disconnect")
    expect(newest.locator("td[data-label='NAS says']")).to_have_text("ack")
    assert_fits_both_widths(page)
    page.goto(f"{address}/nas")
    page.locator("#content").get_by_role("link", name="Checks", exact=True).click()
    expect(page.get_by_role("cell", name="bras")).to_be_visible()
    assert_fits_both_widths(page)
    chromium.complaints[:] = [c for c in chromium.complaints if "422" not in c]  # the forms that were refused
    chromium.assert_clean(address)


def _a_pool_is_made_and_widened(page: Page) -> None:
    follow(page, "Pools")
    expect(page.get_by_text("There is no pool")).to_be_visible()
    page.get_by_role("link", name="New pool").first.click()
    fill(page, name="homes", ranges="192.0.2.0/30 nonsense")
    send(page, "Make pool")
    expect(page.locator(".notice.bad").first).to_be_visible()
    fill(page, ranges="192.0.2.0/30")
    send(page, "Make pool")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pool homes")
    follow(page, "Change")
    fill(page, add_ranges="198.51.100.0/30")
    send(page, "Change pool")
    expect(page.get_by_text("198.51.100.0/30")).to_be_visible()


def _the_address_is_leased_and_found(page: Page, address: str, framed: str) -> None:
    page.goto(f"{address}/pools")
    expect(page.locator("svg.bar")).to_have_attribute("aria-label", "25\u00a0% leased")
    assert_fits_both_widths(page)
    follow(page, "homes")
    expect(page.get_by_role("cell", name=framed)).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/whois")
    fill(page, address=framed, reason="request 17/26", at="noon")
    send(page, "Ask")
    expect(page.locator("#field-at-note")).to_contain_text("2026-05-03 10:15:07")
    page.locator("#field-at").fill(f"{now():%Y-%m-%d %H:%M:%S}")
    send(page, "Ask")
    expect(page.locator("dd", has_text="berta")).to_be_visible()
    expect(page.locator("td[data-label='Kind'] > span")).to_have_text("start")
    assert_fits_both_widths(page)


def _a_speed_is_changed_and_its_outcome_shown(page: Page, address: str, isp: Isp) -> None:
    page.goto(f"{address}/sessions")
    follow(page, "berta")
    follow(page, "Change speed")
    fill(page, profile_name="evening", downstream_bps="50", upstream_bps="12,5")
    send(page, "Send CoA")
    row = page.locator("tbody tr", has_text="evening")
    expect(row.locator("td[data-label='NAS says']")).to_have_text("ack")
    expect(row).to_contain_text("user:admin-user")
    session = isp.bras.session_of("berta")
    assert session is not None
    assert (session.downstream_bps, session.upstream_bps) == (50_000_000, 12_500_000)
    isp.do(isp.bras.interim(session))
    page.reload()
    expect(page.locator("dd", has_text="50 Mbit/s")).to_be_visible()
    assert_fits_both_widths(page)


def _a_leap_is_held_and_dismissed(page: Page, address: str, isp: Isp) -> None:
    session = isp.bras.session_of("berta")
    assert session is not None
    session.downstream_octets += 900 * TB
    isp.do(isp.bras.interim(session))
    page.goto(f"{address}/quarantine")
    assert_fits_both_widths(page)
    follow(page, "berta")
    expect(page.get_by_text("More than the port can have carried")).to_be_visible()
    follow(page, "Dismiss it")
    send(page, "Dismiss it")
    expect(page.locator("#field-why-note")).to_have_text("needed")
    fill(page, why="the port's own counter says otherwise")
    send(page, "Dismiss it")
    expect(page.locator("dd", has_text="dismissed")).to_be_visible()
    expect(page.get_by_text("user:admin-user")).to_be_visible()
    assert_fits_both_widths(page)
    session.downstream_octets -= 900 * TB


def _an_allowance_throttles_and_a_top_up_frees(page: Page, address: str, isp: Isp) -> None:
    page.goto(f"{address}/services/{BERTA}/fair-use")
    expect(page.get_by_text("without allowance")).to_be_visible()
    follow(page, "Give an allowance")
    fill(page, octets="0", downstream_bps="2", upstream_bps="1", cap_octets="50")
    send(page, "Allowance")
    expect(page.locator("dd", has_text="step 1: fair-use")).to_be_visible()
    assert_fits_both_widths(page)
    page.goto(f"{address}/sessions?q=berta")
    follow(page, "berta")
    follow(page, "Change speed")
    fill(page, profile_name="night", downstream_bps="200", upstream_bps="20")
    send(page, "Send CoA")
    expect(page.get_by_text("fair use has throttled the service")).to_be_visible()
    page.goto(f"{address}/services/{BERTA}/fair-use")
    follow(page, "Top up")
    fill(page, octets="10", reference="order 4711")
    send(page, "Top up")
    expect(page.locator("dd", has_text="the plan's speed")).to_be_visible()
    expect(page.locator("dd", has_text="10 GB").first).to_be_visible()
    follow(page, "Change allowance")
    expect(page.locator("#field-cap_octets")).to_have_value("50")
    page.goto(f"{address}/fair-use")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Subscriber").fill("nobody")
    expect(page.get_by_text("No service has used up its allowance.")).to_be_visible()
    page.get_by_label("Subscriber").fill("berta")
    expect(page.locator("tbody tr")).to_have_count(2)
    assert_fits_both_widths(page)


def test_a_right_that_is_not_there_is_no_link_and_no_page(chromium: Chromium, address: str) -> None:
    page = chromium.page(width=390, height=800)
    sign_in(page, address, "/pools", "readonly-user")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pools")
    assert page.get_by_role("link", name="New pool").count() == 0
    assert page.get_by_role("link", name="Whois").count() == 0
    for path in ("/whois", "/pools/new", f"/services/{BERTA}/fair-use/top-up"):
        assert page.request.get(f"{address}{path}").status == 403

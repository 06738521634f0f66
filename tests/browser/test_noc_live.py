"""The NOC page of a running `headend serve`: what Chromium shows equals what the API and the store say, and moves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pyrad.client import Client

from tests.support.browser import PATIENCE_MS, Chromium
from tests.support.controller import Controller
from tests.support.radius_peer import DICTIONARY
from tests.support.road import LINE, SERIAL, Network, offering, ordered, reached, register_network, rows
from tests.support.site import sign_in

pytestmark = pytest.mark.browser

PLAIN_SECRET = "of-a-plain-nas"
SLOWED_BY_HAND = (
    '<config><tm-profiles xmlns="urn:bbf:yang:bbf-qos-traffic-mngt"><shaper-profile '
    'xmlns="urn:bbf:yang:bbf-qos-shaping"><name>headend-down-300000000</name>'
    "<single-token-bucket><pir>64000</pir></single-token-bucket></shaper-profile></tm-profiles></config>"
)


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


class PlainNas:
    """127.0.0.1 as a NAS of its own, by pyrad: returns when the record was acknowledged."""

    def __init__(self, controller: Controller) -> None:
        controller.post("/nas", {"name": "plain", "address": "127.0.0.1", "secret": PLAIN_SECRET})
        self._client = Client(
            server="127.0.0.1", acctport=controller.acct_port, secret=PLAIN_SECRET.encode(), dict=DICTIONARY
        )

    def account(self, session_id: str, kind: int, **counters: int) -> None:
        packet = self._client.CreateAcctPacket(User_Name=f"user-{session_id}")
        packet["Acct-Session-Id"], packet["Acct-Status-Type"] = session_id, kind
        for name, value in counters.items():
            packet[name.replace("_", "-")] = value
        assert self._client.SendPacket(packet).code == 5


def until_figure(page: Page, name: str, value: int) -> None:
    expect(page.locator(f"[data-figure={name}]")).to_have_attribute("data-value", str(value))


def table(page: Page, name: str) -> list[list[str]]:
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    found: list[list[str]] = page.locator(f"table[data-table={name}] tbody tr").evaluate_all(cells)
    return found


def live(controller: Controller) -> int:
    return len(controller.get("/sessions", state="live", limit=100)["items"])


def held(controller: Controller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = controller.get("/orders", state="held")["items"]
    return found


def place_two_orders(controller: Controller, network: Network) -> str:
    """One line in service, and an order that the OLT's console made fall out; returns its id."""
    olt_id = register_network(controller, network)
    hundred = offering(controller, "Fibre 100", "30.00", 100_000_000, 50_000_000)
    three_hundred = offering(controller, "Fibre 300", "60.00", 300_000_000, 150_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    for serial in (SERIAL, "HWTC0000A002"):
        controller.post("/stock-items", {"serial": serial})
    order = {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password,
        "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
    }  # fmt: skip
    ordered(controller, order)
    network.olt.olt.faults.alter_after_commit = SLOWED_BY_HAND
    other = order | {
        "offering_id": three_hundred["offering_id"], "username": "grace@lab", "password": "compiler-a0",
        "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": "HWTC0000A002"}],
    }  # fmt: skip
    return str(ordered(controller, other, "held")["order_id"])


def until_equal(shown: Callable[[], Any], stored: Callable[[], Any]) -> None:
    """The page shows what is stored. Both are looked at again: the page is a second behind, and the store goes on."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (seen := shown()) != (kept := stored()):
        assert time.monotonic() < deadline, f"shown: {seen}\nstored: {kept}"
        time.sleep(0.1)


def assert_equals_the_store(page: Page, controller: Controller) -> None:
    """Every count, every device, the last orders and events, against the API or SQL."""
    until_figure(page, "live_sessions", live(controller))
    until_figure(page, "held_orders", len(held(controller)))
    ((subscribers,),) = rows(controller, "SELECT count(*) FROM radius_subscriber")
    until_figure(page, "subscribers", subscribers)
    until_equal(
        lambda: [line[0].splitlines()[0] for line in table(page, "devices")],
        lambda: [device["name"] for device in controller.get("/devices")["items"]],
    )
    until_equal(
        lambda: sorted(line[2].splitlines()[-1] for line in table(page, "orders")),
        lambda: sorted(order["state"] for order in controller.get("/orders", limit=12)["items"]),
    )
    shown = table(page, "orders")
    for order in held(controller):
        assert any(order["cause"] in line[3] and order["owner_team"] in line[3] for line in shown)
    newest = "SELECT name FROM store_outbox ORDER BY position DESC LIMIT 12"
    until_equal(
        lambda: [line[1] for line in table(page, "events")],
        lambda: [name for (name,) in rows(controller, newest)],
    )


@pytest.mark.timeout(180)
def test_the_page_of_the_running_controller_equals_its_store_and_moves_with_it(
    chromium: Chromium, controller: Controller, network: Network
) -> None:
    held_order = place_two_orders(controller, network)
    nas = PlainNas(controller)
    network.do(network.bras.login(LINE.username, wait_for_start=True))
    for session_id in ("p1", "p2", "p3"):
        nas.account(session_id, 1)
    assert live(controller) == 4

    page = chromium.page()
    sign_in(page, controller.url, "/noc", "admin", controller.admin_password)
    expect(page.locator("#pulse")).to_have_text("Live")
    until_figure(page, "live_sessions", 4)
    until_figure(page, "held_orders", 1)
    assert_equals_the_store(page, controller)
    page.evaluate("window.sameDocument = true")

    # A session more, two sessions more, one less: each is seen without a reload.
    nas.account("p4", 1)
    until_figure(page, "live_sessions", 5)
    nas.account("p5", 1)
    nas.account("p6", 1)
    until_figure(page, "live_sessions", 7)
    nas.account("p1", 2, Acct_Session_Time=5)
    until_figure(page, "live_sessions", 6)
    network.do(network.bras.logout(LINE.username))
    until_figure(page, "live_sessions", 5)

    # Traffic of 60 MB within the minute that the figure is a mean of, from a session that the page knows.
    nas.account("p4", 3, Acct_Session_Time=2, Acct_Input_Octets=15_000_000, Acct_Output_Octets=60_000_000)
    # A mean of ten seconds, looked at before anything else is waited for.
    records = page.locator("[data-figure=accounting_records_per_s]")
    expect(records).to_have_attribute("data-value", re.compile("[1-9]"))
    expect(page.locator("[data-figure=downstream_bps]")).to_have_attribute("data-value", "8000000")
    expect(page.locator("[data-figure=upstream_bps]")).to_have_attribute("data-value", "2000000")

    # The held order is put right, and its line becomes a subscriber in service.
    controller.post(f"/orders/{held_order}/redrive")
    reached(controller, held_order, "completed")
    until_figure(page, "held_orders", 0)
    assert_equals_the_store(page, controller)
    assert page.evaluate("window.sameDocument") is True
    chromium.assert_clean(controller.url)

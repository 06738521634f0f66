"""The whole road for scenarios: the lab's network beside a running controller, and what an office does by its API.

The controller is the real process on a clock that the test moves; OLT, router and BRAS are the lab's, over SSH, HTTPS
and UDP. The fixtures are in tests/scenario/conftest.py.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Line, Session
from lab.olt.device import OltSettings
from lab.olt.server import PASSWORD, USERNAME, OltServer
from lab.router.device import Router
from lab.router.eapi import EapiServer
from tests.support.controller import Controller
from tests.support.plans import volume_prices

START = datetime(2026, 5, 10, 8, tzinfo=UTC)
SERIAL = "HWTC0000A001"
LINE = Line("ada@lab", "analytical-engine", "02:00:00:00:00:01", 1, "ether1/vlan101")
NAS_SECRET = "s3cret-of-the-bras"
ROUTER_PASSWORD = "s3cret-of-the-router"


class Network:
    """The lab's OLT, router and BRAS on an event loop in a thread, so that the test itself reads from top to bottom."""

    def __init__(self, directory: Path, controller: Controller) -> None:
        self.now = START
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.olt = OltServer(OltSettings(state_file=directory / "olt.xml"))
        settings = BrasSettings(
            "127.0.0.2",
            NAS_SECRET.encode(),
            ("127.0.0.1", controller.auth_port),
            ("127.0.0.1", controller.acct_port),
            directory / "bras.json",
        )
        self.bras = Bras(settings, [LINE], lambda: self.now)
        self.do(self.olt.start())
        self.router = EapiServer(Router(directory / "router"), "headend", ROUTER_PASSWORD)
        self.router.router.boot()
        self.do(self.router.start())

        async def bind() -> None:
            self.bras.bind()

        self.do(bind())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def report(self, session: Session, upstream: int, downstream: int) -> None:
        """An Interim-Update with exactly these running totals."""
        session.counted_until = self.now  # the traffic model adds nothing of its own
        session.upstream_octets, session.downstream_octets = upstream, downstream
        self.do(self.bras.interim(session))

    def close(self) -> None:
        self.do(self.bras.close())
        self.do(self.router.stop())
        self.do(self.olt.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def register_network(controller: Controller, network: Network) -> str:
    """What must be there before anything is sold: the BRAS and the OLT; returns the OLT's device_id.

    No session ends by silence: the clock is moved over weeks in which the BRAS has no time to say a word.
    """
    controller.post("/nas", {
        "name": "bras-1", "address": "127.0.0.2", "secret": NAS_SECRET, "vendor": "mikrotik",
        "coa_port": network.bras.coa_port, "missed_interims": 0,
    })  # fmt: skip
    olt = controller.post("/devices", {
        "name": "olt-1", "driver": "bbf-olt", "host": "127.0.0.1", "port": network.olt.port, "username": USERNAME,
        "password": PASSWORD,
    })  # fmt: skip
    return str(olt["device_id"])


def register_router(controller: Controller, network: Network) -> str:
    """The router that polices some lines besides; returns its device_id."""
    router = controller.post("/devices", {
        "name": "router-1", "driver": "napalm-router", "host": "127.0.0.1", "port": network.router.port,
        "username": "headend", "password": ROUTER_PASSWORD,
    })  # fmt: skip
    return str(router["device_id"])


def move(controller: Controller, network: Network, to: datetime) -> None:
    network.now = to
    controller.put("/demo/clock", {"now": to.isoformat()})


def ordered(controller: Controller, body: dict[str, Any], state: str = "completed") -> dict[str, Any]:
    """Place an order and wait for its state."""
    order = controller.post("/orders", body)
    return reached(controller, order["order_id"], state)


def reached(controller: Controller, order_id: str, state: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = controller.get(f"/orders/{order_id}")
        return found if found["state"] == state else None

    found: dict[str, Any] = controller.until(look, f"order {order_id} is {state}")
    return found


def billed(controller: Controller) -> list[dict[str, Any]]:
    """Run billing as of now; the invoices of that run, with lines."""
    before = {invoice["invoice_id"] for invoice in controller.get("/invoices")["items"]}
    run = controller.post("/bill-runs")

    def done() -> bool:
        state = controller.get(f"/bill-runs/{run['bill_run_id']}")
        assert state["state"] != "failed", state
        return bool(state["state"] == "done")

    controller.until(done, "the bill run is done")
    new = [i["invoice_id"] for i in controller.get("/invoices")["items"] if i["invoice_id"] not in before]
    return [controller.get(f"/invoices/{invoice_id}") for invoice_id in new]


def lines(invoice: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [(n["kind"], n["first_on"], n["until_on"], n["net"]["amount"]) for n in invoice["lines"]]


def offering(controller: Controller, name: str, fee: str, down: int, up: int) -> dict[str, Any]:
    made: dict[str, Any] = controller.post(
        "/offerings",
        {
            "name": name, "effective_on": "2026-01-01", "prices": volume_prices(fee),
            "tax_percent": "19", "downstream_bps": down,
            "upstream_bps": up,
        },
    )  # fmt: skip
    return made


def rows(controller: Controller, query: str) -> list[tuple[Any, ...]]:
    """What SQL finds in the controller's database, past all of its code."""
    url = controller.environment["HEADEND_DATABASE_URL"]
    if not url:
        with sqlite3.connect(f"file:{controller.data_dir / 'headend.db'}?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()
    with psycopg.connect(url, autocommit=True) as pg:
        return pg.execute(query).fetchall()

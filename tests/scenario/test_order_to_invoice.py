"""The whole road on a running controller: an order for a fibre line becomes a service on an OLT, a session over RADIUS,
usage, an invoice and postings; a plan change is verified on the OLT and on the live session; every octet is explained.

The controller is the real process on a clock that the test moves; OLT and BRAS are the lab's, over SSH and UDP.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import uuid
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.bras.nas import Bras, BrasSettings
from lab.bras.session import Line, Session
from lab.olt.device import OltSettings
from lab.olt.server import PASSWORD, USERNAME, OltServer
from tests.support.controller import Controller
from tests.support.databases import PostgresServer

START = datetime(2026, 5, 10, 8, tzinfo=UTC)
SERIAL = "HWTC0000A001"
LINE = Line("ada@lab", "analytical-engine", "02:00:00:00:00:01", 1, "ether1/vlan101")
NAS_SECRET = "s3cret-of-the-bras"


class Network:
    """The lab's OLT and BRAS on an event loop in a thread, so that the test itself reads from top to bottom."""

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
        self.do(self.olt.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def controller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Controller]:
    server: PostgresServer | None = None
    url, name = "", f"e{uuid.uuid4().hex}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.create(name)
    made = Controller(tmp_path / "data", database_url=url, demo_start=START)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        if server is not None:
            server.drop(name)


@pytest.fixture
def network(controller: Controller, tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path, controller)
    try:
        yield made
    finally:
        made.close()


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
            "name": name, "effective_on": "2026-01-01", "monthly_fee": fee, "included_octets": 10**9,
            "overage_price": "2.00", "overage_unit": "GB", "tax_percent": "19", "downstream_bps": down,
            "upstream_bps": up,
        },
    )  # fmt: skip
    return made


def alter_a_record(controller: Controller, url: str) -> int:
    """What an intruder with SQL rights would do: add a gigabyte to one stored record, the first interim."""
    change = "UPDATE store_usage_record SET downstream_octets = downstream_octets + 1000000000 WHERE record_id = {}"
    pick = "SELECT min(record_id) FROM store_usage_record WHERE kind = 'interim'"
    if not url:
        with sqlite3.connect(controller.data_dir / "headend.db") as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'store_usage_record'"
            ).fetchall()
            assert names, "the usage log guards its rows"
            for (name,) in names:
                connection.execute(f'DROP TRIGGER "{name}"')
            (record_id,) = connection.execute(pick).fetchone()
            connection.execute(change.format(record_id))
        return int(record_id)
    with psycopg.connect(url, autocommit=True) as pg:
        pg.execute("ALTER TABLE store_usage_record DISABLE TRIGGER USER")
        row = pg.execute(pick).fetchone()
        assert row is not None
        pg.execute(change.format(row[0]))
        return int(row[0])


def test_a_line_from_order_to_explained_invoice(controller: Controller, network: Network) -> None:
    # What must be there before anything is sold.
    controller.post("/nas", {
        "name": "bras-1", "address": "127.0.0.2", "secret": NAS_SECRET, "vendor": "mikrotik",
        "coa_port": network.bras.coa_port,
    })  # fmt: skip
    olt = controller.post("/devices", {
        "name": "olt-1", "driver": "bbf-olt", "host": "127.0.0.1", "port": network.olt.port, "username": USERNAME,
        "password": PASSWORD,
    })  # fmt: skip
    hundred = offering(controller, "Fibre 100", "30.00", 100_000_000, 50_000_000)
    three_hundred = offering(controller, "Fibre 300", "60.00", 300_000_000, 150_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    controller.post("/stock-items", {"serial": SERIAL})

    # Order: dry run, then the real thing. Billing starts when the OLT was read back.
    order = {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password,
        "attachment": {"olt_id": olt["device_id"], "pon_port": "pon-1", "onu_serial": SERIAL},
    }  # fmt: skip
    dry = controller.post("/orders/dry-run", order)
    assert any("edit-config" in step["rendered"] for plan in dry["plans"] for step in plan["steps"])
    assert "expected-serial-number" not in str(network.olt.olt.config("running").findall(".//{*}v-ani"))
    added = ordered(controller, order)
    assert network.olt.olt.config("running").findall(".//{*}expected-serial-number")[0].text == SERIAL

    # The subscriber logs in and moves data.
    session = network.do(network.bras.login(LINE.username, wait_for_start=True))
    assert (session.downstream_bps, session.upstream_bps) == (100_000_000, 50_000_000)
    move(controller, network, START + timedelta(days=1))
    network.report(session, 200_000_000, 1_300_000_000)
    shown = controller.get("/sessions", session_id=session.acct_session_id)["items"]
    assert [(s["state"], s["upstream_octets"], s["downstream_octets"]) for s in shown] == [
        ("live", 200_000_000, 1_300_000_000)
    ]

    # 1 June: the rest of May and all of June in advance, May's usage in arrears.
    # 22 of 31 days from 10 May: included 22/31 GB, so 1.5 GB leave 790,322,581 octets of overage at 2.00 per GB.
    move(controller, network, datetime(2026, 6, 1, 6, tzinfo=UTC))
    (june,) = billed(controller)
    assert sorted(lines(june)) == [
        ("recurring", "2026-05-10", "2026-06-01", "21.29"),
        ("recurring", "2026-06-01", "2026-07-01", "30.00"),
        ("usage", "2026-05-10", "2026-06-01", "1.58"),
    ]
    assert june["total"]["amount"] == "62.92"
    assert billed(controller) == [], "a second run of the same period has nothing left to charge"
    pdf = controller.api.get(f"/invoices/{june['invoice_id']}/pdf")
    assert pdf.content.startswith(b"%PDF-")
    controller.post("/payments", {
        "account_id": customer["account_id"], "amount": {"amount": "62.92", "currency": "EUR"}, "reference": "R-1",
    })  # fmt: skip
    balance = controller.get("/trial-balance")
    assert sum(round(float(a["balance"]["amount"]) * 100) for a in balance["accounts"]) == 0

    # 11 June: 100 → 300 Mbit/s. The OLT is read back, but the order is done only when the session shows the new plan.
    move(controller, network, datetime(2026, 6, 11, 8, tzinfo=UTC))
    modify = {
        "action": "modify", "subscription_id": added["subscription_id"], "offering_id": three_hundred["offering_id"],
    }  # fmt: skip
    change = controller.post("/orders", modify)
    controller.until(lambda: session.downstream_bps == 300_000_000, "the BRAS was told by CoA")
    assert controller.get(f"/orders/{change['order_id']}")["state"] == "inProgress", "an ACK is no proof"
    move(controller, network, datetime(2026, 6, 11, 9, tzinfo=UTC))
    network.report(session, 200_000_000, 1_300_000_000)
    reached(controller, change["order_id"], "completed")
    service = controller.get(f"/services/{added['service_id']}")
    assert service["observed"]["downstream_bps"] == 300_000_000
    transcript = len(network.olt.olt.transcript)
    assert controller.get(f"/services/{added['service_id']}/plan")["plans"][0]["steps"] == [], "nothing left to do"
    assert not [e for e in network.olt.olt.transcript[transcript:] if e.rpc == "edit-config"]

    # 1 July: day 11 of a 30-day month, row F3: −20.00 + 40.00, and July at the new price.
    move(controller, network, datetime(2026, 7, 1, 6, tzinfo=UTC))
    (july,) = billed(controller)
    assert sorted(lines(july)) == [
        ("recurring", "2026-06-11", "2026-07-01", "-20.00"),
        ("recurring", "2026-06-11", "2026-07-01", "40.00"),
        ("recurring", "2026-07-01", "2026-08-01", "60.00"),
    ]

    # Every octet behind the usage line, and the one that somebody changed afterwards.
    usage_line = next(n["line_id"] for n in june["lines"] if n["kind"] == "usage")
    honest = controller.command("explain", usage_line)
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert "1300000000" in honest.stdout
    url = controller.environment["HEADEND_DATABASE_URL"]
    record_id = alter_a_record(controller, url)
    altered = controller.command("explain", usage_line)
    assert altered.returncode == 1
    assert f"record {record_id}" in altered.stdout

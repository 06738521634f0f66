"""The whole road on a running controller: an order for a fibre line becomes a service on an OLT, a session over RADIUS,
usage, an invoice and postings; a plan change is verified on the OLT and on the live session; every octet is explained.

The controller is the real process on a clock that the test moves; OLT and BRAS are the lab's, over SSH and UDP.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import psycopg

from tests.support.controller import Controller
from tests.support.road import (
    LINE,
    SERIAL,
    START,
    Network,
    billed,
    lines,
    move,
    offering,
    ordered,
    reached,
    register_network,
)


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


def change_a_copied_price(controller: Controller, url: str) -> None:
    """Billing's copy of a price is not the catalogue's any more."""
    change = "UPDATE billing_bridge_tariff SET plan = replace(plan, '60.00', '66.00') WHERE offering_name = 'Fibre 300'"
    if not url:
        with sqlite3.connect(controller.data_dir / "headend.db") as connection:
            assert connection.execute(change).rowcount == 1
        return
    with psycopg.connect(url, autocommit=True) as pg:
        assert pg.execute(change).rowcount == 1


def make_a_user_by_hand(controller: Controller, url: str) -> None:
    """What somebody with SQL rights would do: let a friend surf."""
    values = ("by-hand@lab", "f" * 32, b"x", "hand", 300_000_000, 150_000_000, True, False, 1, 0)
    marks = ", ".join([("%s" if url else "?")] * len(values))
    insert = (
        "INSERT INTO radius_subscriber (username, service_id, password, profile_name, downstream_bps, upstream_bps,"
        f" enabled, withdrawn, revision, updated_at) VALUES ({marks})"
    )
    if not url:
        with sqlite3.connect(controller.data_dir / "headend.db") as connection:
            connection.execute(insert, values)
        return
    with psycopg.connect(url, autocommit=True) as pg:
        pg.execute(insert, values)


def test_a_line_from_order_to_explained_invoice(controller: Controller, network: Network) -> None:
    olt_id = register_network(controller, network)
    hundred = offering(controller, "Fibre 100", "30.00", 100_000_000, 50_000_000)
    three_hundred = offering(controller, "Fibre 300", "60.00", 300_000_000, 150_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    controller.post("/stock-items", {"serial": SERIAL})

    # Order: dry run, then the real thing. Billing starts when the OLT was read back.
    order = {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password,
        "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
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
    steps = {step["name"]: step for step in controller.get(f"/orders/{change['order_id']}")["steps"]}
    assert steps["sessions"]["verdict"] == "class-echoed", "the lab's BRAS reports no rate, as RouterOS does not"
    assert "Class echoed only" in steps["sessions"]["evidence"]
    service = controller.get(f"/services/{added['service_id']}")
    assert service["attachments"][0]["observed"]["downstream_bps"] == 300_000_000
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

    # No bill was held; RADIUS and what was billed are the same octets; what somebody gives away is told with its price.
    assert controller.get("/exceptions", state="all")["items"] == []
    compared = controller.post("/reconciliation", {"day": "2026-05-11", "days": 2})["days"]
    assert sum(day["radius_octets"] for day in compared) == 1_500_000_000
    assert [(day["radius_octets"], day["differing"]) for day in compared] == [
        (day["billed_octets"], 0) for day in compared
    ]
    assert controller.get("/leakage")["items"] == []
    url = controller.environment["HEADEND_DATABASE_URL"]
    make_a_user_by_hand(controller, url)
    assert controller.get("/leakage")["items"] == [], "nobody has looked since"
    controller.post("/leakage", {})
    (leak,) = controller.get("/leakage")["items"]
    assert (leak["title"], leak["monthly"]["amount"], leak["per_day"]["amount"]) == ("by-hand@lab", "60.00", "1.97")

    # Every octet behind the usage line, and the one that somebody changed afterwards.
    usage_line = next(n["line_id"] for n in june["lines"] if n["kind"] == "usage")
    honest = controller.command("explain", usage_line)
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert "1300000000" in honest.stdout
    record_id = alter_a_record(controller, url)
    altered = controller.command("explain", usage_line)
    assert altered.returncode == 1
    assert f"record {record_id}" in altered.stdout

    # 1 August: a price that is not the catalogue's holds the bill, until a person lets it go; its run goes on with it.
    change_a_copied_price(controller, url)
    move(controller, network, datetime(2026, 8, 1, 6, tzinfo=UTC))
    assert billed(controller) == []
    (held,) = controller.get("/exceptions")["items"]
    assert "contract-price" in held["checks"]
    assert (held["net"]["amount"], held["state"]) == ("72.00", "held"), "August, and what July would cost more"
    reason = {"reason": "agreed by telephone"}
    assert controller.post(f"/exceptions/{held['exception_id']}/release", reason)["state"] == "gone"

    def issued() -> bool:
        return any(i["bill_run_id"] == held["bill_run_id"] for i in controller.get("/invoices")["items"])

    controller.until(issued, "the bill that was let go has its document")

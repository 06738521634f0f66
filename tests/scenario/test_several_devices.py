"""A business line that the lab's OLT and router carry together, through its life: over SSH and eAPI, both read back.

An order is completed when every device was read as ordered; what was done of a cancelled one is undone on all of them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lab.bras.nas import Rejected
from tests.support.controller import Controller
from tests.support.road import (
    LINE,
    SERIAL,
    START,
    Network,
    billed,
    move,
    offering,
    ordered,
    reached,
    register_network,
    register_router,
    rows,
)

pytest.importorskip("napalm", reason="the extra [napalm] is not installed")


def business_order(controller: Controller, network: Network) -> dict[str, Any]:
    """An order for 100/50 Mbit/s on OLT and router, everything it needs in place."""
    attachments = [
        {"kind": "onu", "device_id": register_network(controller, network), "pon_port": "pon-1", "onu_serial": SERIAL},
        {"kind": "router", "device_id": register_router(controller, network), "interface": "Ethernet1"},
    ]
    hundred = offering(controller, "Business 100", "31.00", 100_000_000, 50_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    controller.post("/stock-items", {"serial": SERIAL})
    return {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password, "attachments": attachments,
    }  # fmt: skip


def on_router(network: Network) -> str:
    return (network.router.router.files / "running-config").read_text()


def on_olt(network: Network) -> list[str]:
    """The serials that the OLT expects."""
    return [found.text for found in network.olt.olt.config("running").findall(".//{*}expected-serial-number")]


def edits(network: Network) -> int:
    return sum(entry.rpc == "edit-config" for entry in network.olt.olt.transcript)


def held_by_someone_elses_policer(controller: Controller, network: Network, order: dict[str, Any]) -> dict[str, Any]:
    """Place the order while somebody changes the policer between commit and read-back."""
    router = network.router.router

    def someone_else() -> None:
        if not router.sessions:  # confirmed: whoever reads now reads what he typed
            router.faults.after_commit = lambda: None
            name = next(line for line in router.running.lines if line.startswith("policy-map"))
            router.alter(name, "class class-default", "police rate 8000000 bps burst-size 100000 bytes")

    router.faults.after_commit = someone_else
    return ordered(controller, order, "held")


def test_a_line_on_two_devices_is_held_redriven_changed_and_ended(controller: Controller, network: Network) -> None:
    order = business_order(controller, network)
    factory = on_router(network)
    dry = controller.post("/orders/dry-run", order)["plans"]
    assert "police rate 50000000 bps" in dry[0]["diff"]
    assert "edit-config" in dry[1]["steps"][0]["rendered"]
    assert (on_router(network), on_olt(network)) == (factory, [])

    added = held_by_someone_elses_policer(controller, network, order)
    assert added["cause"] == "read back is not as ordered: router-1: upstream is 8 Mbit/s, desired 50 Mbit/s"
    assert (added["step"], added["owner_team"]) == ("converge", "network-operations")
    assert on_olt(network) == [], "nothing flows before it is policed"
    assert billed(controller) == []
    controller.post(f"/orders/{added['order_id']}/redrive")
    reached(controller, added["order_id"], "completed")
    service = controller.get(f"/services/{added['service_id']}")
    assert [(a["kind"], a["subscriber_vlan"], a["observed"]["downstream_bps"]) for a in service["attachments"]] == [
        ("onu", 100, 100_000_000),
        ("router", 100, 100_000_000),
    ]
    assert service["standing"] == "verified"
    assert "police rate 50000000 bps" in on_router(network)
    assert network.router.router.sessions == {}, "no candidate is left open"
    assert on_olt(network) == [SERIAL]

    # 100 → 300 Mbit/s: router, OLT and the live session, each seen.
    session = network.do(network.bras.login(LINE.username, wait_for_start=True))
    move(controller, network, START + timedelta(days=1))
    change = controller.post("/orders", faster(controller, added))
    controller.until(lambda: session.downstream_bps == 300_000_000, "the BRAS was told by CoA")
    move(controller, network, START + timedelta(days=1, hours=1))
    network.report(session, 1000, 2000)
    reached(controller, change["order_id"], "completed")
    service = controller.get(f"/services/{added['service_id']}")
    assert [a["observed"]["downstream_bps"] for a in service["attachments"]] == [300_000_000] * 2
    assert "police rate 150000000 bps" in on_router(network)
    before = (on_router(network), edits(network))
    assert [plan["steps"] for plan in controller.get(f"/services/{added['service_id']}/plan")["plans"]] == [[], []]
    assert (on_router(network), edits(network)) == before

    ordered(controller, {"action": "delete", "subscription_id": added["subscription_id"]})
    assert (on_router(network), on_olt(network)) == (factory, [])
    with pytest.raises(Rejected):
        network.do(network.bras.login(LINE.username))


def test_an_order_waits_for_the_router_and_what_is_cancelled_is_undone_on_every_device(
    controller: Controller, network: Network
) -> None:
    order, olt = business_order(controller, network), network.olt.olt
    factory = on_router(network)
    network.do(network.router.stop())
    placed = controller.post("/orders", order)

    def waiting() -> bool:
        found = controller.get(f"/orders/{placed['order_id']}")
        assert found["state"] in ("acknowledged", "inProgress")
        return bool(found["waiting"] and "router-1" in found["cause"])

    controller.until(waiting, "the order says what it waits for")
    assert on_olt(network) == []

    # The router is back, but now the OLT refuses: the router has the line, the OLT has not, and the order is cancelled.
    olt.faults.refuse_edits = "no licence"
    network.do(network.router.start())
    held = reached(controller, placed["order_id"], "held")
    assert "no licence" in held["cause"]
    assert "police rate 50000000 bps" in on_router(network)
    controller.post(f"/orders/{held['order_id']}/cancel")
    reached(controller, held["order_id"], "cancelled")
    assert (on_router(network), on_olt(network)) == (factory, [])
    states = [state for (state,) in rows(controller, "SELECT state FROM inventory_move ORDER BY sequence")]
    assert states == ["in-stock", "reserved", "in-stock"]
    assert controller.api.post(f"/orders/{held['order_id']}/redrive").status_code == 409
    assert rows(controller, "SELECT count(*) FROM store_outbox WHERE name = 'service.activated'") == [(0,)]

    # The same ONU and user name are sold again.
    olt.faults.refuse_edits = ""
    added = ordered(controller, order)
    assert network.do(network.bras.login(LINE.username)).downstream_bps == 100_000_000

    # A plan change that the OLT refuses leaves, once cancelled, both at the old speed.
    before = on_router(network)
    olt.faults.refuse_edits = "no licence"
    held = ordered(controller, faster(controller, added), "held")
    assert "police rate 150000000 bps" in on_router(network)
    controller.post(f"/orders/{held['order_id']}/cancel")
    reached(controller, held["order_id"], "cancelled")
    assert on_router(network) == before
    service = controller.get(f"/services/{added['service_id']}")
    assert (service["standing"], service["downstream_bps"]) == ("verified", 100_000_000)
    late = controller.api.post(f"/orders/{added['order_id']}/cancel")
    assert late.status_code == 409
    assert f"end subscription {added['subscription_id']}" in late.json()["detail"]


def faster(controller: Controller, added: dict[str, Any]) -> dict[str, Any]:
    """The order that makes the line one of 300/150 Mbit/s."""
    sold = offering(controller, "Business 300", "60.00", 300_000_000, 150_000_000)
    return {"action": "modify", "subscription_id": added["subscription_id"], "offering_id": sold["offering_id"]}

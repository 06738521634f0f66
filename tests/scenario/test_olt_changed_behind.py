"""An OLT that does something else than it was told, or dies, while the running controller carries out an order.

Charging starts when the OLT was read back as ordered, and not a moment before; no order is ever done twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lxml import etree

from lab.bras.nas import Rejected
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
    rows,
)

SLOWED_BY_HAND = (
    '<config><tm-profiles xmlns="urn:bbf:yang:bbf-qos-traffic-mngt"><shaper-profile '
    'xmlns="urn:bbf:yang:bbf-qos-shaping"><name>headend-down-100000000</name>'
    "<single-token-bucket><pir>64000</pir></single-token-bucket></shaper-profile></tm-profiles></config>"
)
"""What somebody sets at the OLT's own console: 64 instead of 100 Mbit/s."""


def fibre_order(controller: Controller, network: Network) -> dict[str, Any]:
    """An order for a line of 100 Mbit/s at 31.00 a month, everything it needs in place."""
    olt_id = register_network(controller, network)
    hundred = offering(controller, "Fibre 100", "31.00", 100_000_000, 50_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
    controller.post("/stock-items", {"serial": SERIAL})
    return {
        "action": "add", "account_id": customer["account_id"], "offering_id": hundred["offering_id"],
        "username": LINE.username, "password": LINE.password,
        "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
    }  # fmt: skip


def activations(controller: Controller) -> int:
    (count,) = rows(controller, "SELECT count(*) FROM store_outbox WHERE name = 'service.activated'")[0]
    return int(count)


def stock_moves(controller: Controller) -> list[str]:
    return [state for (state,) in rows(controller, "SELECT state FROM inventory_move ORDER BY sequence")]


def running(network: Network) -> bytes:
    """The OLT's running configuration in canonical XML."""
    return bytes(etree.tostring(network.olt.olt.running, method="c14n"))


def assert_nothing_is_sold_yet(controller: Controller, network: Network) -> None:
    assert activations(controller) == 0
    assert billed(controller) == [], "charging starts at verification"
    assert stock_moves(controller) == ["in-stock", "reserved"]
    with pytest.raises(Rejected):
        network.do(network.bras.login(LINE.username))


def assert_sold_once(controller: Controller, network: Network, order: dict[str, Any], since: str) -> None:
    """Completed exactly once, and charged from `since` on."""
    assert activations(controller) == 1
    assert stock_moves(controller) == ["in-stock", "reserved", "installed"]
    times = rows(
        controller,
        f"SELECT count(*) FROM orders_transition WHERE order_id = '{order['order_id']}' AND state = 'completed'",
    )
    assert times == [(1,)]
    service = controller.get(f"/services/{order['service_id']}")
    assert service["attachments"][0]["observed"]["downstream_bps"] == 100_000_000
    session = network.do(network.bras.login(LINE.username, wait_for_start=True))
    assert session.downstream_bps == 100_000_000
    move(controller, network, datetime(2026, 6, 1, 6, tzinfo=UTC))
    (invoice,) = billed(controller)
    assert [(kind, first, until) for kind, first, until, _ in lines(invoice) if kind == "recurring"] == [
        ("recurring", since, "2026-06-01"),
        ("recurring", "2026-06-01", "2026-07-01"),
    ]
    assert billed(controller) == []


def test_an_olt_altered_between_commit_and_read_back_holds_the_order_until_a_redrive_puts_it_right(
    controller: Controller, network: Network
) -> None:
    order = fibre_order(controller, network)
    network.olt.olt.faults.alter_after_commit = SLOWED_BY_HAND
    held = ordered(controller, order, "held")
    assert [entry.rpc for entry in network.olt.olt.transcript if entry.rpc == "console"] == ["console"]
    assert held["cause"] == "read back is not as ordered: olt-1: downstream is 64 Mbit/s, desired 100 Mbit/s"
    assert (held["step"], held["owner_team"]) == ("converge", "network-operations")
    assert_nothing_is_sold_yet(controller, network)

    move(controller, network, START + timedelta(days=2))
    assert controller.get(f"/orders/{held['order_id']}")["state"] == "held", "nobody but a person lets it go on"
    assert_nothing_is_sold_yet(controller, network)

    controller.post(f"/orders/{held['order_id']}/redrive")
    reached(controller, held["order_id"], "completed")
    assert_sold_once(controller, network, held, since="2026-05-12")
    assert controller.api.post(f"/orders/{held['order_id']}/redrive").status_code in (409, 422), "it is done"
    assert activations(controller) == 1


def test_an_olt_that_dies_between_edit_and_commit_keeps_its_configuration_and_the_order_waits_for_it(
    controller: Controller, network: Network
) -> None:
    order, olt = fibre_order(controller, network), network.olt.olt
    before = running(network)
    olt.faults.delay_rpc, olt.faults.delay_s = {"commit"}, 20.0  # never answered: it dies first
    placed = controller.post("/orders", order)
    controller.until(lambda: any(e.rpc == "validate" for e in olt.transcript), "the OLT has the edit")
    assert [e.outcome for e in olt.transcript if e.rpc == "edit-config"] == ["ok"]
    assert "commit" not in {e.rpc for e in olt.transcript}
    network.do(network.olt.stop())
    assert running(network) == before

    def waiting() -> bool:
        found = controller.get(f"/orders/{placed['order_id']}")
        assert found["state"] == "inProgress"
        return bool(found["waiting"] and found["step"] == "converge" and found["cause"])

    controller.until(waiting, "the order says what it waits for")
    assert_nothing_is_sold_yet(controller, network)
    assert running(network) == before

    move(controller, network, START + timedelta(days=1))
    olt.faults.delay_s = 0.0
    network.do(network.olt.start())
    done = reached(controller, placed["order_id"], "completed")
    assert done["attempt"] == placed["attempt"], "nobody had to redrive it"
    assert_sold_once(controller, network, done, since="2026-05-11")

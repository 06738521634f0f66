"""A seasonal hold on the running controller: credited by the day, refused by RADIUS on its days, and back again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.bras.nas import Rejected
from tests.support.controller import Controller
from tests.support.road import LINE, SERIAL, Network, billed, lines, move, offering, ordered, register_network

pytestmark = pytest.mark.long


def test_a_customer_holds_twelve_days(controller: Controller, network: Network) -> None:
    olt_id = register_network(controller, network)
    sold = offering(controller, "Fibre 100", "30.00", 100_000_000, 50_000_000)
    customer = controller.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1"})
    controller.post("/stock-items", {"serial": SERIAL})
    line = ordered(
        controller,
        {
            "action": "add", "account_id": customer["account_id"], "offering_id": sold["offering_id"],
            "username": LINE.username, "password": LINE.password,
            "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
        },
    )  # fmt: skip
    move(controller, network, datetime(2026, 6, 1, 6, tzinfo=UTC))
    (june,) = billed(controller)
    assert ("recurring", "2026-06-01", "2026-07-01", "30.00") in lines(june)
    session = network.do(network.bras.login(LINE.username, wait_for_start=True))
    assert session.downstream_bps == 100_000_000

    hold = controller.post(
        f"/subscriptions/{line['subscription_id']}/pauses", {"first_on": "2026-06-10", "until_on": "2026-06-22"}
    )
    (credit,) = billed(controller)
    assert lines(credit) == [("recurring", "2026-06-10", "2026-06-22", "-12.00")]
    assert credit["kind"] == "credit-note"

    move(controller, network, datetime(2026, 6, 10, 6, tzinfo=UTC))
    controller.until(lambda: controller.get(f"/pauses/{hold['pause_id']}")["off_since"], "the line is out of use")
    assert network.bras.session_of(LINE.username) is None, "its session was ended"
    with pytest.raises(Rejected):
        network.do(network.bras.login(LINE.username))

    move(controller, network, datetime(2026, 6, 22, 6, tzinfo=UTC))
    controller.until(lambda: not controller.get(f"/pauses/{hold['pause_id']}")["off_since"], "the line is in use")
    again = network.do(network.bras.login(LINE.username, wait_for_start=True))
    assert again.downstream_bps == 100_000_000
    assert billed(controller) == [], "nothing is left to charge"

"""Two `headend serve` on one PostgreSQL: one dies or stands still over an order, and the other completes it, once."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.controller import Controller
from tests.support.databases import PostgresServer
from tests.support.road import SERIAL, Network, offering, reached, register_network, rows

TAKEOVER_S = "3"


@dataclass
class Pair:
    """Two processes and the network that both work on."""

    one: Controller
    two: Controller
    network: Network

    def order(self) -> dict[str, Any]:
        """Have process one begin an order that the OLT does not answer any more, once it has the edit."""
        olt = self.network.olt.olt
        olt.faults.delay_rpc, olt.faults.delay_s = {"commit"}, 20.0
        olt_id = register_network(self.one, self.network)
        sold = offering(self.one, "Fibre 100", "31.00", 100_000_000, 50_000_000)
        customer = self.one.post("/customers", {"name": "Ada Lovelace", "address": "Ring 1\n10115 Berlin"})
        self.one.post("/stock-items", {"serial": SERIAL})
        placed: dict[str, Any] = self.one.post("/orders", {
            "action": "add", "account_id": customer["account_id"], "offering_id": sold["offering_id"],
            "username": "ada@lab", "password": "analytical-engine",
            "attachments": [{"kind": "onu", "device_id": olt_id, "pon_port": "pon-1", "onu_serial": SERIAL}],
        })  # fmt: skip
        self.one.until(lambda: any(e.rpc == "validate" for e in olt.transcript), "the OLT has the edit")
        (held_by,) = rows(self.two, "SELECT lease_holder FROM provisioning_device")[0]
        assert held_by == "one"
        olt.faults.delay_s = 0.0
        return placed

    def assert_done_once(self, placed: dict[str, Any]) -> None:
        done = reached(self.two, placed["order_id"], "completed")
        assert done["attempt"] == placed["attempt"], "nobody had to redrive it"
        assert rows(self.two, "SELECT count(*) FROM store_outbox WHERE name = 'service.activated'") == [(1,)]
        assert rows(self.two, "SELECT count(*) FROM orders_transition WHERE state = 'completed'") == [(1,)]
        states = rows(self.two, "SELECT state FROM inventory_move ORDER BY sequence")
        assert states == [("in-stock",), ("reserved",), ("installed",)]
        jobs = "SELECT executor_id, status FROM jobs.workflow_status WHERE name = 'order.v1'"
        self.two.until(lambda: rows(self.two, jobs) == [("two", "SUCCESS")], "the job has ended in process two")


@pytest.fixture
def pair(postgres: PostgresServer, tmp_path: Path) -> Iterator[Pair]:
    name = f"pair{uuid.uuid4().hex}"
    one = Controller(tmp_path / "one", database_url=postgres.create(name))
    one.environment |= {"HEADEND_EXECUTOR_ID": "one", "HEADEND_TAKEOVER_S": TAKEOVER_S}
    one.start()
    two = one.beside(tmp_path / "two", "two")
    network = Network(tmp_path, one)
    try:
        two.start()
        yield Pair(one, two, network)
    finally:
        network.close()
        one.stop()
        two.stop()
        postgres.drop(name)


def test_an_order_whose_process_is_killed_for_good_is_completed_by_the_other_process_once(pair: Pair) -> None:
    placed = pair.order()
    pair.one.kill()
    pair.assert_done_once(placed)
    assert "executor.lost" in pair.two.log


def test_a_process_that_stood_still_finds_its_order_taken_over_and_ends_without_doing_it_again(pair: Pair) -> None:
    placed = pair.order()
    assert pair.one.process is not None
    pair.one.process.send_signal(signal.SIGSTOP)
    try:
        pair.two.until(lambda: "jobs.taken_over" in pair.two.log, "process two goes on with the order")
        assert pair.two.get(f"/orders/{placed['order_id']}")["state"] == "inProgress", "the OLT is locked by one"
    finally:
        pair.one.process.send_signal(signal.SIGCONT)
    assert pair.one.process.wait(30) == 3
    assert "others have gone on with the work of 'one'" in pair.one.log
    pair.assert_done_once(placed)
    pair.one.start()
    assert pair.one.get(f"/orders/{placed['order_id']}")["state"] == "completed"


def test_a_second_process_of_the_same_name_is_refused_in_one_line(pair: Pair, tmp_path: Path) -> None:
    third = pair.one.beside(tmp_path / "three", "one")
    refused = third.command("serve")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1] == (
        "headend cannot start: another process runs on this database as 'one': give each process its own"
        " HEADEND_EXECUTOR_ID"
    )

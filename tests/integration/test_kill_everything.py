"""kill -9 while everything goes on at once: accounting is acknowledged, lines are sold and provisioned, bills are run.

`headend serve`, the OLT and the NAS are processes of their own. The instants of the kills come from a seed, which is
printed; HEADEND_TEST_SEED sets it, `random` takes a new one.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from sqlalchemy import create_engine, text

from controller.store.engine import Database
from lab.olt.server import PASSWORD
from tests.support.killing import (
    KILLS,
    ROOT,
    TOKEN,
    kill_again_and_again,
    prove_accounting,
    read_journal,
    running,
    seed_of_this_run,
    wait_for,
)
from tests.support.office import Office

MOST_ORDERS = 60
LINES = 12
LONGEST_S = 1.5
"""Of work between a start and its kill: an order takes about a second."""

Rows = list[tuple[Any, ...]]


@contextmanager
def olt_process(state: Path) -> Iterator[dict[str, Any]]:
    """`python -m lab.olt`, and what it says of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.olt", "--state", state], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


class Store:
    """SQL on the controller's database and on its jobs, past all of its code."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self._engine = create_engine(url or f"sqlite:///{data_dir}/headend.db")
        self._jobs = self._engine if url else create_engine(f"sqlite:///{data_dir}/jobs.db")
        self._workflows = "jobs.workflow_status" if url else "workflow_status"

    def rows(self, query: str) -> Rows:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def jobs(self) -> Rows:
        """(workflow, state, how many)"""
        with self._jobs.connect() as connection:
            query = f"SELECT name, status, count(*) FROM {self._workflows} GROUP BY name, status ORDER BY name, status"
            return [tuple(row) for row in connection.execute(text(query))]

    def taken_up_again(self, workflow: str) -> int:
        """How many jobs a later start went on with: a kill had interrupted them."""
        with self._jobs.connect() as connection:
            query = f"SELECT count(*) FROM {self._workflows} WHERE name = '{workflow}' AND recovery_attempts > 1"
            return int(connection.execute(text(query)).scalar_one())

    def close(self) -> None:
        self._engine.dispose()
        self._jobs.dispose()


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_killed_ten_times_over_accounting_orders_and_bill_runs_nothing_is_lost_doubled_or_stuck(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seed, url = seed_of_this_run(), ""
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create(f"everything{uuid.uuid4().hex}")
    with (
        olt_process(tmp_path / "olt.xml") as olt,
        running(tmp_path, url.replace("+psycopg", ""), seed, LINES) as (controller, sender),
    ):
        office = Office(
            f"http://127.0.0.1:{controller.http_port}", TOKEN, olt["port"], PASSWORD, olt["pon_ports"], MOST_ORDERS
        )
        office.start()
        whiles = kill_again_and_again(controller, sender, random.Random(seed), LONGEST_S)
        office.finish()
        print("killed after", " ".join(f"{while_s:.3f}" for while_s in whiles), "s of work")
        totals = sender.finish()
        wait_for(lambda: all_completed(office), "every order is completed", 90)
        last_run = office.start_bill_run()
        wait_for(lambda: all_billed(office, last_run), "every bill run is done", 60)
        trial_balance = office.get("/trial-balance")["totals"]
        store = Store(url, tmp_path / "data")
        database = Database(url or f"sqlite+aiosqlite:///{tmp_path}/data/headend.db")
        try:
            prove_orders(store, office, tmp_path / "olt.xml")
            prove_money(store, office)
            assert trial_balance == [{"amount": "0.00", "currency": "EUR"}]
            prove_nothing_is_stuck(store)
            await prove_accounting(database, read_journal(sender.journal), totals, at_least=KILLS * 10)
        finally:
            await database.close()
            store.close()


def all_completed(office: Office) -> bool:
    states = {order["order_id"]: order["state"] for order in office.everything("/orders")}
    assert "held" not in states.values(), [o for o in office.everything("/orders") if o["state"] == "held"]
    return set(states.values()) == {"completed"}


def all_billed(office: Office, last_run: str) -> bool:
    states = {run["bill_run_id"]: run["state"] for run in office.everything("/bill-runs")}
    assert "failed" not in states.values(), office.everything("/bill-runs")
    return states[last_run] == "done" and set(states.values()) == {"done"}


def prove_orders(store: Store, office: Office, olt_state: Path) -> None:
    """Every order that was accepted is there once and was carried out once, in the books and on the OLT."""
    print(f"{len(office.orders)} orders accepted, {office.repeated} requests repeated")
    assert len(office.orders) >= KILLS, "too little happened to prove anything"
    services = sorted(order["service_id"] for order in office.orders.values())
    assert sorted(key for (key,) in store.rows("SELECT order_id FROM orders_order")) == sorted(office.orders)
    assert sorted(key for (key,) in store.rows("SELECT service_id FROM orders_subscription")) == services
    events = store.rows("SELECT payload FROM store_outbox WHERE name = 'service.activated'")
    assert sorted(json.loads(payload)["service_id"] for (payload,) in events) == services
    completed = store.rows("SELECT order_id FROM orders_transition WHERE state = 'completed'")
    assert sorted(key for (key,) in completed) == sorted(office.orders)
    moves: dict[str, list[str]] = {}
    query = "SELECT serial, m.state FROM inventory_move m JOIN inventory_item i USING (item_id) ORDER BY m.sequence"
    for serial, state in store.rows(query):
        moves.setdefault(serial, []).append(state)
    serials = sorted(order["onu_serial"] for order in office.orders.values())
    assert [moves[serial] for serial in serials] == [["in-stock", "reserved", "installed"]] * len(serials)
    running_config = etree.fromstring(olt_state.read_bytes())
    configured = [found.text for found in running_config.findall(".//{*}expected-serial-number")]
    assert sorted(str(serial) for serial in configured) == serials


def prove_money(store: Store, office: Office) -> None:
    """One document at most per account and run, each charge on one line, sums equal, numbers without a gap."""
    runs = {key for (key,) in store.rows("SELECT bill_run_id FROM billing_bridge_bill_run")}
    assert office.bill_runs <= runs
    invoices = store.rows("SELECT account_id, bill_run_id, net_minor, sequence, series FROM finance_invoice")
    print(f"{len(runs)} bill runs, {len(invoices)} documents")
    assert len(runs) > 2
    assert max(Counter((account, run) for account, run, *_ in invoices).values()) == 1
    charged: Counter[tuple[str, str]] = Counter()
    for account, run, net in store.rows("SELECT account_id, bill_run_id, net_minor FROM billing_bridge_charge"):
        charged[account, run] += net
    assert {(account, run): net for account, run, net, *_ in invoices} == dict(charged)
    charges = sorted(key for (key,) in store.rows("SELECT charge_id FROM billing_bridge_charge"))
    assert sorted(key for (key,) in store.rows("SELECT charge_id FROM finance_invoice_line")) == charges
    periods = store.rows("SELECT subscription_id, kind, first_on, until_on FROM billing_bridge_charge")
    assert max(Counter(periods).values()) == 1, "no period is charged twice"
    subscriptions = {order["subscription_id"] for order in office.orders.values()}
    assert {subscription for subscription, *_ in periods} == subscriptions, "every line in service is charged"
    for series in {row[4] for row in invoices}:
        numbers = sorted(row[3] for row in invoices if row[4] == series)
        assert numbers == list(range(1, len(numbers) + 1))
    assert store.rows("SELECT sum(amount_minor) FROM finance_posting") == [(0,)]
    entries = store.rows("SELECT count(*), count(DISTINCT source) FROM finance_journal_entry")
    assert entries == [(len(invoices), len(invoices))]


def prove_nothing_is_stuck(store: Store) -> None:
    # A run that is done still tidies up after older previews.
    wait_for(lambda: {state for _, state, _ in store.jobs()} == {"SUCCESS"}, "every job has ended", 30)
    jobs = store.jobs()
    interrupted = store.taken_up_again("order.v1"), store.taken_up_again("bill-run.v1")
    print(f"jobs: {jobs}; interrupted by a kill: {interrupted[0]} orders, {interrupted[1]} bill runs")
    assert interrupted[0] > 0, "no kill met an order: nothing is proved"
    assert {name for name, *_ in jobs} >= {"order.v1", "bill-run.v1"}
    assert store.rows("SELECT count(*) FROM store_outbox_parked") == [(0,)]
    assert {state for (state,) in store.rows("SELECT state FROM billing_bridge_bill_batch")} == {"invoiced"}

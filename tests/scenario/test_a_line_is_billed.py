"""A line's life in money, on both databases: from activation in mid-month to a ledger that sums to zero."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text

from controller.domain.identity import BillRunId
from controller.domain.money import Money
from controller.domain.units import GB
from controller.store import audit
from controller.store.engine import Database
from controller.workflows.explain_text import render
from erp.finance.model import Invoice, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

SMALL, LARGE = "a" * 32, "b" * 32


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    prices = [
        tariff(SMALL, "30.00", included=100 * GB),
        tariff(LARGE, "60.00", included=300 * GB, overage="0.25", name="Fibre 300"),
    ]
    made = BillingWorld(database, tmp_path, prices, berlin(2026, 9, 16, 14))
    await made.entity()
    await made.jobs.launch()
    try:
        yield made
    finally:
        await made.close()


async def documents(world: BillingWorld, run_id: str) -> list[Invoice]:
    return await world.finance.invoices(Wanted(bill_run_id=run_id), limit=100)


async def lines_of(world: BillingWorld, invoice: Invoice) -> list[tuple[str, str, str]]:
    return [(line.item, line.kind, str(line.net)) for line in await world.finance.lines(invoice.invoice_id)]


async def test_a_line_is_activated_used_changed_billed_and_paid(world: BillingWorld) -> None:
    # Activated on 16 September: billed on demand from that day, 15 of 30 days.
    line = await world.activate(SMALL)
    (first,) = await documents(world, await world.bill(account_id=line.account_id))
    assert await lines_of(world, first) == [("Fibre 100", "recurring", "15.00 EUR")]
    assert first.number == "INV-2026-000001"
    assert (first.net, first.tax, first.total) == (Money(1500, "EUR"), Money(285, "EUR"), Money(1785, "EUR"))

    # 70 GB in September, 50 GB of them included; 20 GB on 1 October by a record that spans midnight.
    start = berlin(2026, 9, 16, 15)
    await world.account_for(
        line,
        (start, 0, 0),
        (berlin(2026, 9, 30, 22), 10 * GB, 40 * GB),
        (berlin(2026, 10, 1, 2), 14 * GB, 76 * GB),
    )
    world.clock.move_to(berlin(2026, 10, 1, 6))
    october_run = await world.bill()
    (october,) = await documents(world, october_run)
    assert await lines_of(world, october) == [
        ("Fibre 100", "usage", "10.00 EUR"),
        ("Fibre 100", "recurring", "30.00 EUR"),
    ]
    assert await documents(world, await world.bill()) == []  # nothing left to charge

    # Upgrade on 11 October: what is left of the old fee comes back, the new one begins that day.
    world.clock.move_to(berlin(2026, 10, 11, 9))
    await world.change(line, SMALL, LARGE)
    (change,) = await documents(world, await world.bill(account_id=line.account_id))
    assert await lines_of(world, change) == [
        ("Fibre 100", "recurring", "-20.32 EUR"),
        ("Fibre 300", "recurring", "40.65 EUR"),
    ]

    # A payment settles the oldest first; told twice it is one.
    paid, is_new = await world.finance.receive(
        account_id=line.account_id,
        amount=Money(7000, "EUR"),
        method="bank-transfer",
        reference="2026-10-12/77",
        received_at=None,
        actor="user:test",
    )
    assert is_new
    assert [(i, str(m)) for i, m in paid.applied] == [
        (first.invoice_id, "17.85 EUR"),
        (october.invoice_id, "47.60 EUR"),
        (change.invoice_id, "4.55 EUR"),
    ]
    again, is_new = await world.finance.receive(
        account_id=line.account_id,
        amount=Money(7000, "EUR"),
        method="bank-transfer",
        reference="2026-10-12/77",
        received_at=None,
        actor="user:test",
    )
    assert (again, is_new) == (paid, False)

    # Late usage of September, after September was billed: a correction on the next bill, never dropped.
    world.clock.move_to(berlin(2026, 11, 1, 6))
    await world.account_for(line, (berlin(2026, 9, 30, 22), 12 * GB, 80 * GB))
    (november,) = await documents(world, await world.bill())
    assert await lines_of(world, november) == [
        ("Fibre 100", "usage", "2.00 EUR"),
        ("Fibre 300", "recurring", "60.00 EUR"),
    ]
    late = (await world.finance.lines(november.invoice_id))[0]
    assert late.adjustment
    assert (late.first_on, late.until_on) == (date(2026, 9, 16), date(2026, 10, 1))

    # Termination on 16 November gives back 15 of 30 days, as a credit note that settles what is open.
    world.clock.move_to(berlin(2026, 11, 16, 12))
    await world.terminate(line)
    (credit,) = await documents(world, await world.bill())
    assert (credit.kind, credit.number, credit.net) == ("credit-note", "CN-2026-000001", Money(-3000, "EUR"))

    balances = await world.books.trial_balance()
    assert sum(b.balance.minor for b in balances) == 0
    assert {b.code: b.balance.minor for b in balances}["1800"] == 7000
    receivable = first.total.minor + october.total.minor + change.total.minor + november.total.minor
    assert {b.code: b.balance.minor for b in balances}["1200"] == receivable + credit.total.minor - 7000
    still_open = sum(i.open_minor for i in await world.finance.invoices(Wanted([line.account_id]), limit=100))
    assert still_open == receivable + credit.total.minor - 7000  # the credit note was set off against them
    async with world.database.read() as conn:
        assert await audit.verify(conn) == []

    run = await world.billing.bill_run(BillRunId(october_run))
    assert (run.state, run.accounts, run.batches_done, run.charges, run.documents) == ("done", 1, 1, 2, 1)


async def test_every_line_is_explained_from_the_records_and_an_altered_record_is_named(world: BillingWorld) -> None:
    line = await world.activate(SMALL)
    hours = [(berlin(2026, 9, 17, hour), hour * GB, hour * 4 * GB) for hour in range(24)]
    await world.account_for(line, *hours[:12])
    await world.account_for(line, *hours[12:])
    await world.account_for(line, (berlin(2026, 10, 1, 3), 30 * GB, 100 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    (invoice,) = await documents(world, await world.bill())
    usage, old_fee, new_fee = sorted(
        await world.finance.lines(invoice.invoice_id), key=lambda found: (found.kind != "usage", found.first_on)
    )
    for fee in (old_fee, new_fee):
        explained = await world.explainer.explain(fee.line_id)
        assert explained.intact, explained.faults
        assert "service.activated" in render(explained)
    explained = await world.explainer.explain(usage.line_id)
    assert explained.intact, explained.faults
    assert len(explained.records) == 24  # the first one only said where the session stood: at zero
    page = render(explained)
    assert explained.records[-1].record.packet_sha256.hex() in page
    assert "Intact" in page

    await _alter(
        world.database, "UPDATE store_usage_record SET downstream_octets = downstream_octets - 1 WHERE record_id = 13"
    )
    explained = await world.explainer.explain(usage.line_id)
    assert not explained.intact
    assert any(fault.startswith("record 13:") for fault in explained.faults)
    assert "NOT INTACT" in render(explained)


async def test_a_removed_record_and_a_changed_charge_are_named(world: BillingWorld) -> None:
    line = await world.activate(SMALL)
    await world.account_for(line, (berlin(2026, 9, 17), 0, 0), (berlin(2026, 9, 18), GB, 99 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    (invoice,) = await documents(world, await world.bill())
    usage = next(found for found in await world.finance.lines(invoice.invoice_id) if found.kind == "usage")
    await _alter(world.database, "DELETE FROM store_usage_record WHERE record_id = 2")
    faults = (await world.explainer.explain(usage.line_id)).faults
    assert "record 2: missing from the usage log" in faults

    fee = next(found for found in await world.finance.lines(invoice.invoice_id) if found.kind == "recurring")
    await _alter(world.database, f"UPDATE billing_bridge_charge SET net_minor = 1 WHERE charge_id = '{fee.charge_id}'")
    explained = await world.explainer.explain(fee.line_id)
    assert any(fee.charge_id in fault for fault in explained.faults)


async def test_a_bill_run_waits_for_the_events_and_the_usage_before_it(world: BillingWorld) -> None:
    line = await world.activate(SMALL)
    await world.account_for(line, (berlin(2026, 9, 17), 0, 0), (berlin(2026, 9, 18), GB, 59 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    await world.bill()  # mediates by itself what stood in the log when it was started
    await world.change(line, SMALL, LARGE, deliver=False)
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
    await world.bus.drain()
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    (found,) = await documents(world, run.bill_run_id)
    assert await lines_of(world, found) == [
        ("Fibre 100", "recurring", "-30.00 EUR"),
        ("Fibre 300", "recurring", "60.00 EUR"),
    ]


async def test_two_bill_runs_at_once_charge_once(world: BillingWorld) -> None:
    for n in range(6):
        await world.activate(SMALL, await world.customer(f"Customer {n}"))
    started = [await world.runs.start(as_of=None, account_id=None, actor="user:test") for _ in range(3)]
    for run in started:
        await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    issued = await world.finance.invoices(limit=100)
    assert len(issued) == 6
    assert sorted([(await world.billing.bill_run(run.bill_run_id)).documents for run in started]) == [0, 0, 6]


async def _alter(database: Database, statement: str) -> None:
    """What somebody with the database's own tools would do, triggers out of the way."""
    async with database.begin() as conn:
        if database.is_sqlite:
            names = await conn.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
            for name in list(names):
                await conn.execute(text(f"DROP TRIGGER {name}"))
        else:
            await conn.execute(text("SET session_replication_role = replica"))
        await conn.execute(text(statement))
        if not database.is_sqlite:
            await conn.execute(text("SET session_replication_role = origin"))

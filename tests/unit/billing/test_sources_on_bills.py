"""Usage of other sources than RADIUS on the bill: priced, explained by its records, and awaited by the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select, update

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.model import Source
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import record
from billing_bridge.tables import subscription
from controller.domain.money import Money
from controller.domain.units import GB
from controller.domain.usage import MeasuredOctets
from controller.store.engine import Database
from erp.finance.einvoice import cii, ubl
from erp.finance.einvoice.model import of_content
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.en16931 import faults
from tests.support.usage_sources import (
    DATA,
    TRANSIT,
    VOICE,
    cdr,
    lines_of,
    owns,
    pbx,
    send,
    sources_world,
    told,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with sources_world(database, tmp_path) as made:
        yield made


async def test_calls_are_billed_by_the_run_with_their_records_as_evidence_and_late_ones_as_an_adjustment(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    # 65 s at 60/6 are 66 s at 0.06 a minute: 6.6 cents each, ten of them 66 cents.
    await send(api, *(cdr(n, berlin(2026, 9, 2 + n, 9), 65, "0891234") for n in range(10)))
    (row,) = await lines_of(world, line)
    assert row.net == Money(66, "EUR")
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert any("1 calls, 65 s: pbx/1" in step for step in explained.steps)
    assert await lines_of(world, line) == []

    world.clock.move_to(berlin(2026, 10, 3, 2))
    await send(api, cdr(77, berlin(2026, 9, 30, 23, 59), 65, "0891234"))
    (late,) = await lines_of(world, line)
    # 11 × 6.6 = 72.6 cents are 73, of which 66 were billed.
    assert (late.net, late.adjustment) == (Money(7, "EUR"), True)
    assert (late.first_on, late.until_on) == (date(2026, 9, 1), date(2026, 10, 1))
    assert (await world.explainer.explain(late.line_id)).intact

    async with world.database.begin() as conn:
        await conn.execute(update(record).where(record.c.record_id == 3).values(duration_s=6))
    explained = await world.explainer.explain(row.line_id)
    assert any("record 3 of pbx" in fault for fault in explained.faults)


async def test_octets_of_a_source_that_bills_are_on_the_bill_and_explained(
    world: BillingWorld, api: httpx2.AsyncClient
) -> None:
    line = await world.activate(DATA)
    body = {"name": "wifi", "title": "Hotspots", "measure": "octets", "identifier_kind": "service", "awaited": False}
    await told(await api.post("/usage-sources", json=body))
    body = {"measure": "octets", "since": berlin(2026, 9, 1).isoformat(), "source": "wifi", "reason": "no RADIUS there"}
    await told(await api.post("/usage-assignments", json=body))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    events = [
        {
            "id": f"e{day}", "time": berlin(2026, 9, day, 23).isoformat(), "subject": line.service_id,
            "data": {"until": berlin(2026, 9, day + 1, 2).isoformat(), "downstream_octets": 7 * GB + 1},
        }
        for day in (5, 20)
    ]  # fmt: skip
    await told(await api.post("/usage-sources/wifi/events", json={"events": events}))
    (row,) = await lines_of(world, line)
    assert row.net == Money(200, "EUR")  # 14 GB and 2 octets, of which 10 GB are included, at 0.50
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    days = [step for step in explained.steps if "octets in" in step]
    assert [step.rpartition(": ")[2] for step in days] == ["wifi/1", "wifi/1", "wifi/2", "wifi/2"]


async def test_a_bill_run_waits_for_a_source_that_lags_names_it_and_goes_on_when_it_has_delivered(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(VOICE)
    await pbx(api, lateness_s=3600, awaited=True)
    await owns(api, "4930555100", line, berlin(2026, 9, 1, 8))
    world.clock.move_to(berlin(2026, 10, 1, 6))
    await send(api, cdr(1, berlin(2026, 9, 30, 20), 65, "0891234"))
    assert [str(lag) for lag in await sources.lagging(await sources.needed(world.clock.now()))] == [
        "source pbx is complete until 2026-09-30T17:01:05+00:00, needed is 2026-09-30T22:00:00+00:00"
    ]
    await world.launch()
    run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
    async with asyncio.timeout(20):
        while True:  # nothing announces it
            if "pbx" in ((await world.billing.bill_run(run.bill_run_id)).waiting_for or ""):
                break
            await asyncio.sleep(0.02)
    await send(api, cdr(2, berlin(2026, 9, 30, 23, 59), 65, "0891234"), complete_until=berlin(2026, 10, 1).isoformat())
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    done = await world.billing.bill_run(run.bill_run_id)
    assert (done.state, done.waiting_for) == ("done", None)
    (charge,) = [c for c in await world.billing.charges(run.bill_run_id, 0) if c.kind == "usage"]
    assert charge.net == Money(13, "EUR")  # both calls, 13.2 cents


async def test_a_bill_run_gives_up_on_a_source_that_never_delivers_and_says_which(
    database: Database, tmp_path: Path
) -> None:
    world = BillingWorld(database, tmp_path, [tariff(DATA, "30.00")], berlin(2026, 9, 1, 8), usage_wait_s=0)
    try:
        await world.entity()
        await world.activate(DATA)
        made = Source("msc", "MSC", "calls", "phone", True, True, None, None, None, 0, b"", world.clock.now(), "", None)
        await world.sources.register(made, actor="user:anna")
        await world.launch()
        run = await world.runs.start(as_of=None, account_id=None, actor="user:test")
        with pytest.raises(Exception, match="source msc was never complete"):
            await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
        failed = await world.billing.bill_run(run.bill_run_id)
        assert failed.error is not None
        assert "source msc was never complete" in failed.error
        await world.sources.retire("msc", actor="user:anna", reason="it was switched off")
        again = await world.runs.redrive(run.bill_run_id, actor="user:anna")
        await world.jobs.wait(f"bill-run.v1:{again.bill_run_id}:1")
        assert (await world.billing.bill_run(run.bill_run_id)).state == "done"
    finally:
        await world.close()


async def test_the_95th_percentile_of_two_ports_is_billed_from_their_bins_with_the_missing_ones_listed(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    world.clock.move_to(berlin(2026, 9, 30, 0))
    line = await world.activate(TRANSIT)
    for port in ("sw1/a", "sw1/b"):
        await owns(api, port, line, berlin(2026, 9, 1), kind="port")
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    feed = MeasuredIntake(world.database, world.clock, sources, intake)
    megabit = 37_500_000  # octets of five minutes at 1 Mbit/s
    start, bins = berlin(2026, 9, 30), []
    for n in range(288):
        since = start + timedelta(minutes=5 * n)
        # Every tenth bin of port a is at 10 Mbit/s; of both ports three bins are missing.
        octets = {"sw1/a": 10 * megabit if n % 10 == 0 else megabit, "sw1/b": megabit}
        bins += [
            MeasuredOctets(f"{port}-{n}", port, since, since + timedelta(minutes=5), 1, down)
            for port, down in octets.items()
            if n not in (11, 12, 13)
        ]
    world.clock.move_to(berlin(2026, 10, 1, 2))
    late = bins.pop(0)
    await feed.measured("interfaces", "port", bins, title="Ports", complete_until=None)
    (row,) = await lines_of(world, line)
    # Of 285 bins the 271st is one of those at 11 Mbit/s: 11 × 2.00 for one of thirty days.
    assert row.net == Money(73, "EUR")
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert any("285 of 288 bins" in step for step in explained.steps)
    assert any("missing: every port: 2026-09-29T22:55Z until 2026-09-29T23:10Z" in step for step in explained.steps)
    content = await world.finance.content(row.invoice_id)
    (told,) = [of["missing"] for of in content["lines"] if "missing" in of]
    every = ["", "2026-09-30T00:55:00+02:00", "2026-09-30T01:10:00+02:00"]
    one = ["sw1/a", "2026-09-30T00:00:00+02:00", "2026-09-30T00:05:00+02:00"]
    assert told == {"bins": 3, "expected": 288, "gaps": [every, one], "more": 0}
    document = of_content(content)
    (note,) = [of.note for of in document.lines if of.note]
    assert "3 von 288 Fünf-Minuten-Werten fehlen" in note
    assert "30.09.2026 00:55 – 01:10; Port sw1/a 30.09.2026 00:00 – 00:05" in note
    assert (faults("ubl-invoice", ubl.render(document)), faults("cii", cii.render(document))) == ([], [])
    assert note.encode() in ubl.render(document)
    assert note.encode() in cii.render(document)

    # What comes after the bill is rated again, and proves the first one still by the records that it had then.
    world.clock.move_to(berlin(2026, 10, 2, 2))
    burst = replace(late, downstream_octets=1000 * megabit)
    await feed.measured("interfaces", "port", [burst], title="Ports", complete_until=None)
    async with world.database.read() as conn:
        (rated_from,) = await conn.scalars(select(subscription.c.rate_from_on))
    assert rated_from == date(2026, 9, 30)
    assert await lines_of(world, line) == []
    assert (await world.explainer.explain(row.line_id)).intact
    async with world.database.begin() as conn:
        await conn.execute(update(record).where(record.c.record_id == 3).values(downstream_octets=6))
    assert any("record 3 of a port" in fault for fault in (await world.explainer.explain(row.line_id)).faults)

"""What came too late stands on the certificate of a bill run: what it corrects, what waits, what it did not see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from billing_bridge.billing.holds import WHOLE_RUN
from controller.domain.identity import BillRunId
from controller.domain.units import GB
from controller.store.engine import Database
from controller.workflows import certificate
from controller.workflows.certificate_text import render
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

PLAN = "a" * 32


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    versions = [tariff(PLAN, "30.00", included=10 * GB)]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 1, 9), checked=True)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def late_of(world: BillingWorld, run_id: str) -> tuple[dict[str, Any], str]:
    content = certificate.read((await world.certifier.certificates(BillRunId(run_id)))[-1])[0]
    return content["late"], render(content)


async def test_late_data_are_listed_by_account_and_period_beside_what_waits_and_what_came_after(
    world: BillingWorld,
) -> None:
    line, other = await world.activate(PLAN), await world.activate(PLAN)
    for one in (line, other):
        await world.account_for(one, (berlin(2026, 9, 2), 0, 0), (berlin(2026, 9, 20), 0, 12 * GB))
    world.clock.move_to(berlin(2026, 10, 1, 2))
    first, _ = await late_of(world, await world.bill())
    assert first == {"adjustments": [], "suspense": [], "records_after_the_watermark": 0}

    world.clock.move_to(berlin(2026, 11, 1, 2))
    await world.account_for(line, (berlin(2026, 9, 28), 0, 15 * GB))
    nobody = replace(line, session_key="9" * 32)
    await world.account_for(nobody, (berlin(2026, 10, 5), 0, 0), (berlin(2026, 10, 6), 7, 70), unmapped=True)
    run = await world.runs.start(as_of=None, account_id=None, actor="user:anna", hold="somebody looks first")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}")
    await world.account_for(other, (berlin(2026, 9, 29), 0, 16 * GB), (berlin(2026, 10, 30), 0, 17 * GB))
    await world.runs.release(run.bill_run_id, WHOLE_RUN, reason="seen", actor="user:bert")
    await world.jobs.wait(f"bill-run.v1:{run.bill_run_id}:1")
    late, words = await late_of(world, run.bill_run_id)
    (listed,) = late["adjustments"]
    assert listed == {
        "account_id": line.account_id, "subscription_id": line.subscription_id, "kind": "usage",
        "first_on": "2026-09-01", "until_on": "2026-10-01", "octets": 3 * GB, "net_minor": 150, "currency": "EUR",
    }  # fmt: skip
    (waits,) = late["suspense"]
    assert (waits["reason"], waits["items"], waits["octets"]) == ("unknown-service", 1, 77)
    assert late["records_after_the_watermark"] == 2
    assert f"{line.account_id}, usage of 2026-09-01 until 2026-10-01: 1.50 EUR" in words
    assert "2 records after the watermark, 1 items in suspense" in words

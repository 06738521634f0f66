"""Half a cent may be rounded of each line of a period: what a run proves allows for its own lines and former ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from billing_bridge.billing.tally import Sums, Tally, proved
from controller.store.engine import Database
from erp.finance.model import Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

ODD, ODDER, FREE = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    versions = [tariff(ODD, "10.01"), tariff(ODDER, "20.01"), tariff(FREE, "0")]
    made = BillingWorld(database, tmp_path, versions, berlin(2026, 9, 1, 14))
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def test_half_cents_of_months_billed_before_keep_no_run_from_issuing(world: BillingWorld) -> None:
    """15 of 30 days of 10.01 are 5.005: four such lines are two cents more than their days, and none is in this run."""
    line = await world.activate(ODD)
    for month in (9, 11):
        old, new = (ODD, ODDER) if month == 9 else (ODDER, ODD)
        world.clock.move_to(berlin(2026, month, 16, 9))
        await world.change(line, old, new)
    world.clock.move_to(berlin(2026, 12, 1, 9))
    await world.change(line, ODD, FREE)
    await world.bill()
    world.clock.move_to(berlin(2026, 12, 2, 9))
    await world.pause(line, date(2026, 9, 5), date(2026, 9, 6))
    await world.bill()  # one that is not proved raises Unproven
    documents = await world.finance.invoices(Wanted(account_ids=[line.account_id]), after=None, limit=9)
    assert [str(found.net.amount) for found in documents] == ["-0.34", "50.05"]


@pytest.mark.parametrize(("cents", "holds"), [("1.5", True), ("-1.5", True), ("1.51", False), ("-2", False)])
def test_more_than_half_a_cent_for_each_line_is_no_rounding(cents: str, holds: bool) -> None:
    tally = Tally(sums={"EUR": Sums(earlier=-Decimal(cents), rounded=3)})
    found = {name: held for name, held, _ in proved(Tally.from_json(tally.to_json()))}
    assert found["recurring-lines-EUR"] is holds

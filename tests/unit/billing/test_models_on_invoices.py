"""Hours, tiers, discounts and escalation from accounting records to an invoice, and explained back to the packets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.price_text import plan_from_data
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import InvoiceLine, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld, berlin

PLAN = "a" * 32
WEEK = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DATA = {
    "prices": [
        {"model": "flat", "code": "fee", "amount": "30.00"},
        {"model": "discount", "code": "promo", "percent": "50", "window": {"months": 1}},
        {"model": "one-off", "code": "setup", "amount": "20.00"},
        {
            "model": "graduated",
            "code": "day",
            "tiers": [{"up_to": 2 * GB, "price": "1.00"}, {"price": "0.10"}],
            "bands": [{"days": WEEK, "from_minute": 480}],
        },
        {"model": "free", "code": "night", "bands": [{"days": WEEK, "until_minute": 480}]},
    ],
    "contract": {"term_months": 24, "escalator": {"percent": "10", "every_months": 1}},
}


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    version = replace(tariff(PLAN, "0"), plan=plan_from_data(DATA))
    made = BillingWorld(database, tmp_path, [version], berlin(2026, 9, 1, 14), checked=True)
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


async def test_a_plan_of_several_models_is_billed_and_every_line_is_explained(world: BillingWorld) -> None:
    line = await world.activate(PLAN)
    await world.account_for(
        line,
        (berlin(2026, 9, 3, 7), 0, 0),
        (berlin(2026, 9, 3, 9), 0, 8 * GB),  # half of it before eight
        (berlin(2026, 9, 4, 7, 59), 0, 8 * GB),
        (berlin(2026, 9, 4, 8, 0), 0, 9 * GB),  # all of it before eight
    )
    await world.launch()
    world.clock.move_to(berlin(2026, 10, 2, 9))
    run_id = await world.bill()
    (invoice,) = await world.finance.invoices(
        Wanted(account_ids=[line.account_id], bill_run_id=run_id), after=None, limit=9
    )
    lines: list[InvoiceLine] = list(await world.finance.lines(invoice.invoice_id))
    found = sorted((row.first_on.month, str(row.net.amount), row.kind) for row in lines)
    # Daytime: 2 GB × 1.00 + 2 GB × 0.10. October is a step of 10 % dearer, and no day of it discounted.
    assert found == [
        (9, "-15.00", "recurring"),
        (9, "2.20", "usage"),
        (9, "20.00", "one-off"),
        (9, "30.00", "recurring"),
        (10, "33.00", "recurring"),
    ]
    for row in lines:
        explained = await world.explainer.explain(row.line_id)
        assert explained.intact, explained.faults
        assert explained.steps
    assert await world.billing.bill_run(await world.bill()) is not None
    assert len(await world.finance.invoices(Wanted(account_ids=[line.account_id]), after=None, limit=9)) == 1

"""Where days begin far from UTC: a period is billed once, from its own midnight on, with the octets of its own days."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from billing_bridge.tables import account_terms, charge
from controller.domain.units import GB
from controller.store.engine import Database
from erp.finance.model import InvoiceLine, Wanted
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BillingWorld

PLAN = "a" * 32
ZONES = ["Pacific/Tongatapu", "Pacific/Chatham", "Pacific/Pago_Pago"]
"""13 and, in summer, 13:45 hours ahead of UTC, and 11 behind it. Chatham's summer ends on 4 April 2027."""
STARTS = (date(2027, 1, 31), date(2027, 2, 28), date(2027, 3, 31), date(2027, 4, 30))
SECOND = timedelta(seconds=1)


@pytest.fixture(params=ZONES)
async def world(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    zone, versions = ZoneInfo(request.param), [tariff(PLAN, "30.00", included=GB)]
    begins = datetime.combine(STARTS[0], time(0, 10), zone).astimezone(UTC)
    made = BillingWorld(database, tmp_path, versions, begins, checked=True, zone=zone)
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


def midnight(world: BillingWorld, day: date) -> datetime:
    return datetime.combine(day, time(), world.zone).astimezone(UTC)


async def billed(world: BillingWorld) -> list[tuple[date, InvoiceLine]]:
    """Each line of a run with the day on its document."""
    invoices = await world.finance.invoices(Wanted(bill_run_id=await world.bill()), after=None, limit=9)
    return [(i.issued_on, line) for i in invoices for line in await world.finance.lines(i.invoice_id)]


async def test_a_period_is_billed_once_and_from_its_own_midnight_on(world: BillingWorld, database: Database) -> None:
    account = await world.customer()
    async with database.begin() as conn:
        terms = {"account_id": account, "anchor_day": 31, "changed_at": world.clock.now()}
        await conn.execute(insert(account_terms).values(terms))
    line = await world.activate(PLAN, account)
    ((_, first),) = await billed(world)
    assert (first.first_on, first.until_on, first.net.minor) == (STARTS[0], STARTS[1], 3000)

    february = midnight(world, STARTS[1])
    await world.account_for(
        line,
        (february - timedelta(minutes=10), 0, 0),
        (february, 0, 2 * GB),
        (february + timedelta(minutes=10), 0, 3 * GB),
    )
    for starts, ends in pairwise(STARTS[1:]):
        world.clock.move_to(midnight(world, starts) - SECOND)
        assert await billed(world) == [], "before the period begins"
        world.clock.move_to(midnight(world, starts))
        found = await billed(world)
        fees = [(on, n.first_on, n.until_on, n.net.minor) for on, n in found if n.kind == "recurring"]
        assert fees == [(starts, starts, ends, 3000)]
        used = [(n.first_on, n.until_on, n.net.minor) for _, n in found if n.kind == "usage"]
        # 2 GB up to midnight, of which 1 is included; the one after it is of the next period, which includes it.
        assert used == ([(STARTS[0], STARTS[1], 50)] if starts == STARTS[1] else [])
        for _, own in found:
            explained = await world.explainer.explain(own.line_id)
            assert explained.intact, explained.faults
        world.clock.move_to(midnight(world, starts) + timedelta(hours=14))
        assert await billed(world) == [], "on the same day there, another one in Greenwich"


async def test_the_database_refuses_the_same_period_twice(world: BillingWorld, database: Database) -> None:
    await world.activate(PLAN)
    await billed(world)
    async with database.read() as conn:
        (row,) = await conn.execute(select(charge))
    assert row.period_first_on == date(2027, 1, 1)
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await conn.execute(insert(charge).values(dict(row._mapping) | {"charge_id": "f" * 32}))


async def test_a_line_of_another_day_than_that_of_utc_is_prorated_from_its_own_day(world: BillingWorld) -> None:
    line = await world.activate(PLAN)
    ((_, fee),) = await billed(world)
    assert (fee.first_on, fee.until_on) == (STARTS[0], date(2027, 2, 1)), "one day of thirty-one"
    assert fee.net.minor == 97
    dearer = replace(tariff("b" * 32, "60.00", included=GB), offering_id=tariff(PLAN, "0").offering_id, number=2)
    world.prices.add(dearer)
    world.clock.move_to(midnight(world, date(2027, 2, 11)) - SECOND)
    await world.change(line, PLAN, "b" * 32)  # still the tenth
    found = {(n.version_id[0], n.first_on, n.net.minor) for _, n in await billed(world)}
    # The day of the change belongs to the new plan: nine of 28 days at 30.00, nineteen at 60.00.
    assert found == {("a", date(2027, 2, 1), 964), ("b", date(2027, 2, 10), 4071)}

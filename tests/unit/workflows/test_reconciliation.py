"""The three counts of a night: what RADIUS, the bill and the counters say of each service, and why they differ."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, update

from billing_bridge.checks import compared
from billing_bridge.checks.compared import Wanted
from billing_bridge.checks.reconcile import DIFFERS, EXPLAINED, MOVED_AWAY, MOVED_HERE
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.sources.tables import compared as usage_compared
from billing_bridge.tables import usage_day
from controller.domain.clock import local_date
from controller.domain.identity import ServiceId, SubscriptionId, new_id
from controller.domain.price import Band, Flat, Free, Overage, PricePlan
from controller.domain.units import GB
from controller.domain.usage import CounterSample
from controller.store.engine import Database
from controller.workflows import reconciliation
from controller.workflows.assurance_nights import AssuranceNights
from controller.workflows.reconciliation import NotOver
from tests.support.assurance import PLAN, Network, network_of
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, Line, berlin

NIGHTS = "9" * 32


@pytest.fixture
async def network(database: Database, tmp_path: Path) -> AsyncIterator[Network]:
    async with network_of(database, tmp_path) as made:
        yield made


async def carry(network: Network, line: Line, *, counter_share: float = 1.031, days: int = 9) -> None:
    """Interims of every hour, and an OLT that counts the same in frames."""
    world, total, start = network.world, 0, berlin(2026, 9, 1, 9)
    totals, samples = [], []
    tags = (("service", str(line.service_id)), ("direction", "downstream"))
    for hour in range(24 * days):
        at = start + timedelta(hours=hour + 1)
        grown = 500_000_000 + hour % 7 * 10_000_000
        total += grown
        totals.append((at, 0, total))
        # A sample is of the hour that ends with it.
        samples.append(CounterSample("olt_onu", tags, "octets", at - timedelta(seconds=30), int(grown * counter_share)))
    network.clock.move_to(start + timedelta(days=days))
    await world.account_for(line, *totals)
    await network.series.write(samples)
    network.access.services["NOKI00000001"] = line.service_id


async def test_three_counts_agree_by_night_and_one_per_cent_of_loss_is_found(network: Network) -> None:
    line = await network.world.activate(PLAN)
    await carry(network, line)
    last = date(2026, 9, 9)
    totals = await network.reconciliation.run(last, 8)
    assert [t.differing for t in totals] == [0] * len(totals)
    assert all(t.radius == t.billed for t in totals)
    (row,) = await network.reconciliation.page(Wanted(last), None, 10)
    assert (row.verdict, row.unexplained) == (EXPLAINED, 0)
    assert "the days before" in row.reasons[0].text
    # One per cent of the records of a day is lost between RADIUS and the bill.
    async with network.database.begin() as conn:
        lost = usage_day.c.downstream_octets // 100
        await conn.execute(
            update(usage_day)
            .where(usage_day.c.day == last)
            .values(downstream_octets=usage_day.c.downstream_octets - lost)
        )
    (total,) = await network.reconciliation.run(last, 1)
    assert total.differing == 1
    (row,) = await network.reconciliation.page(Wanted(last, verdict=DIFFERS), None, 10)
    assert row.unexplained == row.radius - row.billed == row.radius // 100


@pytest.mark.parametrize("zone", ["Pacific/Apia", "Pacific/Pago_Pago", "Australia/Lord_Howe"])
async def test_counts_agree_on_the_days_of_an_account_in_another_zone(network: Network, zone: str) -> None:
    account = await network.world.customer("Somebody far away", zone)
    line = await network.world.activate(PLAN, account)
    await carry(network, line)
    over = local_date(network.clock.now(), ZoneInfo(zone)) - timedelta(days=1)
    last = date(2026, 9, 9)
    totals = await network.reconciliation.run(last, 8)
    rows = await network.reconciliation.page(Wanted(service_id=line.service_id), None, 20)
    assert {row.day for row in rows} == {last - timedelta(days=n) for n in range(8)} - {over + timedelta(days=1)}
    assert [t.differing for t in totals] == [0] * len(totals)
    assert all(row.radius == row.billed > 0 for row in rows)
    assert all(row.counter and row.radius < row.counter < row.radius * 1.04 for row in rows), "a counter is of that day"
    network.clock.advance(timedelta(days=1))
    await network.reconciliation.run(last, 2)
    (row,) = await network.reconciliation.page(Wanted(last, line.service_id), None, 20)
    assert row.radius == row.billed > 0


async def test_counts_agree_after_a_service_has_got_its_own_days(network: Network) -> None:
    world = network.world
    line = await world.activate(PLAN, await world.customer("Somebody far away", "Pacific/Apia"))
    unknown = replace(line, service_id=ServiceId(new_id(network.clock.now())), session_key=new_id(network.clock.now()),
                      subscription_id=SubscriptionId(new_id(network.clock.now())))  # fmt: skip
    await carry(network, unknown, days=3)
    await network.reconciliation.run(date(2026, 9, 3), 3)
    await world.activate_as(PLAN, unknown)
    network.clock.advance(timedelta(days=1))
    await network.reconciliation.run(date(2026, 9, 4), 4)
    rows = await network.reconciliation.page(Wanted(service_id=unknown.service_id), None, 20)
    assert len(rows) == 4
    assert all(row.radius == row.billed > 0 for row in rows)


async def test_a_look_that_ends_in_the_next_night_is_not_the_one_of_that_night(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.clock.move_to(berlin(2026, 9, 10, 22))
    real = network.reconciliation._compare

    async def slow(*args: Any) -> None:
        network.clock.move_to(berlin(2026, 9, 11, 3))
        await real(*args)

    monkeypatch.setattr(network.reconciliation, "_compare", slow)
    await network.reconciliation.run(days=1)
    assert await network.reconciliation.looked_at() is None
    await network.reconciliation.run(days=1)
    assert await network.reconciliation.looked_at() == network.clock.now()


async def test_one_per_cent_of_accounting_that_never_came_is_found_by_the_counter(network: Network) -> None:
    line = await network.world.activate(PLAN)
    await carry(network, line)
    last = date(2026, 9, 9)
    await network.reconciliation.run(last - timedelta(days=1), 7)
    since = berlin(2026, 9, 9, 0)
    for (series, at_ms), value in list(network.series.points.items()):
        if at_ms >= since.timestamp() * 1000:
            network.series.points[series, at_ms] = value * 1.01
    await network.reconciliation.run(last, 1)
    (row,) = await network.reconciliation.page(Wanted(last), None, 10)
    assert row.verdict == DIFFERS
    assert 0.008 < row.unexplained / row.radius < 0.013


async def test_usage_of_nobody_known_is_explained_by_suspense_and_by_who_got_it(network: Network) -> None:
    line, world = await network.world.activate(PLAN), network.world
    network.clock.move_to(berlin(2026, 9, 2, 9))
    await world.account_for(line, (berlin(2026, 9, 1, 12), 0, 3 * GB), unmapped=True)
    day = date(2026, 9, 1)
    await network.reconciliation.run(day, 1)
    (row,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (row.service_id, row.unexplained, row.verdict) == ("", 0, EXPLAINED)
    assert (row.reasons[0].text, row.reasons[0].octets) == ("waits in suspense", 3 * GB)
    await world.suspense.map_to_service(1, service_id=line.service_id, since=None, actor="user:t", reason="it is hers")
    await network.reconciliation.run(day, 1)
    rows = {r.service_id: r for r in await network.reconciliation.page(Wanted(day), None, 10)}
    assert rows[""].reasons[0].text == "given to another service by hand"
    assert rows[line.service_id].reasons[0].text == "taken over from another service by hand"
    assert all(r.unexplained == 0 for r in rows.values())


async def test_octets_in_free_hours_are_explained_as_such(network: Network) -> None:
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    night, rest = (Band(days=week, until_minute=360),), (Band(days=week, from_minute=360),)
    fee, over = Flat(code="fee", amount=Decimal(20)), Overage(code="over", price=Decimal("0.50"), bands=rest)
    plan = PricePlan(prices=(fee, over, Free(code="night", bands=night)))
    network.world.prices.add(replace(tariff(NIGHTS, "20.00"), plan=plan))
    line, world = await network.world.activate(NIGHTS), network.world
    at = [berlin(2026, 9, 2, 4), berlin(2026, 9, 2, 5), berlin(2026, 9, 2, 12), berlin(2026, 9, 2, 13)]
    network.clock.move_to(berlin(2026, 10, 1, 9))
    await world.account_for(line, (at[0], 0, 0), (at[1], 0, 3 * GB), (at[2], 0, 3 * GB), (at[3], 0, 5 * GB))
    day = date(2026, 9, 2)
    await network.reconciliation.run(day, 1)
    (open_period,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert [(r.text, r.octets) for r in open_period.reasons] == [
        ("in hours that the plan gives away", 3 * GB),
        ("not charged: the period is open, or the plan has no price for it", 2 * GB),
    ]
    await world.launch()
    await world.bill()
    await network.reconciliation.run(day, 1)
    (closed,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (closed.billed, closed.charged, closed.unexplained) == (5 * GB, 2 * GB, 0)
    assert [(r.text, r.octets) for r in closed.reasons] == [("in hours that the plan gives away", 3 * GB)]


async def test_usage_moved_after_the_bill_is_a_reason_until_the_next_run_has_corrected_it(network: Network) -> None:
    world, clock, day = network.world, network.clock, date(2026, 9, 29)
    old, new = await world.activate(PLAN), await world.activate(PLAN)
    at = [berlin(2026, 9, 29, 10), berlin(2026, 9, 29, 12), berlin(2026, 9, 29, 14), berlin(2026, 9, 29, 16)]
    clock.move_to(at[-1])
    await world.account_for(old, (at[0], 0, 0), (at[1], 0, 12 * GB), (at[2], 0, 16 * GB), (at[3], 0, 30 * GB))
    clock.move_to(berlin(2026, 10, 1, 2))
    await world.launch()
    await world.bill()

    async def looked() -> dict[str, tuple[int, int, list[tuple[str, int]]]]:
        await network.reconciliation.run(day, 1)
        found = await network.reconciliation.page(Wanted(day), None, 10)
        assert not [r for r in found if r.unexplained]
        own = "billed and charged"
        return {r.service_id: (r.billed, r.charged, [(w.text, w.octets) for w in r.reasons if w.between == own])
                for r in found}  # fmt: skip

    assert await looked() == {old.service_id: (30 * GB, 30 * GB, [])}
    clock.move_to(berlin(2026, 10, 1, 9))
    await world.suspense.give(
        USERNAME, "alice", berlin(2026, 9, 29, 13), new.service_id, overrides=True, actor="user:anna", reason="late",
    )  # fmt: skip
    assert await looked() == {
        old.service_id: (14 * GB, 30 * GB, [(MOVED_AWAY, -16 * GB)]),
        new.service_id: (16 * GB, 0, [(MOVED_HERE, 16 * GB)]),
    }
    await world.bill()
    assert await looked() == {
        old.service_id: (14 * GB, 14 * GB, []),
        new.service_id: (16 * GB, 16 * GB, []),
    }


async def test_the_counter_of_a_port_is_the_third_count_of_a_service_without_an_onu(network: Network) -> None:
    line = await network.world.activate(PLAN)
    network.clock.move_to(berlin(2026, 9, 3, 9))
    await network.world.account_for(line, (berlin(2026, 9, 2, 8), 0, 0), (berlin(2026, 9, 2, 20), 0, 4 * GB))
    day, counted = date(2026, 9, 2), 4 * GB + GB // 10
    told = {"calls": 0, "duration_s": 0, "records": 48, "upstream_octets": 0}
    row = {"service_id": line.service_id, "day": day, "downstream_octets": counted, **told}
    async with network.database.begin() as conn:
        flows = row | {"downstream_octets": 9 * GB, "source": "ipfix"}
        await conn.execute(insert(usage_compared), [row | {"source": "interfaces"}, flows])
    await network.reconciliation.run(day, 1)
    (found,) = await network.reconciliation.page(Wanted(day), None, 10)
    assert (found.counter, found.radius, found.billed, found.verdict) == (counted, 4 * GB, 4 * GB, EXPLAINED)


async def test_a_day_that_is_not_over_is_not_compared(network: Network) -> None:
    with pytest.raises(NotOver):
        await network.reconciliation.run(network.clock.now().date())


async def test_a_comparison_that_was_cut_off_is_made_up_for_in_the_same_night(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are written piece by piece: those of the first piece are of tonight, and the night is not done."""
    lines = [await network.world.activate(PLAN), await network.world.activate(PLAN)]
    for n, line in enumerate(lines):
        at = berlin(2026, 9, 1, 10) + timedelta(hours=n)
        await network.world.account_for(line, (at, 0, 0), (at + timedelta(hours=1), 0, 10**9))
    network.clock.move_to(berlin(2026, 9, 2, 3))
    monkeypatch.setattr(reconciliation, "_WRITTEN", 1)
    real, written = compared.put, 0

    async def dies(*args: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise RuntimeError("killed")
        await real(*args)

    monkeypatch.setattr(compared, "put", dies)
    with pytest.raises(RuntimeError, match="killed"):
        await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()
    day = date(2026, 9, 1)
    assert len(await network.reconciliation.page(Wanted(day), None, 10)) == 1
    assert await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()
    assert len(await network.reconciliation.page(Wanted(day), None, 10)) == 2
    assert not await AssuranceNights(network.clock, BERLIN, network.leakage, network.reconciliation).once()

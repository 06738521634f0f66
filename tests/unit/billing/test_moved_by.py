"""What was moved because of what was said of an identifier is told later, too: what was taken, and to whom it went."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.identifiers import PHONE, USERNAME, Wanted
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from controller.domain.price import Calls, Destination, Flat, PricePlan
from controller.domain.units import GB
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin

PLAN = "b" * 32
NUMBER, ALICE = "4930555100", "alice"
NOON = berlin(2026, 9, 1, 12)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    germany = Destination(prefix="49", price=Decimal("0.06"), first_s=60, next_s=6)
    prices = (Flat(code="fee", amount=Decimal("5.00")), Calls(code="voice", destinations=(germany,)))
    plan = replace(tariff(PLAN, "5.00"), plan=PricePlan(prices=prices))
    made = BillingWorld(database, tmp_path, [plan], berlin(2026, 9, 1, 7))
    await made.entity()
    await made.launch()
    try:
        yield made
    finally:
        await made.close()


async def said(world: BillingWorld, kind: str, name: str, line: Line, hour: int) -> None:
    await world.suspense.give(
        kind, name, berlin(2026, 9, 1, hour), line.service_id, overrides=False, actor="user:anna", reason="ported"
    )


async def told(world: BillingWorld, name: str, kind: str, facts: list[Fact]) -> None:
    now, measure = world.clock.now(), "calls" if kind == PHONE else "octets"
    made = Source(name, name, measure, kind, True, False, None, None, None, 0, FIRST_PREVIOUS, now, "", None)
    await world.sources.register(made, actor="user:anna")
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    await intake.deliver(name, facts, title=name, content=b"f" * 32, complete_until=None, actor="user:anna")


async def test_calls_that_moved_are_told_of_both_sides(world: BillingWorld) -> None:
    old, new = await world.activate(PLAN), await world.activate(PLAN)
    await said(world, PHONE, NUMBER, old, 8)
    world.clock.move_to(berlin(2026, 9, 1, 15))
    calls = [
        Fact(str(n), n, NUMBER, at, at + timedelta(seconds=65), str(n), 0, 0, 65, "49891234")
        for n, at in enumerate((berlin(2026, 9, 1, 9), berlin(2026, 9, 1, 13), berlin(2026, 9, 1, 14)), 1)
    ]
    await told(world, "pbx", PHONE, calls)
    assert await world.sources.moves(PHONE, NUMBER) == []
    await said(world, PHONE, NUMBER, new, 12)
    taken, given = await world.sources.moves(PHONE, NUMBER)
    assert (taken.service_id, taken.calls, taken.duration_s) == (old.service_id, -2, -130)
    assert (given.service_id, given.calls, given.duration_s) == (new.service_id, 2, 130)
    assert (given.since, given.first_on, given.last_on) == (NOON, date(2026, 9, 1), date(2026, 9, 1))


async def test_octets_that_moved_are_told_of_both_sides(world: BillingWorld) -> None:
    old, new = await world.activate(PLAN), await world.activate(PLAN)
    await said(world, USERNAME, ALICE, old, 8)
    world.clock.move_to(berlin(2026, 9, 1, 15))
    facts = [
        Fact(str(n), n, ALICE, berlin(2026, 9, 1, hour), berlin(2026, 9, 1, hour + 2), str(n), GB, 3 * GB)
        for n, hour in enumerate((9, 11, 13), 1)
    ]
    await told(world, "wifi", USERNAME, [])
    await world.sources.assign(None, "octets", berlin(2026, 9, 1), "wifi", actor="user:anna", reason="no RADIUS there")
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN))
    await intake.deliver("wifi", facts, title="wifi", content=b"g" * 32, complete_until=None, actor="user:anna")
    await said(world, USERNAME, ALICE, new, 12)
    found = await world.sources.moves(USERNAME, ALICE)
    assert [(m.service_id, m.octets, m.calls) for m in found] == [
        (old.service_id, -6 * GB, 0),
        (new.service_id, 6 * GB, 0),
    ]


async def test_identifiers_are_found_by_how_they_begin_and_by_whose_they_are(world: BillingWorld) -> None:
    line, other = await world.activate(PLAN), await world.activate(PLAN)
    for name in ("al_ice", "alXice", "bob"):
        await said(world, USERNAME, name, line, 8)
    await said(world, PHONE, "al_ice", other, 8)

    async def names(**wanted: str) -> list[tuple[str, str]]:
        found = await world.sources.mapped(Wanted(**wanted), None, 10)
        return [(m.kind, m.identifier) for m in found]

    assert await names(begins="al_") == [(PHONE, "al_ice"), (USERNAME, "al_ice")]
    assert await names(service_id=other.service_id) == [(PHONE, "al_ice")]
    assert await names(kind=USERNAME, name="bob") == [(USERNAME, "bob")]

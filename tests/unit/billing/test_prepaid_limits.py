"""A limit that the NAS itself holds follows the balance: with each new slice, and with a top-up in mid-session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from billing_bridge.prepaid.model import OCTETS, SECONDS
from controller.domain.credit import FinalAction, Prolonged, Slice
from controller.domain.identity import ServiceId
from controller.store.engine import Database
from tests.support.prepaid import MB, NAS, SERVICE, FakeAccess, PrepaidWorld, key


@pytest.fixture
async def world(database: Database) -> AsyncIterator[PrepaidWorld]:
    made = PrepaidWorld(database)
    yield made
    await made.log.close()


async def begin(world: PrepaidWorld) -> None:
    await world.prepaid.reserve(SERVICE, "line 1", NAS)
    await world.report("start")


async def test_a_new_slice_moves_the_limit_by_what_the_session_has_used(world: PrepaidWorld) -> None:
    await world.open(SECONDS, slice_=600)
    await world.top_up(3_600)
    await begin(world)
    told = world.access.prolonged
    for used, expected in ((200, {}), (300, {key("1"): Prolonged(Slice(seconds=900), 600)})):
        await world.later(seconds=100)
        await world.report("interim", 0, seconds=used)
        assert told == expected
    await world.later(seconds=300)
    await world.report("interim", 0, seconds=600)
    assert told == {key("1"): Prolonged(Slice(seconds=1_200), 900)}
    # The last slice is what is left: the session ends there, and then nobody prolongs it.
    await world.report("interim", 0, seconds=3_300)
    assert told[key("1")].until == Slice(seconds=3_600)
    told.clear()
    await world.report("interim", 0, seconds=3_500)
    assert told == {}


@pytest.mark.parametrize(("unit", "slice_", "told"), [(SECONDS, 600, 600), (OCTETS, MB, None)])
async def test_how_long_a_nas_was_told_to_let_a_session_last_is_known_while_its_balance_is_in_use(
    world: PrepaidWorld, unit: str, slice_: int, told: int | None
) -> None:
    await world.open(unit, slice_=slice_)
    await world.top_up(3 * slice_)
    await begin(world)
    async with world.database.read() as conn:
        assert await world.prepaid.told_limit(conn, key("1")) == told
    await world.close()
    async with world.database.read() as conn:
        assert await world.prepaid.told_limit(conn, key("1")) is None


async def test_a_top_up_moves_the_limit_before_the_next_report(world: PrepaidWorld) -> None:
    await world.open(OCTETS, slice_=10 * MB)
    await world.top_up(4 * MB)
    await begin(world)
    await world.report("interim", 3 * MB)
    assert (await world.amounts(), world.access.prolonged) == ((MB, MB, 0), {})
    await world.top_up(20 * MB, reference="2")
    assert world.access.prolonged == {key("1"): Prolonged(Slice(octets=13 * MB), 4 * MB)}
    assert await world.amounts() == (21 * MB, 10 * MB, 0)
    await world.top_up(20 * MB, reference="2")
    assert world.access.prolonged == {key("1"): Prolonged(Slice(octets=13 * MB), 4 * MB)}, "repeated"


async def test_a_session_that_began_in_the_garden_holds_no_limit_and_gets_none(world: PrepaidWorld) -> None:
    await world.open(OCTETS, slice_=MB, action=FinalAction.GARDEN)
    await begin(world)
    await world.top_up(20 * MB)
    assert world.access.resumed == [key("1")]
    await world.report("interim", MB)
    assert world.access.prolonged == {}


async def test_a_session_in_the_garden_that_nothing_is_left_for_is_not_told_to_end_at_what_it_has_used(
    world: PrepaidWorld,
) -> None:
    await world.open(SECONDS, slice_=600, action=FinalAction.GARDEN)
    await world.top_up(600)
    await begin(world)
    for used in (600, 900):
        await world.later(seconds=300)
        await world.report("interim", 0, seconds=used)
    assert world.access.ended == [(key("1"), FinalAction.GARDEN)]
    assert world.access.prolonged == {}


async def test_who_prolongs_waits_for_other_writers_of_the_same_sessions(database: Database) -> None:
    class Ordered(FakeAccess):
        async def take_turn(self, conn: Any) -> None:
            told.append("turn")

        async def prolong(self, conn: Any, service_id: ServiceId, sessions: Mapping[str, Prolonged]) -> None:
            told.append("prolong")

    told: list[str] = []
    world = PrepaidWorld(database, Ordered())
    try:
        await world.open(SECONDS, slice_=600)
        await world.top_up(3_600)
        await begin(world)
        told.clear()
        await world.report("interim", 0, seconds=300)
        assert told == ["turn", "prolong"]
    finally:
        await world.log.close()

"""Usage that spans the instant at which an identifier changes hands: cut there, each part with whose it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import httpx2
import pytest

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from billing_bridge.sources.service import SourceService
from controller.domain.money import Money
from controller.domain.units import GB
from controller.domain.usage import MeasuredOctets
from controller.store.engine import Database
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.usage_sources import (
    DATA,
    Sessions,
    balanced,
    lines_of,
    owns,
    sources_world,
    told,
    waiting,
)


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    async with sources_world(database, tmp_path) as made:
        yield made


async def test_octets_of_an_interval_are_split_at_the_instant_at_which_the_username_changes_hands(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    body = {"name": "wifi", "title": "Hotspots", "measure": "octets", "identifier_kind": "username"}
    await told(await api.post("/usage-sources", json=body))
    for since, line in ((berlin(2026, 9, 1, 8), old), (berlin(2026, 9, 1, 12), new)):
        await owns(api, "alice", line, since, kind="username")
    body = {"measure": "octets", "since": berlin(2026, 9, 1).isoformat(), "source": "wifi", "reason": "no RADIUS there"}
    await told(await api.post("/usage-assignments", json=body))
    world.clock.move_to(berlin(2026, 9, 1, 14))
    event = {
        "id": "e1", "time": berlin(2026, 9, 1, 11, 30).isoformat(), "subject": "alice",
        "data": {"until": berlin(2026, 9, 1, 13).isoformat(), "downstream_octets": 1000, "upstream_octets": 100},
    }  # fmt: skip
    found = await told(await api.post("/usage-sources/wifi/events", json={"events": [event]}))
    assert (found["rated"], found["duplicate"]) == (1, 0)
    repeated = await told(await api.post("/usage-sources/wifi/events", json={"events": [event, event]}))
    assert repeated["duplicate"] == 2
    said = {}
    for line in (old, new):
        query = {"service_id": line.service_id, "since_on": "2026-09-01", "until_on": "2026-09-02"}
        (day,) = (await api.get("/usage-comparison", params=query)).json()["days"]
        said[line.service_id] = (day["upstream_octets"], day["downstream_octets"], day["bills"])
    assert said == {old.service_id: (33, 333, True), new.service_id: (67, 667, True)}
    assert await balanced(sources) == {"wifi": (3, 1, 0, 0, 2)}


async def test_a_session_that_goes_on_while_its_username_changes_hands_is_split_at_that_instant(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old = await world.activate(DATA)
    await world.account_for(old, (berlin(2026, 9, 1, 11, 50), 0, 0))
    world.clock.move_to(berlin(2026, 9, 1, 12))
    new = await world.activate(DATA)
    # The NAS did not end the session; the next report says all that it carried in twenty minutes around noon.
    await world.account_for(old, (berlin(2026, 9, 1, 12, 10), 10 * GB, 20 * GB), service_id=new.service_id)
    await world.mediation.catch_up(await world.usage.watermark())
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: (5 * GB, 10 * GB), new.service_id: (5 * GB, 10 * GB)}
    world.clock.move_to(berlin(2026, 10, 1, 2))
    (row,) = await lines_of(world, old)
    assert row.net == Money(250, "EUR")  # 15 GB, of which 10 are included
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults
    assert await balanced(sources) == {"radius": (2, 1, 1, 0, 0)}


async def test_flows_of_an_address_are_the_services_that_had_it_at_that_instant_and_are_compared(
    world: BillingWorld, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    holders = Sessions((berlin(2026, 9, 1, 8), old.service_id), (noon, new.service_id))
    intake = Intake(world.database, world.clock, BillingSettings(zone=BERLIN), holders)
    feed = MeasuredIntake(world.database, world.clock, sources, intake)
    world.clock.move_to(berlin(2026, 9, 1, 13))
    minute = timedelta(minutes=1)
    flows = [
        MeasuredOctets("k-1", "100.64.0.1", noon - 4 * minute, noon + minute, 50, 500),
        MeasuredOctets("k-2", "100.64.0.9", noon, noon + minute, 1, 2),
    ]
    for _ in range(2):  # the answer to the first one was lost
        await feed.measured("ipfix", "address", flows, title="Flows", complete_until=noon)
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.source, day.bills, day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: ("ipfix", False, 40, 400), new.service_id: ("ipfix", False, 10, 100)}
    assert await balanced(sources) == {"ipfix": (4, 0, 1, 1, 2)}
    assert (await sources.source("ipfix")).complete_until == noon


async def test_usage_of_radius_that_spans_a_handover_by_hand_is_cut_there_and_adds_up(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    old, new = await world.activate(DATA), await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    await owns(api, "alice", new, noon, kind="username", overrides=True)
    await world.account_for(
        old,
        (noon - timedelta(minutes=10), 0, 0),
        (noon + timedelta(minutes=10), 10 * GB, 20 * GB + 1),
    )
    await world.mediation.catch_up(await world.usage.watermark())
    said = {}
    for line in (old, new):
        (day,) = await sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
        said[line.service_id] = (day.upstream_octets, day.downstream_octets)
    assert said == {old.service_id: (5 * GB, 10 * GB), new.service_id: (5 * GB, 10 * GB + 1)}
    assert await balanced(sources) == {"radius": (2, 1, 1, 0, 0)}
    world.clock.move_to(berlin(2026, 10, 1, 2))
    (row,) = await lines_of(world, new)
    explained = await world.explainer.explain(row.line_id)
    assert explained.intact, explained.faults


async def test_usage_of_nobody_is_cut_where_somebody_gets_the_username_and_the_rest_waits_on(
    world: BillingWorld, api: httpx2.AsyncClient, sources: SourceService
) -> None:
    line = await world.activate(DATA)
    noon = berlin(2026, 9, 1, 12)
    begin, end = noon - timedelta(minutes=10), noon + timedelta(minutes=10)
    await world.account_for(line, (begin, 0, 0), (end, 10 * GB, 20 * GB), unmapped=True)
    await world.mediation.catch_up(await world.usage.watermark())
    (item,) = await waiting(api)
    body = {"action": "map", "service_id": line.service_id, "since": noon.isoformat(), "reason": "theirs from noon"}
    await told(await api.post(f"/suspense/{item['suspense_id']}/release", json=body), 200)
    (rest,) = await waiting(api)
    assert (rest["upstream_octets"], rest["downstream_octets"]) == (5 * GB, 10 * GB)
    assert await balanced(sources) == {"radius": (2, 0, 1, 1, 0)}
    body = {"action": "write-off", "reason": "nobody's"}
    await told(await api.post(f"/suspense/{rest['suspense_id']}/release", json=body), 200)
    (hour,) = await sources.totals()
    assert (hour.rated[1], hour.unrated[1], hour.suspense) == (15 * GB, 15 * GB, (0, 0))
    assert hour.adds_up

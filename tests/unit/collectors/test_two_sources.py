"""The same hour by RADIUS and by SNMP: two sources of one service, side by side, and billed once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from billing_bridge.settings import BillingSettings
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.measured import MeasuredIntake
from collectors.health import HealthStore
from collectors.poller import Poller
from collectors.usage_feed import UsageFeed
from controller.domain.identity import DeviceId
from controller.domain.ports import Secret, SnmpTarget
from controller.store.engine import Database
from lab.snmp_agent import AgentInterface, SnmpAgent
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, berlin
from tests.support.series import FakeTimeSeries

DEVICE = "d" * 32
PLAN = "a" * 32


class Registry:
    """PollTargets of one agent."""

    def __init__(self, agent: SnmpAgent) -> None:
        self._target = SnmpTarget(DeviceId(DEVICE), agent.name, agent.host, agent.port, "2c", Secret("public"))

    async def snmp_targets(self) -> list[SnmpTarget]:
        return [self._target]

    async def netconf_targets(self) -> list[object]:
        return []


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[BillingWorld]:
    made = BillingWorld(database, tmp_path, [tariff(PLAN, "30.00")], berlin(2026, 9, 1, 8))
    await made.entity()
    try:
        yield made
    finally:
        await made.close()


async def test_the_same_hour_by_radius_and_by_snmp_is_two_sources_of_one_service_and_never_summed(
    world: BillingWorld,
) -> None:
    line = await world.activate(PLAN)
    settings = BillingSettings(zone=BERLIN)
    port = f"{DEVICE}/ge-0/0/1"
    await world.suspense.give(
        "port", port, berlin(2026, 9, 1, 8), line.service_id, overrides=False, actor="user:anna", reason="patched"
    )
    intake = MeasuredIntake(world.database, world.clock, world.sources, Intake(world.database, world.clock, settings))
    feed = UsageFeed(intake, world.clock, "life")
    await feed.hand_over()
    interfaces = [AgentInterface(1, "ge-0/0/1", 1_000), AgentInterface(2, "xe-0/1/0", 10_000)]
    async with SnmpAgent("bras-1", interfaces, "public", started_at=-1_000_000.0) as agent:
        poller = Poller(Registry(agent), FakeTimeSeries(), HealthStore(world.database), world.clock, feed=feed.counters)
        world.clock.move_to(berlin(2026, 9, 1, 9))
        await poller.poll_now()
        for _ in range(12):
            for interface in interfaces:
                interface.carry(received=1_000_000, sent=9_000_000)
            world.clock.advance(timedelta(minutes=5))
            await poller.poll_now()
    # Accounting counts what PPP carried, without Ethernet's framing.
    await world.account_for(line, (berlin(2026, 9, 1, 9), 0, 0), (berlin(2026, 9, 1, 10), 11_700_000, 106_000_000))
    await world.mediation.catch_up(await world.usage.watermark())
    world.clock.advance(timedelta(minutes=10))
    await feed.hand_over()
    said = await world.sources.compared(line.service_id, date(2026, 9, 1), date(2026, 9, 2))
    assert [(s.source, s.bills, s.upstream_octets, s.downstream_octets) for s in said] == [
        ("billed", True, 11_700_000, 106_000_000),
        ("interfaces", False, 12_000_000, 108_000_000),
    ]
    assert await world.sources.faults() == []
    ledger = {h.source: (h.accepted, h.rated, h.unrated) for h in await world.sources.totals()}
    assert ledger["interfaces"] == ((12, 120_000_000), (0, 0), (12, 120_000_000))
    assert (await world.sources.source("interfaces")).complete_until == berlin(2026, 9, 1, 9, 50)

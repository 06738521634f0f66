"""The poller and what it says of devices, against the lab's agents and the lab's OLT."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lxml import etree
from sqlalchemy.exc import OperationalError

from collectors.health import HealthStore, SourceHealth, State
from collectors.poller import Poller
from collectors.routes import endpoints
from collectors.settings import CollectorSettings, SnmpSettings
from controller.domain.clock import MovableClock, SystemClock
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, DeviceHealth, Secret, SnmpTarget
from controller.store.engine import Database
from controller.store.timeseries_series import TimeSeriesUnavailable
from drivers.transport.netconf import NetconfSettings, NetconfTransport
from lab.olt.server import OltServer
from lab.snmp_agent import AgentInterface, SnmpAgent
from tests.support.api import api_client
from tests.support.olt import PinnedKeys, driver_with, endpoint_of, fibre, put
from tests.support.series import FakeTimeSeries

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
QUICK = CollectorSettings(
    snmp_interval_s=0.5, targets_every_s=0.3, poll_timeout_s=5, snmp=SnmpSettings(timeout_s=0.3, attempts=1)
)


@dataclass
class Registry:
    """PollTargets."""

    snmp: list[SnmpTarget] = field(default_factory=list)
    netconf: list[DeviceEndpoint] = field(default_factory=list)

    async def snmp_targets(self) -> Sequence[SnmpTarget]:
        return self.snmp

    async def netconf_targets(self) -> Sequence[DeviceEndpoint]:
        return self.netconf


class Reader:
    """NetconfReader over the drivers' transport, as wiring makes it."""

    def __init__(self) -> None:
        self.transport = NetconfTransport(NetconfSettings(), PinnedKeys())

    async def read(self, device: DeviceEndpoint, operation: str) -> str:
        def get(session: object) -> str:
            reply: bytes = etree.tostring(session.rpc(etree.fromstring(operation)))  # type: ignore[attr-defined]
            return reply.decode()

        return await self.transport.run(device, get)


class Access:
    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        return {"LABO00000001": ServiceId("service-1")}


def target(agent: SnmpAgent, device_id: str = "d" * 32) -> SnmpTarget:
    return SnmpTarget(DeviceId(device_id), agent.name, "127.0.0.1", agent.port, "2c", community=Secret("public"))


def an_agent(name: str = "bras-1") -> SnmpAgent:
    return SnmpAgent(name, [AgentInterface(1, "ge-0/0/0", 10_000)], "public")


async def test_every_device_is_polled_again_and_again_until_it_leaves_the_registry(database: Database) -> None:
    series, registry, health = FakeTimeSeries(), Registry(), HealthStore(database)
    async with an_agent() as one, an_agent("bras-2") as two:
        registry.snmp = [target(one, "1" * 32), target(two, "2" * 32)]
        poller = Poller(registry, series, health, SystemClock(), settings=QUICK)
        task = asyncio.create_task(poller.run())
        async with asyncio.timeout(20):
            while series.total("interface", device="2" * 32) < 500:
                two.interface("ge-0/0/0").carry(received=100, sent=0)
                await asyncio.sleep(0.1)
            assert {h.health.device_id for h in await health.all()} == {"1" * 32, "2" * 32}
            registry.snmp.pop()
            while len(await health.all()) > 1:  # noqa: ASYNC110 - the poller has no word for having read the registry
                await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_silent_device_is_down_and_does_not_hold_up_the_others(database: Database) -> None:
    series, health = FakeTimeSeries(), HealthStore(database)
    async with an_agent() as good, an_agent("dead") as dead:
        dead.silent = True
        registry = Registry([target(good, "1" * 32), target(dead, "2" * 32)])
        poller = Poller(registry, series, health, SystemClock(), settings=QUICK)
        await poller.poll_now()
        states = {h.health.device_id: h.state(datetime.now(UTC)) for h in await health.all()}
        assert states == {"1" * 32: State.UP, "2" * 32: State.DOWN}
        (down,) = (h.health for h in await health.all() if not h.health.reachable)
        assert "no SNMP answer" in down.detail
        assert "public" not in down.detail


class Broken:
    """A NetconfReader that fails in a way nobody thought of."""

    async def read(self, device: DeviceEndpoint, operation: str) -> str:
        raise RuntimeError("nobody thought of this")


async def test_a_device_whose_poll_breaks_is_down_and_ends_nothing_else(database: Database) -> None:
    series, health = FakeTimeSeries(), HealthStore(database)
    async with an_agent() as good:
        odd = DeviceEndpoint(DeviceId("2" * 32), "odd", "bbf-olt", "a..b", 830, "u", Secret("p"))
        registry = Registry([target(good, "1" * 32)], [odd])
        poller = Poller(registry, series, health, SystemClock(), netconf=Broken(), settings=QUICK)
        await poller.poll_now()
    states = {h.health.device_id: (h.state(datetime.now(UTC)), h.health.detail) for h in await health.all()}
    assert states["1" * 32][0] is State.UP
    assert states["2" * 32] == (State.DOWN, "polling broke: nobody thought of this")


async def test_a_host_that_no_resolver_takes_is_unreachable(database: Database) -> None:
    health = HealthStore(database)
    odd = DeviceEndpoint(DeviceId("2" * 32), "odd", "bbf-olt", "a..b", 830, "u", Secret("p"))
    snmp = SnmpTarget(DeviceId("3" * 32), "odd", "a..b", 161, "2c", community=Secret("public"))
    registry = Registry([snmp], [odd])
    poller = Poller(registry, FakeTimeSeries(), health, SystemClock(), netconf=Reader(), settings=QUICK)
    await poller.poll_now()
    found = {h.health.device_id: h.health for h in await health.all()}
    assert not any(each.reachable or "polling broke" in each.detail for each in found.values())
    assert "odd (a..b:830)" in found[DeviceId("2" * 32)].detail
    assert len(found) == 2


async def test_octets_survive_a_time_series_that_is_away_for_a_while(database: Database) -> None:
    series, health = FakeTimeSeries(), HealthStore(database)
    async with an_agent() as agent:
        poller = Poller(Registry([target(agent)]), series, health, SystemClock(), settings=QUICK)
        await poller.poll_now()
        agent.interface("ge-0/0/0").carry(received=300, sent=0)
        series.away = True
        await poller.poll_now()
        assert (await health.all())[0].health.reachable
        series.away = False
        agent.interface("ge-0/0/0").carry(received=40, sent=0)
        await poller.poll_now()
    assert series.total("interface", direction="in", if_name="ge-0/0/0") == 340


async def test_the_state_of_an_olt_arrives_by_netconf(database: Database, olt: OltServer) -> None:
    series, health = FakeTimeSeries(), HealthStore(database)
    device = endpoint_of(olt)
    driver, _ = driver_with()
    await put(driver, device, fibre())
    poller = Poller(
        Registry(netconf=[device]), series, health, SystemClock(), netconf=Reader(), access=Access(), settings=QUICK
    )
    await poller.poll_now()
    assert series.values("olt_onu", "present") == [1]
    (light,) = series.values("olt_onu", "rx_power_dbm")
    assert -30 < light < -8
    olt.olt.plant.carry("LABO00000001", 111, 2222)
    await poller.poll_now()
    assert series.total("olt_onu", service="service-1", direction="downstream") == 2222
    assert series.total("olt_onu", service="service-1", direction="upstream") == 111
    assert (await health.all())[0].health.detail == "1 of 1 ONUs present"
    await olt.stop()
    await poller.poll_now()
    assert (await health.all())[0].state(datetime.now(UTC)) is State.DOWN


class Recorded:
    """A NetconfReader with the answer of an OLT as it was recorded."""

    async def read(self, device: DeviceEndpoint, operation: str) -> str:
        return (Path(__file__).parent / "olt_state.xml").read_text()


class AccessAway(Access):
    away = True

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        if self.away:
            raise OperationalError("SELECT …", {}, ConnectionRefusedError("the database is away"))
        return await super().services_by_onu()


async def test_a_database_that_is_away_does_not_end_the_polling(sqlite_database: Database) -> None:
    """With it the whole process would end, and nobody be answered who signs in."""
    series, access, health = FakeTimeSeries(), AccessAway(), HealthStore(sqlite_database)
    olt = DeviceEndpoint(DeviceId("o" * 32), "olt-1", "bbf-olt", "127.0.0.1", 830, "headend", Secret("x"))
    poller = Poller(Registry(netconf=[olt]), series, health, SystemClock(), netconf=Recorded(), access=access)
    await poller.poll_now()
    assert series.points == {}
    access.away = False
    await poller.poll_now()
    assert series.points != {}


def said(device_id: str, *, reachable: bool = True, at: datetime = NOW, detail: str = "") -> SourceHealth:
    valid_until = at + timedelta(seconds=75)
    return SourceHealth("snmp", DeviceHealth(DeviceId(device_id), reachable, at, valid_until, detail, 3600))


async def test_presence_expires(database: Database) -> None:
    store = HealthStore(database)
    await store.record([said("1" * 32)])
    await store.record([said("1" * 32, reachable=False, detail="silent"), said("2" * 32)])
    first, second = await store.all()
    assert (first.state(NOW), first.health.detail, second.state(NOW)) == (State.DOWN, "silent", State.UP)
    assert second.state(NOW + timedelta(seconds=75)) is State.UNKNOWN


async def test_the_api_tells_health_page_by_page_and_by_the_clock(database: Database) -> None:
    store, clock = HealthStore(database), MovableClock(NOW)
    await store.record([said(f"{n}" * 32, reachable=n != 2) for n in (1, 2, 3)])
    async with api_client(endpoints(FakeTimeSeries(), store), clock=clock) as api:
        page = (await api.get("/device-health?limit=2")).json()
        assert [(row["device_id"][0], row["state"]) for row in page["items"]] == [("1", "up"), ("2", "down")]
        rest = (await api.get(f"/device-health?limit=2&after={page['next']}")).json()
        assert ([row["device_id"][0] for row in rest["items"]], rest["next"]) == (["3"], None)
        clock.advance(timedelta(minutes=5))
        assert (await api.get("/device-health?limit=1")).json()["items"][0]["state"] == "unknown"


async def test_the_api_reads_measurements_with_gaps_as_null(database: Database) -> None:
    series = FakeTimeSeries()
    series.points[("session_octets", (("direction", "downstream"), ("service", "s")), "octets"), 1777636800000] = 42.0
    async with api_client(endpoints(series, HealthStore(database)), clock=MovableClock(NOW)) as api:
        answer = await api.get(
            "/measurements?measurement=session_octets&tags=service=s,direction=downstream"
            "&since=2026-05-01T12:00:00Z&until=2026-05-01T12:02:00Z&step_s=60"
        )
        assert answer.status_code == 200
        assert answer.json()["points"] == [
            {"start": "2026-05-01T12:00:00Z", "value": 42.0},
            {"start": "2026-05-01T12:01:00Z", "value": None},
        ]
        everything = (await api.get("/measurements?measurement=session_octets")).json()
        assert everything["step_s"] == 288
        assert len(everything["points"]) == 300


async def test_the_api_refuses_what_it_cannot_read_and_says_when_the_store_is_away(database: Database) -> None:
    series = FakeTimeSeries()
    async with api_client(endpoints(series, HealthStore(database)), clock=MovableClock(NOW)) as api:
        for wrong in (
            "measurement=Bad%20name",
            "measurement=m&tags=service",
            "measurement=m&tags=service=a,service=b",
            "measurement=m&since=2026-05-02T00:00:00Z",
            "measurement=m&since=2026-05-01T00:00:00",
            "measurement=m&since=2020-01-01T00:00:00Z&step_s=1",
            "measurement=m&since=0001-01-01T00:00:00Z&step_s=31622400",
            "measurement=m&aggregate=median",
        ):
            answer = await api.get(f"/measurements?{wrong}")
            assert answer.status_code == 422, wrong
            assert answer.headers["content-type"] == "application/problem+json"
    async with api_client(endpoints(Away(), HealthStore(database)), clock=MovableClock(NOW)) as api:
        assert (await api.get("/measurements?measurement=m")).status_code == 503


class Away(FakeTimeSeries):
    async def read(self, *args: object, **more: object) -> Sequence[object]:  # type: ignore[override]
        raise TimeSeriesUnavailable("away")

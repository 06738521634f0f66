"""From snmpd and mosquitto into VictoriaMetrics: programs we did not write on both sides."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx2
import pytest

from collectors.health import HealthStore
from collectors.mqtt.subscriber import MqttSubscriber
from collectors.poller import Poller
from collectors.settings import MqttSettings
from controller.domain.clock import SystemClock
from controller.domain.identity import DeviceId
from controller.domain.ports import DeviceEndpoint, Secret, SnmpTarget
from controller.store.engine import Database
from controller.store.timeseries_influx import InfluxTimeSeries
from lab.cpe import CpeFleet
from tests.support.metrics_server import VictoriaMetrics
from tests.support.mqtt import USERS, Broker
from tests.support.snmp import SnmpDaemon


@dataclass
class Registry:
    """PollTargets."""

    snmp: list[SnmpTarget] = field(default_factory=list)

    async def snmp_targets(self) -> Sequence[SnmpTarget]:
        return self.snmp

    async def netconf_targets(self) -> Sequence[DeviceEndpoint]:
        return []


@pytest.fixture
async def series(victoria_metrics: VictoriaMetrics) -> AsyncIterator[InfluxTimeSeries]:
    opened = InfluxTimeSeries(victoria_metrics.url)
    yield opened
    await opened.close()


async def held(
    series: InfluxTimeSeries, server: VictoriaMetrics, measurement: str, since: datetime, **tags: str
) -> float | None:
    """What VictoriaMetrics has of this series since then, read as a page would read it."""
    httpx2.get(f"{server.url}/internal/force_flush")
    until = datetime.now(UTC) + timedelta(seconds=1)
    step_s = int((until - since).total_seconds()) + 1
    (bucket,) = await series.read(
        measurement, "octets", since=since, until=until, step_s=step_s, tags=tuple(tags.items())
    )
    return bucket.value


async def test_the_traffic_of_snmpds_loopback_is_in_victoria_metrics(
    sqlite_database: Database, snmpd: SnmpDaemon, series: InfluxTimeSeries, victoria_metrics: VictoriaMetrics
) -> None:
    v2c, v3 = uuid4().hex, uuid4().hex
    secrets = {"auth_protocol": "SHA", "auth_key": Secret("authentication-key"), "priv_key": Secret("privacy-key-1")}
    registry = Registry(
        [
            SnmpTarget(DeviceId(v2c), "by v2c", "127.0.0.1", snmpd.port, "2c", community=Secret("public")),
            SnmpTarget(DeviceId(v3), "by v3", "127.0.0.1", snmpd.port, "3", user="reader", **secrets),  # type: ignore[arg-type]
        ]
    )
    poller, since = Poller(registry, series, HealthStore(sqlite_database), SystemClock()), datetime.now(UTC)
    await poller.poll_now()
    _send_over_loopback(2_000_000)
    found = dict.fromkeys((v2c, v3), 0.0)
    async with asyncio.timeout(60):  # the agent renews what it knows of its interfaces every few seconds
        while min(found.values()) < 2_000_000:
            await poller.poll_now()
            for device_id in found:
                tags = {"device": device_id, "if_name": "lo", "direction": "in"}
                found[device_id] = await held(series, victoria_metrics, "interface", since, **tags) or 0.0
    assert len(found) == 2
    assert min(found.values()) >= 2_000_000, found


async def test_the_telemetry_of_cpe_is_in_victoria_metrics(
    broker: Broker, series: InfluxTimeSeries, victoria_metrics: VictoriaMetrics
) -> None:
    since, serial = datetime.now(UTC), f"HDND{uuid4().hex[:8].upper()}"
    cpes = CpeFleet([serial], host="127.0.0.1", port=broker.port, username="cpe", password=USERS["cpe"])
    settings = MqttSettings(
        "127.0.0.1", broker.port, username="collector", password=Secret(USERS["collector"]), client_id=serial
    )
    subscriber = MqttSubscriber(settings, series, SystemClock())
    task = asyncio.create_task(subscriber.run())
    await asyncio.wait_for(subscriber.connected.wait(), 20)
    await cpes.publish_once()
    cpes.cpes[serial].carry(1_500, 40_000)
    await cpes.publish_once()
    async with asyncio.timeout(60):
        while await held(series, victoria_metrics, "cpe", since, cpe=serial, direction="downstream") != 40_000:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert await held(series, victoria_metrics, "cpe", since, cpe=serial, direction="upstream") == 1_500
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _send_over_loopback(octets: int) -> None:
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as sink, socket.socket(*kind) as sender:
        sink.bind(("127.0.0.1", 0))
        for _ in range(octets // 50_000 + 1):
            sender.sendto(bytes(50_000), sink.getsockname())

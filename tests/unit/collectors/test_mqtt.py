"""Telemetry over MQTT, against a real mosquitto with a password file."""

from __future__ import annotations

import asyncio
import json
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from collectors.errors import MalformedAnswer
from collectors.mqtt.model import parse, samples
from collectors.mqtt.subscriber import MqttSubscriber
from collectors.settings import MqttSettings
from collectors.track import CounterTrack
from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from lab.cpe import CpeFleet
from tests.support.mqtt import USERS, Broker
from tests.support.series import FakeTimeSeries

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = MqttSettings("127.0.0.1")
TOPIC = "headend/cpe/HDND00000001/telemetry"


class Access:
    async def services_by_onu(self) -> dict[str, ServiceId]:
        return {"HDND00000001": ServiceId("service-1")}


def report(**changed: Any) -> bytes:
    said = {
        "at": NOW.isoformat(),
        "uptime_s": 3600,
        "wan_upstream_octets": 100,
        "wan_downstream_octets": 1000,
        "wifi_clients": 3,
        "rx_power_dbm": -19.5,
    }
    return json.dumps(said | changed).encode()


@asynccontextmanager
async def subscribed(
    broker: Broker, series: FakeTimeSeries, password: str = USERS["collector"], **more: Any
) -> AsyncIterator[MqttSubscriber]:
    settings = MqttSettings(
        "127.0.0.1", broker.port, username="collector", password=Secret(password), retry_first_s=0.1, retry_most_s=0.3,
        **more,
    )  # fmt: skip
    subscriber = MqttSubscriber(settings, series, SystemClock(), Access())
    task = asyncio.create_task(subscriber.run())
    try:
        yield subscriber
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.02)


def publisher(broker: Broker) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, username="cpe", password=USERS["cpe"])


def fleet(broker: Broker, count: int = 3) -> CpeFleet:
    serials = [f"HDND{n:08X}" for n in range(1, count + 1)]
    return CpeFleet(serials, host="127.0.0.1", port=broker.port, username="cpe", password=USERS["cpe"])


async def test_the_labs_cpe_arrive_with_the_growth_of_their_octets(broker: Broker) -> None:
    series, cpes = FakeTimeSeries(), fleet(broker)
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        await cpes.publish_once()
        for cpe in cpes.cpes.values():
            cpe.carry(1_000, 20_000)
        await until(lambda: len(series.values("cpe", "uptime_s")) == 3)
        await cpes.publish_once()
        await until(lambda: series.total("cpe", direction="downstream") == 60_000)
    assert series.total("cpe", direction="upstream") == 3_000
    assert series.total("cpe", service="service-1", direction="downstream") == 20_000
    assert all(-30 < value < -10 for value in series.values("cpe", "rx_power_dbm"))


async def test_a_wrong_password_is_said_and_tried_again(broker: Broker) -> None:
    async with subscribed(broker, FakeTimeSeries(), password="wrong") as subscriber:
        await until(lambda: "refuses 'collector'" in (subscriber.problem or ""))
        assert "bad user name or password" in (subscriber.problem or "") or "authori" in (subscriber.problem or "")
        assert not subscriber.connected.is_set()
        subscriber._settings = MqttSettings(
            "127.0.0.1", broker.port, username="collector", password=Secret(USERS["collector"])
        )
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        assert subscriber.problem is None


async def test_tls_is_spoken_and_a_certificate_nobody_vouches_for_is_refused(tls_broker: Broker) -> None:
    trusting = ssl.create_default_context(cafile=tls_broker.directory / "certificate.pem")
    async with subscribed(tls_broker, FakeTimeSeries(), tls=trusting) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
    async with subscribed(tls_broker, FakeTimeSeries(), tls=ssl.create_default_context()) as subscriber:
        await until(lambda: "certificate" in (subscriber.problem or "").lower())
        assert not subscriber.connected.is_set()


async def test_who_is_cancelled_ends_even_when_the_goodbye_to_the_broker_fails(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    goodbye = aiomqtt.Client.__aexit__

    async def fail(client: aiomqtt.Client, *reason: Any) -> None:
        await goodbye(client, *reason)
        raise aiomqtt.MqttError("Operation timed out")

    monkeypatch.setattr(aiomqtt.Client, "__aexit__", fail)
    cpes = fleet(broker)
    subscriber = MqttSubscriber(
        MqttSettings("127.0.0.1", broker.port, username="collector", password=Secret(USERS["collector"])),
        FakeTimeSeries(),
        SystemClock(),
    )
    for run, is_at_work in ((subscriber.run, subscriber.connected.is_set), (cpes.run, lambda: cpes.published > 0)):
        task = asyncio.create_task(run())
        await until(is_at_work)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=3)
        assert done, f"{run.__qualname__} goes on for ever"
        assert task.cancelled()


async def test_a_broker_that_restarts_is_connected_to_again(broker: Broker) -> None:
    series = FakeTimeSeries()
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        broker.stop()
        await until(lambda: not subscriber.connected.is_set() and subscriber.problem is not None)
        broker.start()
        await asyncio.wait_for(subscriber.connected.wait(), 20)
        await fleet(broker, 1).publish_once()
        await until(lambda: series.values("cpe", "uptime_s") != [])
        assert subscriber.problem is None
    assert len(series.values("cpe", "uptime_s")) == 1


async def test_what_is_sent_while_the_collector_is_down_is_stored_when_it_is_back(broker: Broker) -> None:
    series, cpes = FakeTimeSeries(), fleet(broker)
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
    await cpes.publish_once()
    assert series.points == {}
    async with subscribed(broker, series):
        await until(lambda: len(series.values("cpe", "uptime_s")) == 3)


async def test_a_message_is_not_acknowledged_before_it_is_stored(broker: Broker) -> None:
    series, cpes = FakeTimeSeries(), fleet(broker, 1)
    series.away = True
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        await cpes.publish_once()
        await until(lambda: subscriber.problem == "the time series is away")
    assert series.points == {}
    series.away = False
    async with subscribed(broker, series):
        await until(lambda: series.values("cpe", "uptime_s") != [])
    assert len(series.values("cpe", "uptime_s")) == 1


async def test_octets_are_not_lost_while_the_time_series_is_away(broker: Broker) -> None:
    series, cpes = FakeTimeSeries(), fleet(broker, 1)
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        await cpes.publish_once()
        await until(lambda: len(series.values("cpe", "uptime_s")) == 1)
        series.away = True
        cpes.cpes["HDND00000001"].carry(5, 7)
        await cpes.publish_once()
        await until(lambda: subscriber.problem == "the time series is away")
        assert series.total("cpe", direction="downstream") == 0
        series.away = False
        await until(lambda: series.total("cpe", direction="downstream") != 0)
    assert series.total("cpe", direction="downstream") == 7
    assert series.total("cpe", direction="upstream") == 5


async def test_malformed_messages_are_counted_and_do_not_stop_the_good_ones(broker: Broker) -> None:
    def counted(reason: str) -> float:
        return REGISTRY.get_sample_value("headend_collectors_mqtt_messages_total", {"result": reason}) or 0.0

    series = FakeTimeSeries()
    before = {reason: counted(reason) for reason in ("payload", "size", "time", "topic")}
    async with subscribed(broker, series) as subscriber:
        await asyncio.wait_for(subscriber.connected.wait(), 10)
        async with publisher(broker) as client:
            for payload in (b"", b"\xff\xfe", b"[]", b'{"at": 5}', report(uptime_s="12"), report(wifi_clients=-1)):
                await client.publish(TOPIC, payload, qos=1)
            await client.publish(TOPIC, b"x" * 20_000, qos=1)
            await client.publish(TOPIC, report(at="1999-01-01T00:00:00Z"), qos=1)
            await client.publish("headend/cpe/no spaces please/telemetry", report(), qos=1)
            await client.publish(TOPIC, report(at=datetime.now(UTC).isoformat(), brand_new_member=1), qos=1)
        await until(lambda: len(series.values("cpe", "uptime_s")) == 1)
        assert subscriber.problem is None
    grown = {reason: counted(reason) - before[reason] for reason in before}
    assert grown == {"payload": 6, "size": 1, "time": 1, "topic": 1}


def test_settings_come_from_a_url_that_is_never_repeated() -> None:
    settings = MqttSettings.from_url("mqtt://anna:p%40ss@broker.example:1884")
    assert (settings.host, settings.port, settings.username, settings.tls) == ("broker.example", 1884, "anna", None)
    assert settings.password == Secret("p@ss")
    assert "p@ss" not in repr(settings)
    secure = MqttSettings.from_url("mqtts://broker.example")
    assert secure.port == 8883
    assert secure.tls is not None
    for wrong in ("", "http://broker", "mqtt://", "mqtt://anna:secret@broker:99999"):
        with pytest.raises(RuleError) as refusal:
            MqttSettings.from_url(wrong)
        assert "secret" not in str(refusal.value)


@given(st.text(max_size=60), st.binary(max_size=300))
def test_whatever_arrives_only_malformed_answer_is_raised(topic: str, payload: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parse(topic, payload, NOW, SETTINGS)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "at": st.one_of(st.text(), st.floats(), st.datetimes().map(str), st.integers()),
            "uptime_s": st.one_of(st.integers(), st.floats(), st.none()),
            "wan_upstream_octets": st.one_of(st.integers(), st.text()),
            "rx_power_dbm": st.one_of(st.floats(), st.integers(), st.booleans()),
        },
    )
)
def test_a_report_is_either_taken_or_malformed(changed: dict[str, Any]) -> None:
    try:
        _, said = parse(TOPIC, report(**changed), NOW, SETTINGS)
    except MalformedAnswer:
        return
    assert abs((NOW - said.at).total_seconds()) <= SETTINGS.late_s
    assert said.rx_power_dbm is None or math.isfinite(said.rx_power_dbm)


def test_a_report_delivered_twice_or_late_adds_no_octets() -> None:
    track = CounterTrack()

    def octets(at: datetime, total: int, uptime_s: int) -> list[float]:
        payload = report(at=at.isoformat(), wan_downstream_octets=total, wan_upstream_octets=None, uptime_s=uptime_s)
        _, said = parse(TOPIC, payload, NOW, SETTINGS)
        return [s.value for s in samples("HDND00000001", said, track, {}) if s.field == "octets"]

    minute = timedelta(minutes=1)
    assert octets(NOW - 3 * minute, 100, 600) == []
    assert octets(NOW - 2 * minute, 150, 660) == [50]
    assert octets(NOW - 2 * minute, 150, 660) == []
    assert octets(NOW - 3 * minute, 100, 600) == []
    assert octets(NOW - minute, 30, 20) == [30]  # it restarted

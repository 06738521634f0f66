"""Receives telemetry over MQTT 5 and acknowledges a message only after its samples are stored.

The broker keeps our session (not clean, with an expiry): what arrives while we are away, or was sent and not yet
acknowledged when we died, is delivered again. Storing the same sample twice changes nothing, so at-least-once is
enough. A malformed message is counted and acknowledged: delivering it again would not mend it. A refused login or a
lost broker is said once per change and tried again with back-off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import aiomqtt
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy.exc import SQLAlchemyError

from collectors import metrics
from collectors.errors import BrokerUnavailable, MalformedAnswer
from collectors.mqtt.model import MEASUREMENT, parse, samples
from collectors.settings import MqttSettings
from collectors.track import CounterTrack
from controller.domain.clock import Clock
from controller.domain.errors import HeadendError
from controller.domain.identity import ServiceId
from controller.domain.ports import AccessMap, TimeSeries
from controller.domain.usage import CounterSample

log = structlog.get_logger()

# Above what we take for well-formed, so that a message that is too large is counted here and not dropped there.
_LARGEST_PACKET = 2**20
_SERVICES_FOR_S = 10.0
_REFUSED = {134: "bad user name or password", 135: "not authorized"}


class MqttSubscriber:
    """`problem` is None while subscribed, else why not, in words for people."""

    def __init__(
        self, settings: MqttSettings, series: TimeSeries, clock: Clock, access: AccessMap | None = None
    ) -> None:
        self._settings = settings
        self._series = series
        self._clock = clock
        self._access = access
        self._track = CounterTrack()
        self._services: Mapping[str, ServiceId] = {}
        self._services_until = 0.0
        self.connected = asyncio.Event()
        self.problem: str | None = "not connected yet"

    async def run(self) -> None:
        """Background task: connect, receive, and connect again. Ends only when cancelled."""
        wait_s = self._settings.retry_first_s
        while True:
            try:
                await self._session()
            except (aiomqtt.MqttError, HeadendError, SQLAlchemyError, OSError) as error:
                _end_if_cancelled(error)
                was_connected = self.connected.is_set()
                problem = str(self._words(error))
                if problem != self.problem:
                    log.warning("mqtt.unavailable", broker=self._broker, problem=problem, retry_s=wait_s)
                self.problem = problem
                wait_s = self._settings.retry_first_s if was_connected else wait_s
            finally:
                self.connected.clear()
                metrics.MQTT_CONNECTED.set(0)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, self._settings.retry_most_s)

    @property
    def _broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _words(self, error: Exception) -> Exception:
        if isinstance(error, MqttConnectError):
            code = getattr(error.rc, "value", error.rc)
            reason = _REFUSED.get(code if isinstance(code, int) else -1, str(error))
            return BrokerUnavailable(f"{self._broker} refuses {self._settings.username!r}: {reason}")
        return error if str(error) else BrokerUnavailable(type(error).__name__)

    async def _session(self) -> None:
        settings = self._settings
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=settings.password.reveal() if settings.password else None,
            identifier=settings.client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=False,
            keepalive=settings.keepalive_s,
            properties=_connect_properties(settings),
            tls_context=settings.tls,
        )
        # paho acknowledges on receipt unless told not to; aiomqtt has no word for it.
        client._client.manual_ack_set(True)
        async with client:
            await client.subscribe(settings.topic, qos=1)
            self.connected.set()
            self.problem = None
            metrics.MQTT_CONNECTED.set(1)
            log.info("mqtt.subscribed", broker=self._broker, topic=settings.topic)
            async for message in client.messages:
                batch = [message]
                await asyncio.sleep(settings.gather_s)
                while len(client.messages) and len(batch) < settings.in_flight:
                    batch.append(await anext(client.messages))
                await self._store(batch)
                for stored in batch:
                    client._client.ack(stored.mid, stored.qos)

    async def _known_services(self) -> Mapping[str, ServiceId]:
        """Asked for again every few seconds, not for every batch."""
        now = asyncio.get_running_loop().time()
        if self._access is not None and now >= self._services_until:
            self._services = await self._access.services_by_onu()
            self._services_until = now + _SERVICES_FOR_S
        return self._services

    async def _store(self, batch: Sequence[aiomqtt.Message]) -> None:
        services = await self._known_services()
        found: list[CounterSample] = []
        for message in batch:
            try:
                payload = message.payload if isinstance(message.payload, bytes) else b""
                serial, report = parse(str(message.topic), payload, self._clock.now(), self._settings)
                found += samples(serial, report, self._track, services)
            except MalformedAnswer as error:
                metrics.MQTT_MESSAGES.labels(error.reason).inc()
                log.info("mqtt.malformed", reason=error.reason, detail=error.detail)
            else:
                metrics.MQTT_MESSAGES.labels("stored").inc()
        try:
            await self._series.write(found)
        except BaseException:
            self._track.discard()  # not acknowledged either: the broker brings these messages again
            raise
        for seen, count in self._track.keep().items():
            metrics.READINGS.labels("mqtt", seen.value).inc(count)
        metrics.SAMPLES.labels(MEASUREMENT).inc(len(found))


def _end_if_cancelled(error: Exception) -> None:
    """The goodbye of a client that is cancelled may fail, and its error then hides the cancellation."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _connect_properties(settings: MqttSettings) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = settings.session_expiry_s
    properties.ReceiveMaximum = settings.in_flight
    properties.MaximumPacketSize = _LARGEST_PACKET
    return properties

"""A fleet of customers' equipment that reports over MQTT 5, QoS 1: `headend/cpe/<serial>/telemetry`.

    {"at": …, "uptime_s": …, "wan_upstream_octets": …, "wan_downstream_octets": …, "wifi_clients": …, "rx_power_dbm": …}

Totals count since the CPE started. Traffic comes from `carry`, which the simulated network calls; the rest is drawn
from the serial number, so that the same world reports the same. One connection carries the whole fleet.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import aiomqtt

TOPIC = "headend/cpe/{serial}/telemetry"
_RETRY_S = 5.0


@dataclass(slots=True)
class Cpe:
    """One router with its optical end. `started_at` is its boot."""

    serial: str
    started_at: datetime
    upstream_octets: int = 0
    downstream_octets: int = 0
    clients: int = 0
    rx_power_dbm: float = -19.0
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random = random.Random(self.serial)
        self.clients = self._random.randint(1, 12)
        self.rx_power_dbm = round(self._random.gauss(-19.5, 2.0), 1)

    def carry(self, upstream_octets: int, downstream_octets: int) -> None:
        self.upstream_octets += upstream_octets
        self.downstream_octets += downstream_octets

    def reboot(self, now: datetime) -> None:
        self.started_at = now
        self.upstream_octets = self.downstream_octets = 0

    def report(self, now: datetime) -> bytes:
        """The telemetry message for `now`; clients come and go, the light wavers."""
        self.clients = min(max(self.clients + self._random.choice((-1, 0, 0, 0, 1)), 0), 40)
        said = {
            "at": now.astimezone(UTC).isoformat(),
            "uptime_s": max(int((now - self.started_at).total_seconds()), 0),
            "wan_upstream_octets": self.upstream_octets,
            "wan_downstream_octets": self.downstream_octets,
            "wifi_clients": self.clients,
            "rx_power_dbm": round(self.rx_power_dbm + self._random.gauss(0, 0.1), 2),
        }
        return json.dumps(said).encode()


class CpeFleet:
    """Publishes every `interval_s`, spread evenly over it. `before` is called before each round: it moves traffic."""

    def __init__(
        self,
        serials: Iterable[str],
        *,
        host: str,
        port: int,
        username: str | None = None,
        password: str | None = None,
        interval_s: float = 30.0,
        before: Callable[[CpeFleet], None] | None = None,
    ) -> None:
        booted = datetime.now(UTC)
        self.cpes = {
            serial: Cpe(serial, booted - timedelta(seconds=random.Random(serial).randint(600, 30 * 86_400)))
            for serial in serials
        }
        self.published = 0
        self.problem: str | None = None
        self._host, self._port = host, port
        self._username, self._password = username, password
        self._interval_s = interval_s
        self._before = before

    async def run(self) -> None:
        """Publish until cancelled; a broker that is gone is waited for."""
        while True:
            try:
                async with self._client() as client:
                    self.problem = None
                    while True:
                        await self._round(client)
            except (aiomqtt.MqttError, OSError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():  # the goodbye failed, and hid that we are to end
                    raise asyncio.CancelledError from error
                self.problem = str(error) or type(error).__name__
            await asyncio.sleep(_RETRY_S)

    async def publish_once(self) -> None:
        """Every CPE reports now. Raises aiomqtt.MqttError where the broker refuses."""
        async with self._client() as client:
            for cpe in self.cpes.values():
                await self._publish(client, cpe)

    def _client(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self._host,
            self._port,
            username=self._username,
            password=self._password,
            protocol=aiomqtt.ProtocolVersion.V5,
        )

    async def _round(self, client: aiomqtt.Client) -> None:
        if self._before is not None:
            self._before(self)
        cpes = list(self.cpes.values())
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number, cpe in enumerate(cpes):
            await asyncio.sleep(max(start + self._interval_s * number / len(cpes) - loop.time(), 0))
            await self._publish(client, cpe)
        await asyncio.sleep(max(start + self._interval_s - loop.time(), 0))

    async def _publish(self, client: aiomqtt.Client, cpe: Cpe) -> None:
        await client.publish(TOPIC.format(serial=cpe.serial), cpe.report(datetime.now(UTC)), qos=1)
        self.published += 1

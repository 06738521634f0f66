"""Fair use on a started RADIUS room: a recorder, one subscriber, and a NAS that takes CoA."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from radius.authorization.admission import Admission
from radius.authorization.policy import Policy
from radius.dynamic.model import State
from radius.dynamic.repository import Asked
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    COA_ACK,
    COA_REQUEST,
    DISCONNECT_ACK,
    MIKROTIK,
    MIKROTIK_RATE_LIMIT,
    Attr,
)
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision
from radius.room import RadiusRoom
from radius.vendors.mark import class_value
from tests.support.accounting import accounting
from tests.support.radius import EPHEMERAL, GOLD, SECRET, secret_box
from tests.support.recorder import NOW, SERVICE, RecorderBench

SHARED = SharedSecret(SECRET)
T0 = int(NOW.timestamp())


class Dac(asyncio.DatagramProtocol):
    """The NAS's side of CoA: takes everything, and remembers it."""

    def __init__(self) -> None:
        self.requests: list[Packet] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        packet = Packet.decode(data)
        SHARED.check_request_authenticator(packet)
        self.requests.append(packet)
        code = COA_ACK if packet.code == COA_REQUEST else DISCONNECT_ACK
        self.transport.sendto(SHARED.response(code, packet, b"", signed=False), addr)

    @property
    def rates(self) -> list[bytes | None]:
        return [packet.vendor(MIKROTIK, MIKROTIK_RATE_LIMIT) for packet in self.requests]


class QuotaWorld:
    """A room with a recorder, one subscriber, and a NAS that takes CoA; the clock is moved by the test."""

    def __init__(self, database: Database, directory: Path, dac: Dac) -> None:
        self.database, self.dac = database, dac
        self.bench = RecorderBench(database)
        self.clock = self.bench.clock
        self.room = self.process(directory)

    def process(self, directory: Path) -> RadiusRoom:
        """A process of its own on the same database."""
        return RadiusRoom(
            self.database,
            self.clock,
            secret_box(directory),
            EPHEMERAL,
            recorder=self.bench.recorder,
            sessions=self.bench.sessions,
        )

    async def begin(self, port: int) -> None:
        await self.room.follower.load()
        row = await self.room.nas.register(
            name="bras", address="127.0.0.1", secret=Secret(SECRET.decode()), vendor="mikrotik", coa_port=port,
            actor="user:test",
        )  # fmt: skip
        found = await self.room.follower.nas(row.nas_id)
        assert found is not None
        self.nas: Nas = found
        await self.put_login()

    async def put_login(self) -> None:
        await self.room.subscribers.put_subscriber(
            service_id=ServiceId(SERVICE),
            username="anna",
            password=Secret("hunter2"),
            profile=GOLD,
            framed_ipv4=None,
            enabled=True,
            actor="user:test",
        )

    async def account(
        self, kind: str, down: int = 0, *, at: int = 0, session: bytes = b"0001", profile: SpeedProfile = GOLD
    ) -> None:
        more = attribute(Attr.CLASS, class_value(SERVICE, profile.name))
        await self.bench.send(
            accounting(kind, session, at=T0 + at, seconds=at, down=down, up=0, more=more), nas=self.nas
        )
        await self.room.quota_counter.catch_up()

    async def pursue(self) -> None:
        """Let what is wanted of sessions be sent, and looked at."""
        while await self.room.sessions.changes.work():
            pass

    async def login(self, room: RadiusRoom | None = None) -> Decision:
        directory = (room or self.room).directory
        policy = Policy(directory, Admission(self.clock, EPHEMERAL.entity_zone, self.bench.sessions))
        body = attribute(1, b"anna") + attribute(2, SHARED.hide(b"hunter2", bytes(16)))
        decision = policy.decide(Packet.decode(SHARED.access_request(1, bytes(16), body)), self.nas)
        assert isinstance(decision, Decision)
        return decision

    async def rate_of_login(self) -> bytes | None:
        decision = await self.login()
        assert decision.code == ACCESS_ACCEPT, decision.reason
        reply = SHARED.response(ACCESS_ACCEPT, self._request(), decision.attributes, signed=False)
        return Packet.decode(reply).vendor(MIKROTIK, MIKROTIK_RATE_LIMIT)

    @staticmethod
    def _request() -> Packet:
        return Packet.decode(SHARED.access_request(1, bytes(16), attribute(1, b"anna")))

    async def used(self) -> int:
        return (await self.room.quota.show(SERVICE)).counted_octets

    async def states(self) -> list[State]:
        return [c.state for c in await self.room.sessions.changes.page(Asked(), before=None, limit=50)]


@asynccontextmanager
async def quota_world(database: Database, directory: Path) -> AsyncIterator[QuotaWorld]:
    dac, opened = Dac(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: dac, sock=opened)
    made = QuotaWorld(database, directory, dac)
    try:
        await made.begin(opened.getsockname()[1])
        yield made
    finally:
        dac.transport.close()
        await made.bench.stop()

"""A RADIUS room on ephemeral ports of 127.0.0.1, with fakes of the ports that accounting implements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from controller.domain.clock import SystemClock
from controller.domain.errors import PeerError
from controller.domain.identity import NasId, ServiceId
from controller.domain.ports import Secret
from controller.domain.service import SpeedProfile
from controller.store.engine import Database
from controller.store.secrets import SecretBox, load_or_create
from controller.store.usage_log import UsageLog
from radius.accounting.recorder import AccountingRecorder
from radius.accounting.views import SessionRepository
from radius.authorization.admission import Admission
from radius.authorization.directory import Directory, SubscriberRow
from radius.authorization.eap.methods import methods
from radius.authorization.line import Line
from radius.authorization.policy import Policy
from radius.ports import LiveSession, Occupied
from radius.protocol.authenticator import SharedSecret
from radius.protocol.duplicates import Duplicates, InFlight
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import AccountingServer, AuthenticationServer
from radius.room import RadiusRoom
from radius.settings import RadiusSettings

SECRET = b"testing123"
SOURCE = ("127.0.0.1", 40_000)
GOLD = SpeedProfile("gold-100", 100_000_000, 20_000_000)
SERVICE = ServiceId("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b")

EPHEMERAL = RadiusSettings(auth_port=0, acct_port=0, coa_first_timeout_s=0.05, coa_tries=3)


def nas(secret: bytes = SECRET, **changes: object) -> Nas:
    """A NAS at 127.0.0.1 of vendor mikrotik."""
    made = Nas(NasId("n" * 32), "bras", "127.0.0.1", SharedSecret(secret), vendor="mikrotik")
    return replace(made, **changes)


def directory(*rows: SubscriberRow) -> Directory:
    made = Directory()
    for row in rows:
        made.apply(row)
    return made


def subscriber(username: str = "anna", password: str = "hunter2", **changes: object) -> SubscriberRow:
    """A row as the directory takes it: enabled, gold-100, with a fixed address."""
    made = SubscriberRow(username, SERVICE, password, GOLD, "100.64.0.7", True, False, 1)
    return made._replace(**changes)


def authentication_server(
    known: Nas,
    *rows: SubscriberRow,
    eap_methods: tuple[str, ...] = ("mschapv2", "md5"),
    lines: tuple[Line, ...] = (),
) -> AuthenticationServer:
    """`lines` are those of anna."""
    admission = Admission(SystemClock(), ZoneInfo("UTC"), FakeSessions())
    logins = directory(*rows)
    for line in lines:
        logins.apply_line(line, "anna")
    policy = Policy(logins, admission, methods(eap_methods, logins.find), now_s=lambda: 0.0)
    return AuthenticationServer({known.address: known}, policy.decide, Duplicates())


def accounting_server(known: Nas) -> AccountingServer:
    return AccountingServer({known.address: known}, InFlight())


@dataclass
class FakeRecorder:
    """Keeps what was submitted; `at_once` responds immediately, else the test calls `respond_all`.

    The first `refusals` packets are refused, as a full queue does.
    """

    at_once: bool = True
    refusals: int = 0
    can_commit: bool = True
    packets: list[Packet] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        if self.refusals:
            self.refusals -= 1
            raise PeerError("overload", "the queue is full")
        self.packets.append(packet)
        if self.at_once:
            respond()
        else:
            self.waiting.append(respond)

    def prove(self, respond: Callable[[], None]) -> None:
        if self.can_commit:
            respond()

    def respond_all(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


@dataclass
class FakeSessions:
    """The session table as a dict."""

    live: dict[str, LiveSession] = field(default_factory=dict)
    counted: list[Occupied] = field(default_factory=list)

    async def live_session(self, session_key: str) -> LiveSession | None:
        return self.live.get(session_key)

    async def live_sessions_of(self, service_id: str) -> list[LiveSession]:
        return [session for session in self.live.values() if session.service_id == service_id]

    async def occupied(self, service_id: str) -> list[Occupied]:
        return self.counted


def secret_box(directory: Path) -> SecretBox:
    return load_or_create(directory / "headend.key")


@dataclass
class RunningRoom:
    room: RadiusRoom
    recorder: FakeRecorder
    sessions: FakeSessions


@asynccontextmanager
async def running_room(
    database: Database, directory: Path, settings: RadiusSettings = EPHEMERAL
) -> AsyncIterator[RunningRoom]:
    """A started room with NAS 127.0.0.1 ("testing123", mikrotik) and subscriber anna / hunter2."""
    recorder, sessions = FakeRecorder(), FakeSessions()
    room = RadiusRoom(database, SystemClock(), secret_box(directory), settings, recorder=recorder, sessions=sessions)
    await room.start()
    try:
        await register(room, address="127.0.0.1", vendor="mikrotik")
        yield RunningRoom(room, recorder, sessions)
    finally:
        room.close()


@dataclass
class RecordingRoom:
    room: RadiusRoom
    sessions: SessionRepository


@asynccontextmanager
async def recording_room(
    database: Database, directory: Path, settings: RadiusSettings = EPHEMERAL
) -> AsyncIterator[RecordingRoom]:
    """A started room with the true recorder behind it, and nobody registered yet."""
    log, sessions = UsageLog(database, "radius-1"), SessionRepository(database)
    recorder = AccountingRecorder(database, SystemClock(), log, {b"anna": str(SERVICE)}.get)
    room = RadiusRoom(database, SystemClock(), secret_box(directory), settings, recorder=recorder, sessions=sessions)
    recorder.on_turned = room.leases.turned
    await room.start()
    recording = asyncio.create_task(recorder.run())
    try:
        yield RecordingRoom(room, sessions)
    finally:
        room.close()
        recording.cancel()
        await asyncio.wait([recording])
        await log.close()


async def register(room: RadiusRoom, **changes: Any) -> None:
    """A NAS with the secret "testing123", and subscriber anna / hunter2 with gold-100."""
    await room.nas.register(**{"name": "bras", "secret": Secret(SECRET.decode()), "actor": "user:test"} | changes)
    await room.subscribers.put_subscriber(
        service_id=SERVICE,
        username="anna",
        password=Secret("hunter2"),
        profile=GOLD,
        framed_ipv4="100.64.0.7",
        enabled=True,
        actor="user:test",
    )


async def put_login(room: RadiusRoom, name: str, service_id: ServiceId) -> None:
    """A subscriber with gold-100 and the password "hunter2", without an address of its own."""
    await room.subscribers.put_subscriber(
        service_id=service_id, username=name, password=Secret("hunter2"), profile=GOLD, framed_ipv4=None, enabled=True,
        actor="user:test",
    )  # fmt: skip

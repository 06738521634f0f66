"""A policy before one subscriber, with a session table and a clock that the test moves; and logins to try on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from radius.authorization.admission import Admission
from radius.authorization.directory import Directory, SubscriberRow
from radius.authorization.plan import Defaults
from radius.authorization.policy import Policy
from radius.ports import Accepts
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import Attr
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from tests.support.radius import SECRET, FakeSessions, nas

SHARED = SharedSecret(SECRET)
BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # a Friday, 13:00 in Berlin


class StoppedClock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


def login(more: bytes = b"", mac: str | None = None) -> Packet:
    body = attribute(Attr.USER_NAME, b"anna") + attribute(Attr.USER_PASSWORD, SHARED.hide(b"hunter2", bytes(16)))
    body += b"" if mac is None else attribute(Attr.CALLING_STATION_ID, mac.encode())
    return Packet.decode(SHARED.access_request(1, bytes(16), body + more))


def login_as(name: bytes) -> Packet:
    body = attribute(Attr.USER_NAME, name) + attribute(Attr.USER_PASSWORD, SHARED.hide(b"hunter2", bytes(16)))
    return Packet.decode(SHARED.access_request(1, bytes(16), body))


class Door:
    """A policy before one subscriber with terms, a session table, and a clock."""

    def __init__(self, row: SubscriberRow, defaults: Defaults | None = None, *, accepts: Accepts | None = None) -> None:
        self.clock, self.sessions, self.directory = StoppedClock(), FakeSessions(), Directory(defaults)
        self.directory.apply(row)
        self.policy = Policy(self.directory, Admission(self.clock, BERLIN, self.sessions, accepts=accepts))

    async def decide(self, packet: Packet | None = None) -> Decision:
        answer = self.policy.decide(packet or login(), nas())
        return await answer.decide() if isinstance(answer, Deferred) else answer

"""Decisions that must wait: answered once, retransmissions quiet meanwhile, and nothing lost when waiting fails."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from controller.domain.clock import SystemClock
from radius.counters import Counters
from radius.listener import Listener
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_ACCEPT
from radius.protocol.duplicates import Duplicates
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import AuthenticationServer, Decision, Deferred
from radius.settings import RadiusSettings
from tests.support.radius import EPHEMERAL, SECRET, FakeRecorder, accounting_server, nas

SHARED = SharedSecret(SECRET)
ACCEPT = Decision(ACCESS_ACCEPT, attribute(18, b"late but well"), "accept")


@dataclass
class Waiting:
    """Decides when the test says so."""

    asked: int = 0
    outcome: asyncio.Future[Decision] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def decide(self, packet: Packet, nas: Nas) -> Deferred:
        return Deferred(self._later)

    async def _later(self) -> Decision:
        self.asked += 1
        return await asyncio.shield(self.outcome)


@asynccontextmanager
async def serving(
    waiting: Waiting, settings: RadiusSettings = EPHEMERAL
) -> AsyncIterator[tuple[Counters, socket.socket, Callable[[int], None]]]:
    counters, known = Counters(), nas()
    server = AuthenticationServer({known.address: known}, waiting.decide, Duplicates())
    listener = Listener(settings, SystemClock(), server, accounting_server(known), FakeRecorder(), counters)
    await listener.start()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind(("127.0.0.1", 0))

    def ask(identifier: int) -> None:
        body = attribute(1, b"anna") + attribute(2, SHARED.hide(b"hunter2", bytes([identifier]) * 16))
        client.sendto(
            SHARED.access_request(identifier, bytes([identifier]) * 16, body), ("127.0.0.1", listener.auth_port)
        )

    try:
        yield counters, client, ask
    finally:
        listener.close()
        client.close()


async def heard(client: socket.socket) -> Packet:
    return Packet.decode(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), 5))


async def until(counters: Counters, result: str, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while counters.total(result) < count:  # noqa: ASYNC110 - counters are plain ints and announce nothing
            await asyncio.sleep(0.002)


async def test_deferred_request_is_decided_once_and_its_retransmissions_get_the_same_octets() -> None:
    waiting = Waiting()
    async with serving(waiting) as (counters, client, ask):
        ask(1)
        ask(1)
        await until(counters, "in-flight")
        waiting.outcome.set_result(ACCEPT)
        first = await heard(client)
        ask(1)
        again = await heard(client)
    assert first.get(18) == b"late but well"
    assert first.data == again.data
    assert (waiting.asked, counters.total("duplicate"), counters.total("accept")) == (1, 1, 1)


async def test_a_decision_that_fails_leaves_the_request_to_its_retransmission() -> None:
    waiting = Waiting()
    async with serving(waiting) as (counters, client, ask):
        waiting.outcome.set_exception(OSError("the database is away"))
        ask(1)
        await until(counters, "unavailable")
        waiting.outcome = asyncio.get_running_loop().create_future()
        waiting.outcome.set_result(ACCEPT)
        ask(1)
        assert (await heard(client)).code == ACCESS_ACCEPT
    assert waiting.asked == 2


async def test_a_decision_that_takes_too_long_is_given_up() -> None:
    waiting = Waiting()
    async with serving(waiting, replace(EPHEMERAL, deferred_timeout_s=0.02)) as (counters, _, ask):
        ask(1)
        await until(counters, "unavailable")
        assert (waiting.asked, counters.total("accept"), counters.total("reject")) == (1, 0, 0)


async def test_more_decisions_than_the_limit_are_dropped_and_counted() -> None:
    waiting = Waiting()
    async with serving(waiting, replace(EPHEMERAL, deferred_limit=1)) as (counters, client, ask):
        ask(1)
        ask(2)
        await until(counters, "overload")
        waiting.outcome.set_result(ACCEPT)
        assert (await heard(client)).identifier == 1
        ask(2)
        assert (await heard(client)).identifier == 2

"""Realms and home servers: which one is asked, what it is told, what becomes of its answer, and their API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.domain.clock import MovableClock
from controller.domain.errors import NotFound, PeerError, RuleError
from controller.domain.ports import Secret
from controller.store.engine import Database
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCESS_REQUEST,
    ACCOUNTING_REQUEST,
    ACCOUNTING_RESPONSE,
    STATUS_SERVER,
)
from radius.protocol.hidden import Attributes
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from radius.proxy.model import MIRROR, PROXY, Health, HomeServer, Route, Routes, loop_of, order
from radius.proxy.pools import Pools
from radius.proxy.repository import kinds
from radius.proxy.router import Forwarding, Router
from radius.proxy.routes import endpoints
from radius.proxy.service import ProxyService
from radius.proxy.settings import PoolSettings
from radius.proxy.upstream import Reply, UdpUpstream
from tests.support.api import api_client
from tests.support.proxy import CLEAR, HERE, MARK, MPPE, NOW, home, request
from tests.support.radius import FakeRecorder, nas, secret_box

# --- whose realm, which server ---


def test_the_most_exact_realm_wins() -> None:
    routes = Routes(
        [Route("isp-b.example", "b"), Route("*.isp-b.example", "sub"), Route("*", "rest"), Route("ours.example", "")]
    )
    found = {
        name: route.pool if (route := routes.find(name.encode())) else None
        for name in ("x@isp-b.example", "x@DSL.ISP-B.example", "x@a@isp-c.example", "anna", "x@ours.example")
    }
    assert found == {
        "x@isp-b.example": "b", "x@DSL.ISP-B.example": "sub", "x@a@isp-c.example": "rest", "anna": None,
        "x@ours.example": None,
    }  # fmt: skip


def test_filters_hold_back_what_they_name_and_a_name_can_be_stripped() -> None:
    route = Route("r", "b", strips=True, request_drops=kinds(["Calling-Station-Id"]), reply_allows=kinds(["Class"]))
    assert route.request([(1, b"bob@r"), (31, b"aa")]) == [(1, b"bob")]
    vendor = (26, MPPE + b"\x10\x03x")
    kept = route.reply([(25, b"c"), (8, bytes(4)), (24, b"state"), (79, b"eap"), (33, b"ours"), vendor])
    assert kept == [(25, b"c"), (24, b"state"), (79, b"eap")]


def test_a_server_dies_of_silence_and_comes_back_with_an_answer_or_with_time() -> None:
    health = Health(limit=3, revive_s=60)
    assert [health.silence(0), health.answer(), health.silence(1), health.silence(2), health.silence(3)] == [
        False, False, False, False, True,
    ]  # fmt: skip
    assert not health.is_alive
    assert not health.revive(50)
    assert health.revive(63)
    assert health.silence(64), "one more silence is enough now"
    assert health.answer()


def test_priority_first_then_shares_that_stay_with_their_users() -> None:
    servers = [(home(f"s{number}", balanced=True), Health(limit=1)) for number in range(3)]
    servers.append((home("spare", priority=9), Health()))
    users = [b"user-%d" % number for number in range(300)]
    first = {user: order(servers, user)[0].name for user in users}
    assert set(first.values()) == {"s0", "s1", "s2"}
    assert all(order(servers, user)[-1].name == "spare" for user in users)
    servers[0][1].silence(0)
    moved = {user for user in users if order(servers, user)[0].name != first[user]}
    assert moved == {user for user in users if first[user] == "s0"}, "only the dead one's users move"


def test_rfc2607_a_request_that_was_here_or_went_through_too_many_is_a_loop() -> None:
    assert loop_of(request([(33, b"other")]), MARK) is None
    assert "before" in (loop_of(request([(33, b"other"), (33, MARK + b"abcd")]), MARK) or "")
    assert "9 proxies" in (loop_of(request([(33, bytes([n])) for n in range(9)]), MARK) or "")


# --- the router ---


class FakePools:
    """Answers with `reply`, and keeps what it was asked."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[tuple[str, int, Attributes]] = []

    async def ask(
        self, pool: str, code: int, attributes: Attributes, key: bytes, *, budget_s: float
    ) -> tuple[Reply, str]:
        self.asked.append((pool, code, attributes))
        return self.reply, "home-1"


def local(_packet: Packet, _nas: object) -> Decision:
    return Decision(ACCESS_ACCEPT, b"", "accept")


def routed(pools: FakePools, *routes: Route) -> Router:
    made = Router(local, pools, MARK)
    made.routes = Routes(routes)
    return made


async def test_a_reject_of_the_home_server_is_told_with_its_name() -> None:
    pools = FakePools(Reply(ACCESS_REJECT, [(18, b"no")]))
    answer = routed(pools, Route("isp-b.example", "b")).decide(request(CLEAR), nas(HERE.value))
    assert isinstance(answer, Deferred)
    decision = await answer.decide()
    assert (decision.code, decision.result) == (ACCESS_REJECT, "reject")
    assert "home-1" in decision.reason
    [(pool, code, attributes)] = pools.asked
    assert (pool, code, (2, b"sesame") in attributes) == ("b", ACCESS_REQUEST, True)
    assert attributes[-1][1].startswith(MARK)


def test_names_without_a_route_are_decided_here_at_once() -> None:
    router = routed(FakePools(Reply(ACCESS_REJECT, [])), Route("isp-b.example", "b"))
    assert isinstance(router.decide(request([(1, b"anna")]), nas(HERE.value)), Decision)


class HeldQueue:
    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def put(self, route: Route, attributes: Attributes, received_us: int, stored: Callable[[], None]) -> None:
        self.waiting.append(stored)


@pytest.mark.parametrize(("accounting", "recorded"), [(MIRROR, 1), (PROXY, 0)])
def test_accounting_is_answered_only_when_everything_is_stored(accounting: str, recorded: int) -> None:
    router = routed(FakePools(Reply(ACCOUNTING_RESPONSE, [])), Route("r", "b", accounting))
    recorder, queue, answered = FakeRecorder(at_once=False), HeldQueue(), []
    forwarding = Forwarding(recorder, router, queue)
    packet = Packet.decode(
        HERE.request(ACCOUNTING_REQUEST, 1, attribute(1, b"bob@r") + attribute(44, b"s"), signed=False)
    )
    forwarding.submit(packet, nas(HERE.value), 0, lambda: answered.append(1))
    assert len(recorder.packets) == recorded
    recorder.respond_all()
    assert not answered
    queue.waiting.pop()()
    assert answered == [1]


# --- the API ---


def service(database: Database, directory: Path) -> ProxyService:
    pools = Pools(PoolSettings(), lambda: None)
    return ProxyService(database, MovableClock(NOW), secret_box(directory), Router(local, pools, MARK), pools)


async def test_home_servers_and_realms_over_http_and_the_secret_stays_inside(
    database: Database, tmp_path: Path
) -> None:
    proxy = service(database, tmp_path)
    async with api_client(endpoints(proxy)) as client:
        body = {"pool": "b", "host": "192.0.2.1", "secret": "s3cret-of-home"}
        made = await client.put("/home-servers/one", json=body)
        assert made.status_code == 200, made.text
        assert made.json()["state"] == "alive"
        again = await client.put("/home-servers/one", json={"pool": "b", "host": "192.0.2.2"})
        assert again.json()["host"] == "192.0.2.2", "and the secret stayed"
        realm = await client.put("/proxy-realms/ISP-B.example", json={"pool": "b", "reply_allows": ["Class"]})
        assert realm.json()["realm"] == "isp-b.example"
        listed = (await client.get("/home-servers")).text + (await client.get("/proxy-realms")).text
        assert "s3cret" not in listed + made.text + again.text
        assert proxy.health()["one"].server.secret is not None
        assert (await client.get("/proxy-backlog")).json()["items"] == []
        assert (await client.delete("/proxy-realms/isp-b.example")).status_code == 204
        assert (await client.delete("/home-servers/one")).status_code == 204
        assert (await client.delete("/home-servers/one")).status_code == 404
        assert proxy.health() == {}


async def test_what_cannot_be_is_refused_in_words(database: Database, tmp_path: Path) -> None:
    proxy = service(database, tmp_path)
    async with api_client(endpoints(proxy)) as client:
        no_secret = await client.put("/home-servers/one", json={"pool": "b", "host": "192.0.2.1"})
        assert "needs a secret" in no_secret.text
        unknown = await client.put("/proxy-realms/r.example", json={"pool": "b", "request_drops": ["Frammed-MTU"]})
        assert "Framed-MTU" in unknown.text, "the near miss is named"
        assert (await client.put("/proxy-realms/a@b", json={"pool": "b"})).status_code in (409, 422)
    with pytest.raises(NotFound):
        await proxy.drop_realm("none", actor="test")
    with pytest.raises(RuleError):
        await proxy.put_realm("r", {"pool": "b", "accounting": "lost", "strips": False, "request_drops": [],
                                    "reply_allows": None}, actor="test")  # fmt: skip


class Says:
    """An Upstream that always says the same."""

    def __init__(self, what: Reply | Exception) -> None:
        self._what = what

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what

    def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("first", "lives"),
    [
        (Reply(52, [(101, (506).to_bytes(4, "big"))]), True),
        (PeerError("overload", "full"), True),
        (TimeoutError("silent"), False),
        (ConnectionRefusedError("nobody"), False),
    ],
)
async def test_who_cannot_answer_is_followed_by_the_next_and_dead_is_only_who_is_silent(
    first: Reply | Exception, lives: bool
) -> None:
    pools = Pools(PoolSettings(dead_after=1), lambda: None)
    names = ("isp-b-1", "isp-b-2")
    pools.replace(
        [HomeServer(name, "isp-b", "udp", "192.0.2.1", 1, 2, Secret("x"), priority=n) for n, name in enumerate(names)]
    )
    for member, upstream in zip(pools.members, (Says(first), Says(Reply(ACCESS_ACCEPT, []))), strict=True):
        member.upstream = upstream
    shown: list[tuple[str, str]] = []
    pools.tap = lambda server, code, sent, reply, problem: shown.append((server.name, problem))
    reply, who = await pools.ask("isp-b", ACCESS_REQUEST, [], b"", budget_s=5)
    assert (reply.code, who) == (ACCESS_ACCEPT, "isp-b-2")
    assert pools.members[0].health.is_alive == lives
    assert [name for name, _ in shown] == list(names)


async def test_a_burst_to_a_home_server_shares_sockets_of_256_identifiers_each() -> None:
    sources: set[int] = set()

    class Mute(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            sources.add(addr[1])

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Mute, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    upstream = UdpUpstream("127.0.0.1", port, port, SharedSecret(b"home"), strict=False)
    asked = [upstream.ask(STATUS_SERVER, [], 0.3) for _ in range(400)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {TimeoutError}
    assert len(sources) == 2
    upstream.close()
    transport.close()

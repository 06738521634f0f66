"""Realms, home servers and the mirror: choosing, recoding, filters, loops, and a queue that loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from controller.domain.clock import MovableClock
from controller.domain.errors import NotFound, PeerError, RuleError
from controller.domain.ports import Secret
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.protocol import version11
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCESS_REQUEST,
    ACCOUNTING_REQUEST,
    ACCOUNTING_RESPONSE,
    STATUS_SERVER,
    Attr,
)
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.outstanding import Identifiers
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from radius.protocol.stream import Frames
from radius.proxy import repository as proxy_rows
from radius.proxy.mirror import SET_ASIDE, Mirror, MirrorSettings
from radius.proxy.model import MIRROR, PROXY, Health, HomeServer, Route, Routes, loop_of, order
from radius.proxy.pools import Pools
from radius.proxy.repository import kinds
from radius.proxy.router import Forwarding, Router
from radius.proxy.routes import endpoints
from radius.proxy.service import ProxyService
from radius.proxy.settings import PoolSettings
from radius.proxy.upstream import Reply, Sealed, UdpUpstream
from tests.support.api import api_client
from tests.support.radius import FakeRecorder, nas, secret_box

MARK = b"he12345678"
HERE, THERE = SharedSecret(b"of the NAS"), SharedSecret(b"of the home server")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MPPE = (311).to_bytes(4, "big")
CLEAR: Attributes = [
    (1, b"bob@isp-b.example"),
    (2, b"sesame"),
    (69, b"\x01a tunnel's secret"),
    (26, MPPE + b"\x10\x22" + b"s" * 32),
    (26, MPPE + b"\x0c\x22" + b"k" * 24 + bytes(8)),
    (24, b"state"),
]


def home(name: str, **values: object) -> HomeServer:
    return HomeServer(**({"name": name, "pool": "b", "transport": "udp", "host": "127.0.0.1", "auth_port": 1,
                          "acct_port": 2, "secret": Secret("s")} | values))  # type: ignore[arg-type]  # fmt: skip


def request(attributes: Attributes, secret: SharedSecret = HERE) -> Packet:
    authenticator = b"a" * 16
    return Packet.decode(secret.access_request(1, authenticator, covered(attributes, secret, authenticator)))


# --- between two hops ---


def test_what_one_secret_hides_is_hidden_by_the_other_and_reads_the_same() -> None:
    first = request(CLEAR)
    between = opened(first, HERE, first.authenticator)
    assert between == CLEAR
    body = covered(between, THERE, b"b" * 16)
    second = Packet.decode(THERE.access_request(1, b"b" * 16, body))
    assert opened(second, THERE, b"b" * 16) == CLEAR
    assert b"sesame" not in body
    assert b"tunnel's" not in body


def test_rfc2865_2_2_a_chap_challenge_that_was_the_authenticator_goes_along() -> None:
    packet = request([(1, b"bob"), (3, bytes(17))])
    assert (int(Attr.CHAP_CHALLENGE), b"a" * 16) in opened(packet, HERE, packet.authenticator)


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=253)), max_size=8))
def test_odd_attributes_are_refused_or_pass_but_never_raise_anything_else(attributes: Attributes) -> None:
    body = b"".join(attribute(kind, value) for kind, value in attributes)
    packet = Packet.decode(HERE.access_request(1, b"a" * 16, body))
    try:
        covered(opened(packet, HERE, packet.authenticator), THERE, b"b" * 16)
    except PeerError:
        return


@given(st.lists(st.binary(min_size=1, max_size=300)))
def test_a_stream_of_anything_ends_in_packets_or_a_peer_error(chunks: list[bytes]) -> None:
    frames = Frames()
    try:
        for chunk in chunks:
            for frame in frames.feed(chunk):
                version11.to_classic(*version11.decode(frame))
    except PeerError:
        return


@given(st.integers(1, 40))
def test_packets_come_out_of_a_stream_however_it_is_cut(size: int) -> None:
    sent = [version11.encode(ACCESS_REQUEST, bytes([number] * 4), CLEAR) for number in range(5)]
    frames, stream, found = Frames(), b"".join(sent), []
    for start in range(0, len(stream), size):
        found += frames.feed(stream[start : start + size])
    assert found == sent


def test_rfc9765_nothing_is_hidden_and_no_message_authenticator_survives() -> None:
    frame = version11.encode(ACCESS_REQUEST, b"toke", [*CLEAR, (int(Attr.MESSAGE_AUTHENTICATOR), bytes(16))])
    assert b"sesame" in frame
    assert (frame[1], frame[4:8], frame[8:20]) == (0, b"toke", bytes(12))
    asked, token = version11.decode(frame)
    packet = Packet.decode(version11.to_classic(asked, token))
    assert version11.INNER.check_message_authenticator(packet)
    assert token == b"toke"
    assert opened(packet, version11.INNER, packet.authenticator) == CLEAR
    reply = version11.INNER.response(ACCESS_ACCEPT, packet, attribute(24, b"s"), signed=True)
    answer, back = version11.decode(version11.from_classic(reply, token, packet.authenticator))
    assert (answer.code, back, version11.plain(answer)) == (ACCESS_ACCEPT, b"toke", [(24, b"s")])
    assert int(Attr.MESSAGE_AUTHENTICATOR) not in answer.offsets


def test_rfc9765_5_1_values_are_carried_as_they_are_without_salt_length_or_padding() -> None:
    keys = (311).to_bytes(4, "big") + bytes((17, 34)) + bytes(range(32))
    accept = HERE.response(
        ACCESS_ACCEPT, request([]), covered([(69, b"\x02word"), (26, keys)], HERE, bytes(16)), signed=True
    )
    plain_reply = opened(Packet.decode(accept), HERE, bytes(16))
    answer = Packet.decode(version11.encode(ACCESS_ACCEPT, b"toke", plain_reply))
    assert list(answer.attributes()) == [(69, b"\x02word"), (26, keys)], "the tag stays, Salt and Data-Length do not"


def test_rfc9765_5_1_1_a_password_has_at_least_one_octet_and_an_empty_one_stays_empty() -> None:
    frame = version11.encode(ACCESS_REQUEST, b"toke", [(2, b"")])
    assert frame[20:] == b"\x02\x03\x00"
    packet = Packet.decode(version11.to_classic(*version11.decode(frame)))
    assert opened(packet, version11.INNER, packet.authenticator) == [(2, b"")]


def test_rfc9765_5_5_original_packet_code_is_left_out_and_other_extended_attributes_stay() -> None:
    packet, _ = version11.decode(version11.encode(ACCESS_REQUEST, b"toke", [(241, b"\x04code"), (241, b"\x08nas")]))
    assert version11.plain(packet) == [(241, b"\x08nas")]


@pytest.mark.parametrize(
    ("alpn", "tls", "versions", "is_refused"),
    [
        (None, "TLSv1.2", ("radius/1.1", "radius/1.0"), False),
        ("radius/1.1", "TLSv1.3", ("radius/1.1", "radius/1.0"), False),
        ("radius/1.1", "TLSv1.2", ("radius/1.1", "radius/1.0"), True),
        (None, "TLSv1.3", ("radius/1.1",), True),
        ("radius/1.1", "TLSv1.3", ("radius/1.0",), True),
    ],
)
def test_rfc9765_3_what_was_not_negotiated_or_lies_under_tls_1_3_is_not_spoken(
    alpn: str | None, tls: str, versions: tuple[str, ...], is_refused: bool
) -> None:
    assert (version11.refused(alpn, tls, versions) is not None) == is_refused


def test_an_identifier_rests_until_its_late_answer_and_the_oldest_is_used_again_when_all_are_taken() -> None:
    identifiers: Identifiers[int] = Identifiers()
    taken = [identifiers.take() for _ in range(256)]
    for number in taken:
        identifiers.keep(number, number)
    assert sorted(taken) == list(range(256))
    assert not identifiers.has_room
    with pytest.raises(IndexError):
        identifiers.take()
    identifiers.give_up(taken[5])
    identifiers.give_up(taken[3])
    assert (len(identifiers), identifiers.find(taken[5])) == (254, taken[5])
    identifiers.settle(taken[3])
    assert [identifiers.take(), identifiers.take()] == [taken[3], taken[5]], "free ones first, then the oldest"
    assert identifiers.find(taken[5]) is None


def test_an_answer_is_believed_only_under_its_request_and_secret() -> None:
    sealed = Sealed.make(ACCESS_REQUEST, 7, CLEAR, THERE, strict=True)
    asked = Packet.decode(sealed.datagram)
    body = covered([(24, b"s")], THERE, asked.authenticator)
    assert sealed.read(THERE.response(ACCESS_ACCEPT, asked, body, signed=True)) == Reply(ACCESS_ACCEPT, [(24, b"s")])
    for forged in (
        HERE.response(ACCESS_ACCEPT, asked, body, signed=True),
        THERE.response(ACCESS_ACCEPT, asked, body, signed=False),
        THERE.response(ACCESS_ACCEPT, request(CLEAR), body, signed=True),
    ):
        with pytest.raises(PeerError):
            sealed.read(forged)


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


# --- the mirror ---


class AnsweringUpstream:
    """A home server that takes accounting when `takes`."""

    def __init__(self) -> None:
        self.takes = True
        self.taken: list[Attributes] = []

    async def ask(self, code: int, attributes: Attributes, timeout_s: float) -> Reply:
        if not self.takes:
            raise TimeoutError
        Sealed.make(code, 0, attributes, SharedSecret(b"s3cret-of-home"), strict=False)
        if code != STATUS_SERVER:
            self.taken.append(attributes)
        return Reply(ACCOUNTING_RESPONSE, [])

    def close(self) -> None:
        return


class Queueing:
    """A mirror on a database, with one home server behind it."""

    def __init__(self, database: Database) -> None:
        self.clock = MovableClock(NOW)
        self.upstream = AnsweringUpstream()
        self.pools = Pools(PoolSettings(dead_after=100), lambda: None)
        self.pools.replace([home("one")])
        self.pools.of("b")[0].upstream = self.upstream
        self.mirror = Mirror(database, self.clock, self.pools, lambda: (33, MARK), MirrorSettings(first_retry_s=2))
        self.stored: list[int] = []

    def put(self, number: int, session: bytes = b"s", more: Attributes | None = None) -> None:
        attributes = [(44, session), (46, number.to_bytes(4, "big")), *(more or [])]
        route = Route("r", "b")
        self.mirror.put(route, attributes, to_micros(self.clock.now()), lambda: self.stored.append(number))

    def numbers(self) -> list[int]:
        return [int.from_bytes(dict(attributes)[46], "big") for attributes in self.upstream.taken]


async def test_records_are_acknowledged_when_stored_and_sent_in_the_order_of_their_session(database: Database) -> None:
    site = Queueing(database)
    for number in range(20):
        site.put(number)
    assert site.stored == []
    await site.mirror.store()
    assert site.stored == list(range(20))
    assert await site.mirror.send() == 20
    assert site.numbers() == list(range(20))
    assert await site.mirror.send() == 0


async def test_a_retransmission_is_one_row(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    await site.mirror.store()
    site.put(1)
    await site.mirror.store()
    assert site.stored == [1, 1]
    assert await site.mirror.send() == 1


async def test_what_is_not_taken_is_tried_later_and_says_how_late_it_is(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    await site.mirror.store()
    site.upstream.takes = False
    assert await site.mirror.send() == 1
    assert await site.mirror.send() == 0, "not due yet"
    site.upstream.takes = True
    site.clock.move_to(NOW + timedelta(seconds=60))
    assert await site.mirror.send() == 1
    assert (41, (60).to_bytes(4, "big")) in site.upstream.taken[0]
    assert (33, MARK) in site.upstream.taken[0]


async def test_a_record_that_fits_into_no_packet_is_set_aside_and_later_ones_go_on(database: Database) -> None:
    site = Queueing(database)
    site.put(1)
    site.put(2, more=[(18, bytes(253))] * 15 + [(18, bytes(233))])
    site.put(3)
    await site.mirror.store()
    set_aside = SET_ASIDE.labels("r")._value.get()
    with capture_logs() as said:
        assert await site.mirror.send() == 3
        assert site.numbers() == [1, 3], "our Proxy-State has no room beside the second"
        site.clock.move_to(NOW + timedelta(days=30))
        assert await site.mirror.send() == 0
    assert [line["event"] for line in said] == ["radius.mirror.cannot-be-sent"]
    assert SET_ASIDE.labels("r")._value.get() - set_aside == 1
    async with database.read() as conn:
        assert (await proxy_rows.backlog(conn), await proxy_rows.aside(conn)) == ({}, {"b": 1})


async def test_rows_of_a_killed_process_go_on_with_another(database: Database) -> None:
    one = Queueing(database)
    one.put(1)
    await one.mirror.store()
    one.upstream.takes = False
    sending = asyncio.create_task(one.mirror.send())
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    two = Queueing(database)
    two.clock.move_to(NOW + timedelta(seconds=31))
    assert await two.mirror.send() == 1
    assert two.numbers() == [1]


def test_more_than_can_wait_is_refused() -> None:
    site = Queueing.__new__(Queueing)
    clock = MovableClock(NOW)
    mirror = Mirror(None, clock, Pools(PoolSettings(), lambda: None), lambda: (33, MARK), MirrorSettings(max_pending=1))  # type: ignore[arg-type]
    site.clock, site.mirror, site.stored = clock, mirror, []
    site.put(1)
    with pytest.raises(PeerError, match="overload"):
        site.put(2)


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

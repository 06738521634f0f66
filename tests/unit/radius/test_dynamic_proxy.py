"""RFC 8559 as the visited network: who may ask, which NAS is meant, what is refused, and what goes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.clock import SystemClock
from controller.domain.errors import PeerError
from controller.domain.identity import NasId
from controller.domain.ports import CoaOutcome
from radius.dynamic.port import DynamicPort
from radius.dynamic.proxy import Peer, Refused, answer, routed, verified
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import COA_ACK, COA_NAK, COA_REQUEST, DISCONNECT_ACK, DISCONNECT_REQUEST, Attr
from radius.protocol.nas import Nas
from radius.protocol.operator import named_attributes, operator_nas, operator_realm
from radius.protocol.packet import Packet, attribute, encode_attributes, integer_attribute
from tests.support.radius import nas

SECRET = SharedSecret(b"between the two networks")
PEER = Peer("isp-b", SECRET, lambda username: username.endswith(b"@isp-b.example"))
BRAS, OTHER = nas(nas_id=NasId("b" * 32), name="bras-1"), nas(nas_id=NasId("c" * 32), name="bras-2", address="10.0.0.2")
US = "carrier.example"
USER = attribute(Attr.USER_NAME, b"anna@isp-b.example")
SESSION = attribute(Attr.ACCT_SESSION_ID, b"8000001")


def name_attributes(realm: str, token: bytes) -> bytes:
    return encode_attributes(named_attributes(realm, token))


def stamp(offset_s: int = 0) -> bytes:
    return integer_attribute(Attr.EVENT_TIMESTAMP, int(time.time()) + offset_s)


def request(attributes: bytes, code: int = COA_REQUEST, identifier: int = 7, *, signed: bool = True) -> bytes:
    return SECRET.request(code, identifier, attributes, signed=signed)


def route(attributes: bytes, own_realm: str = US) -> Nas:
    packet = verified(request(attributes), PEER, SystemClock().now())
    return routed(packet, PEER, [BRAS, OTHER], own_realm).nas


def refused(attributes: bytes, own_realm: str = US) -> int:
    with pytest.raises(Refused) as caught:
        route(attributes, own_realm)
    return caught.value.error_cause


def test_the_nas_is_found_by_what_only_we_understand_or_by_its_name_or_address() -> None:
    token = name_attributes(US, BRAS.nas_id.encode())
    assert route(USER + SESSION + stamp() + token) is BRAS
    itself = attribute(Attr.NAS_IDENTIFIER, b"core-rtr-7") + attribute(Attr.NAS_IP_ADDRESS, bytes((172, 16, 0, 1)))
    assert route(USER + stamp() + token + itself) is BRAS
    assert route(USER + stamp() + attribute(Attr.NAS_IDENTIFIER, b"bras-2")) is OTHER
    assert route(USER + stamp() + attribute(Attr.NAS_IP_ADDRESS, bytes((10, 0, 0, 2)))) is OTHER


BRAS_1 = attribute(Attr.NAS_IDENTIFIER, b"bras-1")


@pytest.mark.parametrize(
    ("before", "behind", "error_cause"),
    [
        pytest.param(SESSION, BRAS_1, 402, id="no user"),
        pytest.param(USER, b"", 502, id="no NAS"),
        pytest.param(USER, attribute(Attr.NAS_IDENTIFIER, b"bras-9"), 502, id="unknown NAS"),
        pytest.param(USER, name_attributes("elsewhere.example", BRAS.nas_id.encode()), 502, id="token of another"),
        pytest.param(USER, attribute(126, b"0" + US.encode()) + BRAS_1, 502, id="name of another kind"),
        pytest.param(
            USER,
            name_attributes(US, BRAS.nas_id.encode()) + attribute(Attr.NAS_IDENTIFIER, b"bras-2"),
            403,
            id="two NAS",
        ),
        pytest.param(attribute(1, b"anna@us.example"), BRAS_1, 502, id="not of the home's realm"),
    ],
)
def test_what_cannot_be_routed_is_refused_with_its_error_cause(before: bytes, behind: bytes, error_cause: int) -> None:
    assert refused(before + stamp() + behind) == error_cause


def test_a_request_without_a_time_is_refused_with_its_error_cause() -> None:
    assert refused(USER + SESSION + BRAS_1) == 402


def test_a_network_without_a_name_takes_no_request_for_a_named_one() -> None:
    assert refused(USER + stamp() + name_attributes(US, BRAS.nas_id.encode()), own_realm="") == 502


@pytest.mark.parametrize("offset_s", [-301, 301])
def test_rfc5176_6_3_what_is_not_of_now_is_dropped(offset_s: int) -> None:
    with pytest.raises(PeerError, match="stale"):
        route(USER + stamp(offset_s))


def test_the_nas_is_sent_what_is_meant_for_it_and_nothing_of_the_way() -> None:
    way = (
        stamp()
        + name_attributes(US, BRAS.nas_id.encode())
        + attribute(Attr.PROXY_STATE, b"p")
        + attribute(241, b"\x01x")
    )
    packet = verified(request(USER + SESSION + way), PEER, SystemClock().now())
    assert routed(packet, PEER, [BRAS], US).attributes == USER + SESSION + attribute(241, b"\x01x")


def test_the_home_server_gets_the_error_cause_of_the_nas_and_its_proxy_states_back() -> None:
    packet = Packet.decode(request(USER + attribute(Attr.PROXY_STATE, b"one") + attribute(Attr.PROXY_STATE, b"two")))
    reply = Packet.decode(answer(packet, PEER, CoaOutcome("nak", 503)))
    SECRET.check_response(reply, packet.authenticator)
    assert (reply.code, reply.integer(Attr.ERROR_CAUSE)) == (COA_NAK, 503)
    assert reply.get_all(Attr.PROXY_STATE) == [b"one", b"two"]
    assert Packet.decode(answer(packet, PEER, CoaOutcome("timeout"))).integer(Attr.ERROR_CAUSE) == 505
    assert Packet.decode(answer(packet, PEER, CoaOutcome("ack"))).code == COA_ACK


def test_what_another_secret_signed_is_dropped() -> None:
    for forged in (SharedSecret(b"guess").request(COA_REQUEST, 1, USER, signed=False), request(USER, code=4)):
        with pytest.raises(PeerError):
            verified(forged, PEER, SystemClock().now())
    broken = bytearray(request(USER))
    broken[25] ^= 1
    with pytest.raises(PeerError):
        verified(bytes(broken), PEER, SystemClock().now())


@given(st.lists(st.tuples(st.sampled_from([1, 4, 32, 33, 44, 55, 80, 126, 241]), st.binary(max_size=40)), max_size=8))
def test_no_attributes_whatever_raise_anything_but_a_refusal(attributes: list[tuple[int, bytes]]) -> None:
    body = b"".join(attribute(kind, value) for kind, value in attributes)
    try:
        packet = verified(request(body, signed=False), PEER, SystemClock().now())
        routed(packet, PEER, [BRAS, OTHER], US)
    except (PeerError, Refused):
        return
    assert operator_realm(packet) in (None, US)
    assert operator_nas(packet.attributes()) in (None, BRAS.nas_id.encode(), OTHER.nas_id.encode())


@dataclass
class Client:
    """A CoaClient whose NAS answers when the test lets it."""

    sent: list[tuple[Nas, int, bytes]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        self.sent.append((nas, code, attributes))
        self.asked.set()
        await self.may_answer.wait()
        return CoaOutcome("ack")


class Home(asyncio.DatagramProtocol):
    """A home server's socket."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.answers.put_nowait(data)


@asynccontextmanager
async def visited(client: Client, peers: dict[str, Peer]) -> AsyncIterator[tuple[asyncio.DatagramTransport, Home]]:
    port = DynamicPort(SystemClock(), peers.get, lambda: [BRAS], client, own_realm=US)
    await port.open("127.0.0.1", 0)
    transport, home = await asyncio.get_running_loop().create_datagram_endpoint(
        Home, remote_addr=("127.0.0.1", port.port)
    )
    try:
        yield transport, home
    finally:
        transport.close()
        port.close()


async def test_a_retransmission_is_forwarded_once_and_answered_with_the_same_octets() -> None:
    client = Client()
    async with visited(client, {"127.0.0.1": PEER}) as (transport, home):
        asked = request(USER + stamp() + name_attributes(US, BRAS.nas_id.encode()), DISCONNECT_REQUEST)
        for _ in range(3):
            transport.sendto(asked)
        await asyncio.wait_for(client.asked.wait(), 5)
        client.may_answer.set()
        first = await asyncio.wait_for(home.answers.get(), 5)
        transport.sendto(asked)
        assert await asyncio.wait_for(home.answers.get(), 5) == first
        assert Packet.decode(first).code == DISCONNECT_ACK
        assert [(nas.name, code) for nas, code, _ in client.sent] == [("bras-1", DISCONNECT_REQUEST)]


async def test_a_box_of_a_network_is_found_by_the_identifier_that_its_logins_went_out_with() -> None:
    client, box = Client(), replace(BRAS, nas_id=NasId("e" * 32), address="10.9.0.7", member_of=NasId("f" * 32))
    client.may_answer.set()

    async def find(nas_id: NasId) -> Nas | None:
        return box if nas_id == box.nas_id else None

    port = DynamicPort(SystemClock(), {}.get, lambda: [BRAS], client, find_box=find, own_realm=US)
    for token, code in ((box.nas_id.encode(), COA_ACK), (b"d" * 32, COA_NAK), (b"\xff" * 32, COA_NAK)):
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        port.take(request(USER + stamp() + name_attributes(US, token)), PEER, ("a", 1), answers.put_nowait)
        assert Packet.decode(await asyncio.wait_for(answers.get(), 5)).code == code
    assert [nas for nas, _, _ in client.sent] == [box]


async def test_a_stranger_hears_nothing() -> None:
    client = Client()
    async with visited(client, {"127.0.0.2": PEER}) as (transport, home):
        transport.sendto(request(USER + stamp() + name_attributes(US, BRAS.nas_id.encode())))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(home.answers.get(), 0.2)
        assert client.sent == []


async def test_several_processes_share_its_port_where_they_share_the_others_and_else_a_second_one_is_an_error() -> None:
    shared = [DynamicPort(SystemClock(), {}.get, lambda: [BRAS], Client(), reuse_port=True) for _ in range(2)]
    await shared[0].open("127.0.0.1", 0)
    await shared[1].open("127.0.0.1", shared[0].port)
    alone = DynamicPort(SystemClock(), {}.get, lambda: [BRAS], Client())
    with pytest.raises(OSError, match=f"UDP port {shared[0].port} of 127.0.0.1"):
        await alone.open("127.0.0.1", shared[0].port)
    for port in shared:
        port.close()


async def test_on_every_address_a_home_server_of_ipv4_is_known_by_its_own() -> None:
    client = Client()
    port = DynamicPort(SystemClock(), {"127.0.0.1": PEER}.get, lambda: [BRAS], client, own_realm=US)
    await port.open("::", 0)
    transport, home = await asyncio.get_running_loop().create_datagram_endpoint(
        Home, remote_addr=("127.0.0.1", port.port)
    )
    client.may_answer.set()
    transport.sendto(request(USER + stamp() + name_attributes(US, BRAS.nas_id.encode())))
    assert Packet.decode(await asyncio.wait_for(home.answers.get(), 5)).code == COA_ACK
    transport.close()
    port.close()

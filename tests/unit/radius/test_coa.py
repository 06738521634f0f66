"""CoA and Disconnect against a small NAS of our own: ack, nak, silence, forgery, and what the request carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controller.domain.clock import SystemClock
from controller.domain.errors import NotFound
from controller.domain.identity import NasId
from controller.domain.ports import CoaOutcome
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database
from radius.coa import CoaClient
from radius.ports import LiveSession
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    COA_ACK,
    COA_NAK,
    COA_REQUEST,
    DISCONNECT_ACK,
    DISCONNECT_NAK,
    DISCONNECT_REQUEST,
    Attr,
)
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute, integer_attribute
from radius.sessions import SessionController
from radius.vendors.mark import ServiceMark, class_value, read_class
from tests.support.radius import EPHEMERAL, SECRET, SERVICE, FakeSessions, nas

SHARED = SharedSecret(SECRET)
SILVER = SpeedProfile("silver-50", 50_000_000, 10_000_000)
SEEN_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SESSION = LiveSession("key-1", nas().nas_id, b"8000001/+=\xff", "anna", SERVICE, "100.64.0.7", None, None, None)

Answer = Callable[[Packet], list[bytes]]


class SmallNas(asyncio.DatagramProtocol):
    """Checks the request's authenticator and answers what the test says."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.requests: list[Packet] = []
        self.ports: set[int] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        packet = Packet.decode(data)
        SHARED.check_request_authenticator(packet)
        self.requests.append(packet)
        self.ports.add(addr[1])
        for datagram in self._answer(packet):
            self._transport.sendto(datagram, addr)


@asynccontextmanager
async def small_nas(answer: Answer) -> AsyncIterator[tuple[SmallNas, Nas]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: SmallNas(answer), local_addr=("127.0.0.1", 0))
    try:
        yield protocol, nas(coa_port=transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


def respond(code: int, attributes: bytes = b"", secret: SharedSecret = SHARED) -> Answer:
    return lambda packet: [secret.response(code, packet, attributes, signed=False)]


async def send(answer: Answer, code: int = COA_REQUEST) -> tuple[CoaOutcome, SmallNas]:
    async with small_nas(answer) as (peer, known):
        return await CoaClient(EPHEMERAL, SystemClock()).send(known, code, attribute(44, b"s1")), peer


@pytest.mark.parametrize(("code", "ack"), [(COA_REQUEST, COA_ACK), (DISCONNECT_REQUEST, DISCONNECT_ACK)])
async def test_ack(code: int, ack: int) -> None:
    outcome, peer = await send(respond(ack), code)
    assert outcome == CoaOutcome("ack")
    assert [packet.code for packet in peer.requests] == [code]


@pytest.mark.parametrize(("code", "nak"), [(COA_REQUEST, COA_NAK), (DISCONNECT_REQUEST, DISCONNECT_NAK)])
async def test_nak_tells_its_error_cause(code: int, nak: int) -> None:
    outcome, _ = await send(respond(nak, integer_attribute(Attr.ERROR_CAUSE, 503)), code)
    assert outcome == CoaOutcome("nak", 503, "Session Context Not Found")


async def test_nak_without_error_cause_is_still_a_nak() -> None:
    outcome, _ = await send(respond(COA_NAK))
    assert outcome == CoaOutcome("nak", None, "no Error-Cause given")


async def test_silence_is_a_timeout_after_identical_retransmissions() -> None:
    outcome, peer = await send(lambda packet: [])
    assert outcome.result == "timeout"
    assert len(peer.requests) == EPHEMERAL.coa_tries
    assert len({packet.data for packet in peer.requests}) == 1, "same identifier, same authenticator"


async def test_rfc5176_6_3_every_request_tells_when_it_was_sent() -> None:
    for code, ack in ((COA_REQUEST, COA_ACK), (DISCONNECT_REQUEST, DISCONNECT_ACK)):
        _, peer = await send(respond(ack), code)
        stamp = peer.requests[0].integer(Attr.EVENT_TIMESTAMP)
        assert stamp is not None
        assert abs(stamp - datetime.now(UTC).timestamp()) < 10


async def test_rfc5176_3_4_a_message_authenticator_is_sent_where_the_nas_asks_for_one() -> None:
    for wanted in (False, True):
        async with small_nas(respond(COA_ACK)) as (peer, known):
            client = CoaClient(EPHEMERAL, SystemClock())
            await client.send(replace(known, sign_dynamic_requests=wanted), COA_REQUEST, attribute(44, b"s1"))
        [request] = peer.requests
        assert SHARED.check_message_authenticator(request, bytes(16)) is wanted


async def test_an_answer_with_a_wrong_message_authenticator_is_not_believed() -> None:
    forged = attribute(Attr.MESSAGE_AUTHENTICATOR, bytes(16))
    outcome, _ = await send(respond(COA_ACK, forged))
    assert outcome.result == "timeout"
    signed, _ = await send(lambda packet: [SHARED.response(COA_ACK, packet, b"", signed=True)])
    assert signed.result == "ack"


async def test_an_answer_to_the_second_transmission_counts() -> None:
    heard: list[Packet] = []

    def answer(packet: Packet) -> list[bytes]:
        heard.append(packet)
        return [] if len(heard) == 1 else respond(COA_ACK)(packet)

    outcome, _ = await send(answer)
    assert outcome.result == "ack"


async def test_an_answer_under_another_secret_is_not_believed() -> None:
    outcome, _ = await send(respond(COA_ACK, secret=SharedSecret(b"forged")))
    assert outcome.result == "timeout"
    assert "did not verify" in outcome.detail


async def test_a_forged_nak_does_not_hide_the_true_ack() -> None:
    forged, true = respond(COA_NAK, secret=SharedSecret(b"forged")), respond(COA_ACK)
    outcome, _ = await send(lambda packet: [b"\x2d", *forged(packet), *true(packet)])
    assert outcome.result == "ack"


async def test_the_wrong_kind_of_answer_is_not_believed() -> None:
    outcome, _ = await send(respond(DISCONNECT_ACK))
    assert outcome.result == "timeout"


async def test_a_nas_that_is_not_there_is_a_timeout() -> None:
    async with small_nas(respond(COA_ACK)) as (_, known):
        pass  # its port is closed now
    outcome = await CoaClient(EPHEMERAL, SystemClock()).send(known, COA_REQUEST, b"")
    assert outcome.result == "timeout"


async def test_more_than_256_requests_are_under_way_at_once() -> None:
    everyone = asyncio.Event()
    waiting: list[tuple[Packet, tuple[str, int]]] = []

    class Patient(SmallNas):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            waiting.append((Packet.decode(data), addr))
            if len({port for _, (_, port) in waiting}) == 300:
                for packet, source in waiting:
                    self._transport.sendto(SHARED.response(COA_ACK, packet, b"", signed=False), source)
                everyone.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Patient(lambda packet: []), local_addr=("127.0.0.1", 0))
    client = CoaClient(replace(EPHEMERAL, coa_concurrency=300, coa_first_timeout_s=0.5), SystemClock())
    known = nas(coa_port=transport.get_extra_info("sockname")[1])
    outcomes = await asyncio.gather(*(client.send(known, COA_REQUEST, attribute(44, b"s")) for _ in range(300)))
    transport.close()
    assert everyone.is_set()
    assert {outcome.result for outcome in outcomes} == {"ack"}


async def test_a_nas_with_another_address_and_secret_for_coa_is_asked_there_and_under_that() -> None:
    key = SharedSecret(b"server-key")

    class ServerKey(SmallNas):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            packet = Packet.decode(data)
            key.check_request_authenticator(packet)
            self._transport.sendto(key.response(COA_ACK, packet, b"", signed=False), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: ServerKey(lambda packet: []), local_addr=("127.0.0.2", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    known = nas(coa_port=port, coa_address="127.0.0.2", coa_secret=key)
    outcome = await CoaClient(EPHEMERAL, SystemClock()).send(known, COA_REQUEST, attribute(44, b"s"))
    transport.close()
    assert outcome.result == "ack"


def controller(database: Database, known: Nas, *live: LiveSession) -> SessionController:
    async def find_nas(nas_id: NasId) -> Nas | None:
        return known if nas_id == known.nas_id else None

    client = CoaClient(EPHEMERAL, SystemClock())
    sessions = FakeSessions({session.session_key: session for session in live})
    return SessionController(database, SystemClock(), find_nas, sessions, client, session_timeout_s=86_400)


async def test_speed_change_sends_identity_plan_and_class_and_nothing_else(database: Database) -> None:
    async with small_nas(respond(COA_ACK)) as (peer, known):
        outcome = await controller(database, known, SESSION).change_speed("key-1", SILVER)
    assert outcome.result == "ack"
    [request] = peer.requests
    assert [kind for kind, _ in request.attributes()] == [
        Attr.ACCT_SESSION_ID,
        Attr.VENDOR_SPECIFIC,
        Attr.CLASS,
        Attr.EVENT_TIMESTAMP,
    ]
    assert request.get(Attr.ACCT_SESSION_ID) == b"8000001/+=\xff", "the NAS's id, octet for octet"
    assert request.vendor(14988, 8) == b"10M/50M"
    assert read_class(request.get(Attr.CLASS)) == ServiceMark(SERVICE, "silver-50")


async def test_speed_change_of_an_ended_session_sends_nothing(database: Database) -> None:
    async with small_nas(respond(COA_ACK)) as (peer, known):
        outcome = await controller(database, known).change_speed("key-1", SILVER)
    assert (outcome.result, outcome.error_cause) == ("nak", 503)
    assert peer.requests == []


async def test_ack_alone_is_no_evidence(database: Database) -> None:
    async with small_nas(respond(COA_ACK)) as (_, known):
        control = controller(database, known, SESSION)
        await control.change_speed("key-1", SILVER)
        assert await control.observed_rate("key-1", SEEN_AT) is None


@pytest.mark.parametrize(
    ("last_class", "last_rate", "name", "down"),
    [
        (class_value(SERVICE, "silver-50"), None, "silver-50", None),
        (None, "10M/50M", None, 50_000_000),
        (class_value(SERVICE, "gold-100"), "10M/50M", "gold-100", 50_000_000),
    ],
)
async def test_evidence_is_what_the_next_record_carried(
    database: Database, last_class: bytes | None, last_rate: str | None, name: str | None, down: int | None
) -> None:
    seen = replace(SESSION, last_class=last_class, last_rate=last_rate, evidence_at=SEEN_AT)
    control = controller(database, nas(), seen)
    rate = await control.observed_rate("key-1", SEEN_AT - timedelta(seconds=1))
    assert rate is not None
    assert (rate.profile_name, rate.downstream_bps, rate.observed_at) == (name, down, SEEN_AT)
    assert await control.observed_rate("key-1", SEEN_AT) is None, "seen before the change proves nothing"


@pytest.mark.parametrize("suffices", [True, False])
async def test_whether_class_alone_suffices_is_the_policy_of_the_nas(database: Database, suffices: bool) -> None:
    seen = replace(SESSION, last_class=class_value(SERVICE, "silver-50"), evidence_at=SEEN_AT)
    control = controller(database, nas(class_proves_speed=suffices), seen)
    rate = await control.observed_rate("key-1", SEEN_AT - timedelta(seconds=1))
    assert rate is not None
    assert rate.class_suffices is suffices
    assert rate.source == "Class of an accounting record"


async def test_a_nas_that_knows_users_is_sent_the_user_and_the_timeout_it_insists_on(database: Database) -> None:
    async with small_nas(respond(COA_ACK)) as (peer, known):
        charon = replace(known, vendor="strongswan")
        await controller(database, charon, SESSION).change_speed("key-1", SILVER)
    [request] = peer.requests
    wanted = [Attr.USER_NAME, Attr.SESSION_TIMEOUT, Attr.CLASS, Attr.EVENT_TIMESTAMP]
    assert [kind for kind, _ in request.attributes()] == wanted
    assert (request.get(Attr.USER_NAME), request.integer(Attr.SESSION_TIMEOUT)) == (b"anna", 86_400)


async def test_sessions_of_a_service_are_listed(database: Database) -> None:
    other = replace(SESSION, session_key="key-2", service_id="other")
    assert await controller(database, nas(), SESSION, other).live_sessions(SERVICE) == ["key-1"]


async def test_disconnect_identifies_by_session_id_alone_and_is_audited(database: Database) -> None:
    async with small_nas(respond(DISCONNECT_ACK)) as (peer, known):
        control = controller(database, known, SESSION)
        outcome = await control.disconnect("key-1", actor="user:anna", reason="moved")
    assert outcome.result == "ack"
    assert [kind for kind, _ in peer.requests[0].attributes()] == [Attr.ACCT_SESSION_ID, Attr.EVENT_TIMESTAMP]
    async with database.read() as conn:
        [entry] = await audit.entries(conn, before=None, limit=10)
    assert (entry["action"], entry["object"], entry["reason"]) == ("session.disconnect", "session:key-1", "moved")


async def test_disconnect_of_an_unknown_session_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await controller(database, nas()).disconnect("key-9", actor="user:anna")

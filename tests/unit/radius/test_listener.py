"""The sockets: draining, retransmissions, refusals of the recorder, and what the counters tell."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controller.store.engine import Database
from radius.authorization.eap.outcomes import EapOutcomes
from radius.latency import waited_s
from radius.protocol.authenticator import SharedSecret
from radius.protocol.cause import Cause, cause_of
from radius.protocol.codes import ACCOUNTING_REQUEST, STATUS_SERVER
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred
from tests.support.radius import EPHEMERAL, SECRET, running_room

SHARED = SharedSecret(SECRET)


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """SQLite alone: these tests are about sockets."""
    return sqlite_database


def client_socket() -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind(("127.0.0.1", 0))
    return client


async def receive(client: socket.socket, timeout_s: float = 5) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 4096), timeout_s)


def login(identifier: int) -> bytes:
    authenticator = bytes([identifier]) * 16
    body = attribute(1, b"anna") + attribute(2, SHARED.hide(b"hunter2", authenticator))
    return SHARED.access_request(identifier, authenticator, body)


def record(identifier: int, session: bytes = b"s1") -> bytes:
    body = attribute(44, session) + attribute(40, b"\0\0\0\1")
    return SHARED.request(ACCOUNTING_REQUEST, identifier, body, signed=False)


async def all_is_read(client: socket.socket, port: int) -> None:
    """Datagrams are read in order: when a Status-Server is answered, what was sent before it has been judged."""
    client.sendto(SHARED.signed_request(STATUS_SERVER, 255, bytes(16), b""), ("127.0.0.1", port))
    assert Packet.decode(await receive(client)).identifier == 255


async def test_more_datagrams_than_one_wake_up_takes_are_all_answered(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path, replace(EPHEMERAL, drain_limit=7)) as running:
        client = client_socket()
        for identifier in range(100):
            client.sendto(login(identifier), ("127.0.0.1", running.room.listener.auth_port))
        replies = {Packet.decode(await receive(client)).identifier for _ in range(100)}
        client.close()
        assert replies == set(range(100))
        assert running.room.counters.total("accept") == 100


async def test_retransmitted_record_is_swallowed_in_flight_and_answered_with_the_same_octets_after(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path) as running:
        running.recorder.at_once = False
        client, port = client_socket(), running.room.listener.acct_port
        client.sendto(record(1), ("127.0.0.1", port))
        client.sendto(record(1), ("127.0.0.1", port))
        client.sendto(record(2, b"s2"), ("127.0.0.1", port))
        await all_is_read(client, port)
        assert len(running.recorder.waiting) == 2
        assert running.room.counters.total("in-flight") == 1
        running.recorder.respond_all()
        first, second = await receive(client), await receive(client)
        assert {Packet.decode(first).identifier, Packet.decode(second).identifier} == {1, 2}
        running.recorder.at_once = True
        client.sendto(record(1), ("127.0.0.1", port))
        again = await receive(client)
        client.close()
        assert again in (first, second)


async def test_a_refused_record_is_counted_and_gets_silence(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        running.recorder.refusals = 1
        client, port = client_socket(), running.room.listener.acct_port
        client.sendto(record(1), ("127.0.0.1", port))
        await all_is_read(client, port)
        assert running.room.counters.total("overload") == 1
        client.sendto(record(1), ("127.0.0.1", port))
        assert Packet.decode(await receive(client)).code == 5, "the retransmission is a new one"
        client.close()


async def test_metrics_name_nas_code_and_result(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        registry = CollectorRegistry()
        running.room.register_metrics(registry)
        client = client_socket()
        client.sendto(login(1), ("127.0.0.1", running.room.listener.auth_port))
        await receive(client)
        client.sendto(b"nonsense", ("127.0.0.1", running.room.listener.auth_port))
        await all_is_read(client, running.room.listener.auth_port)
        client.close()
        text = generate_latest(registry).decode()
        assert 'headend_radius_requests_total{code="Access-Request",nas="bras",result="accept"} 1.0' in text
        assert 'headend_radius_requests_total{code="other",nas="bras",result="short"} 1.0' in text
        assert "headend_radius_directory_subscribers 1.0" in text


async def test_a_taken_port_is_named(database: Database, tmp_path: Path) -> None:
    taken = client_socket()
    port = taken.getsockname()[1]
    with pytest.raises(OSError, match=f"UDP port {port} of 127.0.0.1"):
        async with running_room(database, tmp_path, replace(EPHEMERAL, acct_port=port)):
            raise AssertionError("it must not start")
    taken.close()


def wait_until_the_kernel_notes_when_datagrams_come() -> None:
    """It begins to some time after the first socket asked; until then it tells when a datagram was read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        deadline = time.monotonic() + 30
        noted = False
        while not noted:
            assert time.monotonic() < deadline, "the kernel does not note when datagrams come"
            probe.sendto(b"?", probe.getsockname())
            time.sleep(0.01)
            probe.recv(1)
            noted = waited_s(probe) >= 0.01


async def test_a_request_that_lay_unread_for_longer_than_its_nas_waits_is_dropped_and_counted(
    database: Database, tmp_path: Path
) -> None:
    async with running_room(database, tmp_path, replace(EPHEMERAL, unanswerable_after_s=0.2)) as running:
        client, listener = client_socket(), running.room.listener
        client.sendto(login(1), ("127.0.0.1", listener.auth_port))
        assert (await receive(client))[1] == 1
        wait_until_the_kernel_notes_when_datagrams_come()
        client.sendto(login(2), ("127.0.0.1", listener.auth_port))
        client.sendto(login(3), ("127.0.0.1", listener.auth_port))
        time.sleep(0.4)  # noqa: ASYNC251 - the loop is held up, as by a processor that has too much to do
        client.sendto(login(4), ("127.0.0.1", listener.auth_port))
        assert (await receive(client))[1] == 4
        assert running.room.counters.total("stale") == 2


def test_a_cause_alone_reads_like_any_reason() -> None:
    assert [repr(Cause.BOUND), str(Cause.BOUND)] == [
        "'the service is bound elsewhere'",
        "the service is bound elsewhere",
    ]
    told = Cause.BOUND.because("the service is bound to port 'a'")
    assert (repr(told), cause_of(told)) == ("\"the service is bound to port 'a'\"", Cause.BOUND)
    assert cause_of("words of somebody else") is Cause.OTHER


async def test_rejects_are_counted_by_nas_and_reason_and_what_took_how_long(database: Database, tmp_path: Path) -> None:
    async with running_room(database, tmp_path) as running:
        client, counters = client_socket(), running.room.counters
        unknown = SHARED.access_request(9, bytes(16), attribute(1, b"x") + attribute(2, SHARED.hide(b"y", bytes(16))))
        for datagram in (login(1), unknown):
            client.sendto(datagram, ("127.0.0.1", running.room.listener.auth_port))
            await receive(client)
        for number in range(200):
            counters.reject(None, Cause.TOO_MANY.because(f"{number} sessions at once"))
            counters.reject(None, f"words without a cause {number}")
        registry = CollectorRegistry()
        running.room.register_metrics(registry)
        told = generate_latest(registry).decode()
    assert 'headend_radius_rejects_total{nas="bras",reason="unknown user"} 1.0' in told
    assert 'headend_radius_rejects_total{nas="",reason="too many sessions at once"} 200.0' in told
    assert 'headend_radius_rejects_total{nas="",reason="other"} 200.0' in told
    assert "headend_radius_authentication_seconds_count 2.0" in told
    assert 'headend_radius_authentication_seconds_bucket{le="5.0"} 2.0' in told


async def test_eap_conversations_are_counted_by_method(database: Database, tmp_path: Path) -> None:
    outcomes = EapOutcomes()
    md5 = Packet.decode(SHARED.access_request(1, bytes(16), attribute(79, b"\x02\x01\x00\x06\x04\x00")))
    outcomes.counted(Decision(11, b"", "challenge"), md5)
    outcomes.counted(Decision(2, b"", "accept"), md5)

    async def later() -> Decision:
        return Decision(3, b"", "reject", "wrong password")

    deferred = outcomes.counted(Deferred(later), md5)
    assert outcomes.ended == {("md5", "accept"): 1}
    assert isinstance(deferred, Deferred)
    await deferred.decide()
    assert outcomes.ended == {("md5", "accept"): 1, ("md5", "reject"): 1}

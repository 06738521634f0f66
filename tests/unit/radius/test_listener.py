"""The sockets: draining, retransmissions, refusals of the recorder, and what the counters tell."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from controller.store.engine import Database
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCOUNTING_REQUEST, STATUS_SERVER
from radius.protocol.packet import Packet, attribute
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


async def test_retransmitted_record_is_swallowed_in_flight_and_answered_from_memory_after(
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
        client.sendto(record(1), ("127.0.0.1", port))
        again = await receive(client)
        client.close()
        assert again in (first, second)
        assert len(running.recorder.packets) == 2


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

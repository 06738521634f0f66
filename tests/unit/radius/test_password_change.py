"""An expired password is changed by MS-CHAP version 2, by whoever knows the old one, and by nobody else."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import PeerError
from controller.store.engine import Database
from radius.authorization import mschap, password_change
from radius.authorization.mppe import MICROSOFT
from radius.authorization.password import ARGON2, CLEAR, NT
from radius.authorization.password_change import Wish
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.mschap import NtPassword, challenge_hash, encrypted_password, hash_under, new_password, nt_hash
from radius.protocol.packet import Packet, attribute, encode, vendor_attribute
from tests.support.radius import EPHEMERAL, SECRET, SERVICE, RunningRoom, running_room

SHARED = SharedSecret(SECRET)
AUTHENTICATOR = bytes(range(16))
CHALLENGE, PEER, FILLING = b"c" * 16, b"p" * 16, bytes(range(256)) * 2
OLD, NEW = "hunter2", "geheim-Ä7"


def password(text: str) -> NtPassword:
    return NtPassword(nt_hash(text))


def wish(
    new: str = NEW, *, old: str = OLD, proved: str | None = None, pieces: int = 3, shuffled: bool = False
) -> bytes:
    """The attributes of a change; `proved` is the password that the response is made from."""
    answer = password(new if proved is None else proved).response(challenge_hash(PEER, CHALLENGE, b"anna"))
    value = bytes((7, 9)) + hash_under(password(old), password(new)) + PEER + bytes(8) + answer + bytes(2)
    encrypted, size = encrypted_password(new, password(old), FILLING), -(-516 // pieces)
    parts = [
        vendor_attribute(MICROSOFT, 6, bytes((6, 9, 0, number)) + encrypted[start : start + size])
        for number, start in enumerate(range(0, 516, size), 1)
    ]
    head = vendor_attribute(MICROSOFT, 27, value) + vendor_attribute(MICROSOFT, mschap.CHALLENGE, CHALLENGE)
    return head + b"".join(reversed(parts) if shuffled else parts)


def login(text: str) -> bytes:
    answer = password(text).response(challenge_hash(PEER, CHALLENGE, b"anna"))
    value = bytes((9, 0)) + PEER + bytes(8) + answer
    return vendor_attribute(MICROSOFT, mschap.CHALLENGE, CHALLENGE) + vendor_attribute(MICROSOFT, 25, value)


class Door:
    def __init__(self, running: RunningRoom) -> None:
        self.running = running
        self._number = 0

    async def ask(self, extension: bytes) -> Packet:
        self._number += 1
        authenticator = bytes((self._number,)) * 16
        request = SHARED.access_request(self._number, authenticator, attribute(Attr.USER_NAME, b"anna") + extension)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.setblocking(False)
            nas.connect(("127.0.0.1", self.running.room.listener.auth_port))
            nas.send(request)
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(nas, 4_096), 5)
        reply = Packet.decode(answer)
        SHARED.check_response(reply, authenticator)
        return reply

    async def error(self, extension: bytes) -> str:
        reply = await self.ask(extension)
        assert reply.code == ACCESS_REJECT
        value = reply.vendor(MICROSOFT, mschap.ERROR)
        assert value is not None
        assert value[0] == 9, "the identifier of the request"
        return value[1:].decode()


@asynccontextmanager
async def expired(database: Database, directory: Path, form: str = CLEAR) -> AsyncIterator[Door]:
    async with running_room(database, directory, replace(EPHEMERAL, password_form=form)) as running:
        await running.room.passwords.expire(SERVICE, expired=True, actor="user:test")
        yield Door(running)


@pytest.mark.parametrize("form", [CLEAR, NT])
async def test_an_expired_password_is_changed_and_the_peer_is_let_in(
    sqlite_database: Database, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with expired(sqlite_database, tmp_path, form) as door:
        assert re.match(r"E=648 R=0 C=[0-9A-F]{32} V=3", await door.error(login(OLD)))
        reply = await door.ask(wish())
        assert reply.code == ACCESS_ACCEPT
        hashed = challenge_hash(PEER, CHALLENGE, b"anna")
        proof = password(NEW).authenticator_response(password(NEW).response(hashed), hashed)
        assert reply.vendor(MICROSOFT, mschap.SUCCESS_2) == b"\x09" + proof, "we know the new password, too"
        assert reply.vendor(MICROSOFT, 17) is not None
        assert reply.vendor(14988, 8) == b"20M/100M"
        assert (await door.ask(login(NEW))).code == ACCESS_ACCEPT
        assert (await door.ask(login(OLD))).code == ACCESS_REJECT
        assert (await door.error(wish("another-9", old=NEW))).startswith("E=709 "), "it has not expired any more"
    assert NEW not in capsys.readouterr().out


async def test_the_pieces_may_come_in_any_order(sqlite_database: Database, tmp_path: Path) -> None:
    async with expired(sqlite_database, tmp_path) as door:
        assert (await door.ask(wish(shuffled=True, pieces=4))).code == ACCESS_ACCEPT


async def test_whoever_does_not_prove_both_passwords_changes_nothing(sqlite_database: Database, tmp_path: Path) -> None:
    async with expired(sqlite_database, tmp_path) as door:
        assert (await door.error(wish(old="hunter3"))).startswith("E=691 ")
        assert (await door.error(wish(proved="something else"))).startswith("E=691 ")
        assert (await door.error(wish("x" * 129))).startswith("E=709 "), "longer than User-Password carries"
        assert (await door.error(wish(OLD))).startswith("E=648 "), "the same once more is no change"
        assert (await door.ask(wish())).code == ACCESS_ACCEPT


async def test_of_a_service_that_is_not_enabled_nothing_is_changed(sqlite_database: Database, tmp_path: Path) -> None:
    async with expired(sqlite_database, tmp_path) as door:
        await door.running.room.subscribers.set_enabled(service_id=SERVICE, enabled=False, actor="user:test")
        assert (await door.error(wish())).startswith("E=647 ")
        await door.running.room.subscribers.set_enabled(service_id=SERVICE, enabled=True, actor="user:test")
        assert (await door.ask(wish())).code == ACCESS_ACCEPT, "the old password was still the one"


async def test_of_an_argon2_hash_nothing_is_changed(sqlite_database: Database, tmp_path: Path) -> None:
    async with expired(sqlite_database, tmp_path, ARGON2) as door:
        assert (await door.error(wish())).startswith("E=709 ")


@given(st.binary(max_size=80), st.none() | st.binary(max_size=20), st.lists(st.binary(max_size=247), max_size=10))
def test_whatever_is_asked_is_read_or_the_peer_s_error(
    value: bytes, challenge: bytes | None, pieces: list[bytes]
) -> None:
    body = b"".join(vendor_attribute(MICROSOFT, password_change.NT_ENC_PW, piece) for piece in pieces)
    told = "ms-chap"
    try:
        Wish(value, challenge, Packet.decode(encode(1, 1, AUTHENTICATOR, body)), b"anna")
    except PeerError as error:
        told = error.reason
    assert told == "ms-chap"


@given(st.binary(min_size=516, max_size=516))
def test_noise_is_no_password_or_some_text(noise: bytes) -> None:
    found = new_password(noise, password(OLD))
    assert found is None or len(found.encode("utf-16-le")) <= 512


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
def test_what_is_encrypted_under_the_old_password_is_read_with_it(text: str) -> None:
    assert new_password(encrypted_password(text, password(OLD), FILLING), password(OLD)) == text

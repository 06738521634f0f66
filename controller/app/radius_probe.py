"""One real Access-Request to a RADIUS port, made by pyrad: no codec of ours stands between the test and the server.

The reply counts only when its authenticators verify. With MS-CHAPv2 the server must prove that it knows the password,
too (RFC 2759 §8.7).
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pyrad.client import Client, Timeout
from pyrad.packet import AccessRequest, AuthPacket, PacketError

from controller.domain.errors import PeerError, RuleError
from radius.protocol import dictionary
from radius.protocol.codes import ACCESS_ACCEPT, CODE_NAMES
from radius.protocol.mschap import NtPassword, challenge_hash, nt_hash
from radius.protocol.packet import Packet

METHODS = ("pap", "chap", "mschapv2")

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Outcome:
    """Both packets by name. `reply` is empty and `code` "" when no answer came that verifies."""

    request: Lines
    code: str
    reply: Lines
    took_s: float
    remark: str = ""

    @property
    def accepted(self) -> bool:
        return self.code == CODE_NAMES[ACCESS_ACCEPT]


def probe(
    host: str,
    port: int,
    secret: str,
    username: str,
    password: str,
    *,
    method: str = "pap",
    attributes: Sequence[str] = (),
    timeout_s: float = 3.0,
    tries: int = 2,
) -> Outcome:
    """`attributes` are NAME=VALUE, by the names of the dictionaries. Raises RuleError for what cannot be sent."""
    client = Client(server=host, authport=port, secret=secret.encode(), dict=dictionary.load())
    client.timeout, client.retries = timeout_s, tries
    request: AuthPacket = client.CreateAuthPacket(code=AccessRequest)
    request.authenticator = secrets.token_bytes(16)
    request["User-Name"] = username
    expected = _prove(request, username, password, method)
    for text in attributes:
        _add(request, text)
    request.add_message_authenticator()
    sent = _decoded(request.RequestPacket())
    began = time.perf_counter()
    try:
        answer = client.SendPacket(request)
    except Timeout:
        return Outcome(sent, "", [], time.perf_counter() - began, f"no answer that verifies to {tries} transmissions")
    except (PacketError, OSError) as error:
        return Outcome(sent, "", [], time.perf_counter() - began, str(error))
    took_s = time.perf_counter() - began
    packet = Packet.decode(answer.raw_packet)
    return Outcome(sent, CODE_NAMES.get(packet.code, str(packet.code)), dictionary.describe(packet), took_s,
                   _remark(packet, expected))  # fmt: skip


def _prove(request: AuthPacket, username: str, password: str, method: str) -> bytes | None:
    """Put the proof of the password into the request; what the server must answer to it, where it must."""
    if method == "pap":
        request["User-Password"] = request.PwCrypt(password)
    elif method == "chap":
        identifier, challenge = secrets.token_bytes(1), secrets.token_bytes(16)
        request["CHAP-Challenge"] = challenge
        request["CHAP-Password"] = identifier + _md5(identifier + password.encode() + challenge)
    elif method == "mschapv2":
        ours, theirs = secrets.token_bytes(16), secrets.token_bytes(16)
        known = NtPassword(nt_hash(password))
        challenge = challenge_hash(ours, theirs, username.encode())
        response = known.response(challenge)
        request["MS-CHAP-Challenge"] = theirs
        request["MS-CHAP2-Response"] = b"\x01\x00" + ours + bytes(8) + response
        return b"\x01" + known.authenticator_response(response, challenge)
    else:
        raise RuleError(f"no method {method!r}; known: {', '.join(METHODS)}")
    return None


def _md5(octets: bytes) -> bytes:
    return hashlib.md5(octets).digest()  # noqa: S324 - what RFC 2865 §2.2 asks for


def _add(request: AuthPacket, text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals:
        raise RuleError(f"{text!r} is no NAME=VALUE")
    known = dictionary.load().attributes.get(name)
    if known is None:
        raise RuleError(f"no dictionary knows {name!r}; headend dictionary {name} finds what is like it")
    numeric = known.type in ("integer", "byte", "short", "integer64") and value.lstrip("-").isdigit()
    try:
        request.AddAttribute(name, int(value) if numeric else value)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise RuleError(f"{name} cannot be {value!r}: {error}") from None


def _remark(reply: Packet, expected: bytes | None) -> str:
    if expected is None or reply.code != ACCESS_ACCEPT:
        return ""
    if reply.vendor(311, 26) == expected:
        return "the server proved that it knows the password (MS-CHAP2-Success)"
    return "the server did NOT prove that it knows the password: MS-CHAP2-Success is missing or wrong"


def _decoded(datagram: bytes) -> Lines:
    try:
        return dictionary.describe(Packet.decode(datagram))
    except PeerError as error:
        raise RuleError(f"this makes no RADIUS packet: {error}") from None

"""An EAP peer with its NAS in one, for unit tests: it speaks to an AuthenticationServer datagram by datagram."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field

from radius.authorization.eap.packet import IDENTITY, RESPONSE, EapPacket, join, split
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import Attr
from radius.protocol.mschap import NtPassword, challenge_hash, nt_hash
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import AuthenticationServer, Verdict
from tests.support.radius import SECRET, SOURCE

SHARED = SharedSecret(SECRET)


@dataclass
class EapLogin:
    """One conversation. `request` is the last EAP packet that the server sent, `reply` the RADIUS packet around it."""

    server: AuthenticationServer
    name: bytes = b"anna"
    state: bytes | None = None
    request: EapPacket | None = None
    reply: Packet | None = None
    asked: bytes = b""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def send(
        self, octets: bytes, *, user_name: bytes | None = None, extra: bytes = b"", signed: bool = True
    ) -> Verdict:
        """One Access-Request around these EAP octets, under an authenticator of its own."""
        number = next(self._numbers)
        authenticator = secrets.token_bytes(16)
        carried = split(octets) if octets else attribute(Attr.EAP_MESSAGE, b"")
        body = attribute(Attr.USER_NAME, self.name if user_name is None else user_name) + carried + extra
        if self.state is not None:
            body += attribute(Attr.STATE, self.state)
        datagram = SHARED.access_request(number & 0xFF, authenticator, body, signed=signed)
        verdict = self.server.receive(datagram, SOURCE, 0.0)
        if verdict.reply is not None:
            self.asked = authenticator
            self._take(verdict.reply, authenticator)
        return verdict

    def identify(self, identity: bytes | None = None) -> Verdict:
        return self.send(EapPacket(RESPONSE, 0, IDENTITY, self.name if identity is None else identity).encode())

    def respond(self, kind: int, data: bytes, *, identifier: int | None = None) -> Verdict:
        assert self.request is not None, "there is nothing to respond to"
        identifier = self.request.identifier if identifier is None else identifier
        return self.send(EapPacket(RESPONSE, identifier, kind, data).encode())

    def _take(self, datagram: bytes, authenticator: bytes) -> None:
        self.reply = Packet.decode(datagram)
        SHARED.check_response(self.reply, authenticator)
        octets = join(self.reply)
        self.request = None if octets is None else EapPacket.decode(octets)
        self.state = self.reply.get(Attr.STATE) or self.state


def md5_response(request: EapPacket, password: bytes) -> bytes:
    challenge = request.data[1:17]
    return b"\x10" + chap_response(request.identifier, password, challenge) + b"peer"


def mschapv2_response(request: EapPacket, name: bytes, password: str) -> bytes:
    """Type-Data of a Response to an EAP-MSCHAPv2 Challenge."""
    peer_challenge = bytes(range(16))
    challenge = challenge_hash(peer_challenge, request.data[5:21], name)
    answer = NtPassword(nt_hash(password)).response(challenge)
    value = b"\x31" + peer_challenge + bytes(8) + answer + b"\0" + name
    return bytes((2, request.data[1])) + (4 + len(value)).to_bytes(2, "big") + value

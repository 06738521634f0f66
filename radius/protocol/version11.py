"""RADIUS/1.1 (RFC 9765): inside TLS, a Token where the authenticators were, no MD5, nothing hidden.

    | Code | Reserved-1 | Length | Token, 4 octets | Reserved-2, 12 octets | Attributes …

The server machines speak the classic form. A packet is rewritten at the edge of the connection, under a secret that
never leaves this process, and its answer is rewritten on the way out: one code decides for both versions.
"""

from __future__ import annotations

from hashlib import sha256

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_REQUEST, STATUS_SERVER, Attr
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.packet import HEADER_LENGTH, MAX_LENGTH, Packet, encode_attributes

ALPN = "radius/1.1"
ALPN_CLASSIC = "radius/1.0"
INNER = SharedSecret(b"radius/1.1")
"""The secret of the rewritten form (RFC 9765 §4.1 names it for fields that want one)."""

_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)


def encode(code: int, token: bytes, attributes: Attributes) -> bytes:
    """A packet of version 1.1. Raises PeerError above 4096 octets."""
    body = encode_attributes(attributes)
    length = HEADER_LENGTH + len(body)
    if length > MAX_LENGTH:
        raise PeerError("length", f"{length} octets")
    return bytes((code, 0, length >> 8, length & 0xFF)) + token + bytes(12) + body


def decode(frame: bytes) -> tuple[Packet, bytes]:
    """The packet and its Token; what stands in its authenticator means nothing. Raises PeerError."""
    packet = Packet.decode(frame)
    return packet, packet.data[4:8]


def plain(packet: Packet) -> Attributes:
    """Attributes of a packet of version 1.1. "Message-Authenticator … MUST be silently discarded" (§5.2)."""
    return [(kind, value) for kind, value in packet.attributes() if kind != _MESSAGE_AUTHENTICATOR]


def to_classic(frame: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The request in the classic form under INNER, and its Token. `salt` is the connection's. Raises PeerError."""
    packet, token = decode(frame)
    authenticator = sha256(salt + token).digest()[:16]
    body = covered(plain(packet), INNER, authenticator)
    if HEADER_LENGTH + len(body) > MAX_LENGTH - 18:
        raise PeerError("length", "no room to rewrite it")
    if packet.code in (ACCESS_REQUEST, STATUS_SERVER):
        return INNER.signed_request(packet.code, token[3], authenticator, body), token
    return INNER.request(packet.code, token[3], body, signed=False), token


def from_classic(reply: bytes, token: bytes, authenticator: bytes) -> bytes:
    """An answer of the server machines as version 1.1 carries it; `authenticator` is the rewritten request's."""
    packet = Packet.decode(reply)
    return encode(packet.code, token, opened(packet, INNER, authenticator))

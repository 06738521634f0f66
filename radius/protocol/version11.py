"""RADIUS/1.1 (RFC 9765): inside TLS, a Token where the authenticators were, no MD5, nothing hidden.

    | Code | Reserved-1 | Length | Token, 4 octets | Reserved-2, 12 octets | Attributes …

The server machines speak the classic form. A packet is rewritten at the edge of the connection, under a secret that
never leaves this process, and its answer is rewritten on the way out: one code decides for both versions.
"""

from __future__ import annotations

from collections.abc import Collection
from secrets import token_bytes

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_REQUEST, PROTOCOL_ERROR, STATUS_SERVER, Attr
from radius.protocol.hidden import Attributes, covered, opened
from radius.protocol.packet import (
    HEADER_LENGTH,
    MAX_LENGTH,
    MAX_VALUE_LENGTH,
    ZERO_AUTHENTICATOR,
    Packet,
    encode_attributes,
)

ALPN = "radius/1.1"
ALPN_CLASSIC = "radius/1.0"
INNER = SharedSecret(b"radius/1.1")
"""The secret of the rewritten form; it never leaves this process."""

_USER_PASSWORD = int(Attr.USER_PASSWORD)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_EXTENDED_1, _ORIGINAL_PACKET_CODE = 241, b"\x04"
_RANDOM = (ACCESS_REQUEST, STATUS_SERVER)
"""Requests whose authenticator is random; that of others is computed from the packet."""


def encode(code: int, token: bytes, attributes: Attributes) -> bytes:
    """A packet of version 1.1. Raises PeerError above 4096 octets.

    "The contents of the User-Password field MUST be at least one octet in length" (§5.1.1): an empty one, which the
    classic form pads with zero octets, is one of these.
    """
    full = ((kind, value or b"\0") if kind == _USER_PASSWORD else (kind, value) for kind, value in attributes)
    return encode_body(code, token, encode_attributes(full))


def encode_body(code: int, token: bytes, body: bytes) -> bytes:
    """The same of attributes that are encoded already."""
    length = HEADER_LENGTH + len(body)
    if length > MAX_LENGTH:
        raise PeerError("length", f"{length} octets")
    return bytes((code, 0, length >> 8, length & 0xFF)) + token + bytes(12) + body


def decode(frame: bytes) -> tuple[Packet, bytes]:
    """The packet and its Token; what stands in its authenticator means nothing. Raises PeerError."""
    packet = Packet.decode(frame)
    return packet, packet.data[4:8]


def plain(packet: Packet) -> Attributes:
    """Attributes of a packet of version 1.1, without Message-Authenticator (§5.2) and Original-Packet-Code (§5.5)."""
    return [
        (kind, value)
        for kind, value in packet.attributes()
        if kind != _MESSAGE_AUTHENTICATOR and not (kind == _EXTENDED_1 and value[:1] == _ORIGINAL_PACKET_CODE)
    ]


def to_classic(packet: Packet, token: bytes) -> bytes:
    """The request in the classic form under INNER. Raises PeerError when that cannot carry it.

    Its authenticator is new each time: over TLS no request comes twice, and a Token that was used before may belong to
    another one (§4.2.2).
    """
    authenticator = token_bytes(16)
    body = covered(plain(packet), INNER, authenticator if packet.code in _RANDOM else ZERO_AUTHENTICATOR)
    if HEADER_LENGTH + len(body) > MAX_LENGTH - 18:
        raise PeerError("length", "no room to rewrite it")
    if packet.code in _RANDOM:
        return INNER.signed_request(packet.code, token[3], authenticator, body)
    return INNER.request(packet.code, token[3], body, signed=False)


def from_classic(reply: bytes, token: bytes, authenticator: bytes) -> bytes:
    """An answer of the server machines as version 1.1 carries it; `authenticator` is the rewritten request's."""
    packet = Packet.decode(reply)
    return encode(packet.code, token, opened(packet, INNER, authenticator))


def protocol_error(token: bytes, error_cause: int, words: str) -> bytes:
    """ "I have it and cannot work on it" (§6.1), or why the connection ends (§3.3.1, all of the Token zero)."""
    attributes = [(int(Attr.ERROR_CAUSE), error_cause.to_bytes(4, "big"))]
    if words:
        attributes.append((int(Attr.REPLY_MESSAGE), words.encode()[:MAX_VALUE_LENGTH]))
    return encode(PROTOCOL_ERROR, token, attributes)


def refused(alpn: str | None, tls: str | None, versions: Collection[str]) -> str | None:
    """Why a connection with this outcome of ALPN (None: none) must not be used; None where it may (§3.3, §3.4)."""
    if alpn == ALPN and tls != "TLSv1.3":
        return f"RADIUS/1.1 needs TLS 1.3, not {tls}"
    if (alpn or ALPN_CLASSIC) not in versions:
        return f"only {', '.join(versions)} is spoken here, and ALPN found {alpn or 'nothing'}"
    return None

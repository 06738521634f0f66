"""Takes values that a shared secret hides out of a packet, and hides them again for the next hop.

    NAS ── secret A, authenticator a ──► we ── secret B, authenticator b ──► home server

`opened` gives attributes as RADIUS/1.1 carries them, with nothing hidden (RFC 9765 §5); `covered` writes them for a hop
with a secret. Between the two stands what a proxy may filter. Hidden are User-Password (RFC 2865 §5.2), Tunnel-Password
(RFC 2868 §3.5), and Microsoft's keys (RFC 2548 §2.4). A Message-Authenticator ends at each hop and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import Attr
from radius.protocol.packet import MAX_VALUE_LENGTH, Packet, attribute
from radius.protocol.salted import conceal, fresh_salt, uncover

Attributes = list[tuple[int, bytes]]

_USER_PASSWORD = int(Attr.USER_PASSWORD)
_VENDOR_SPECIFIC = int(Attr.VENDOR_SPECIFIC)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_CHAP_PASSWORD = int(Attr.CHAP_PASSWORD)
_CHAP_CHALLENGE = int(Attr.CHAP_CHALLENGE)
_TUNNEL_PASSWORD = 69
_MICROSOFT = (311).to_bytes(4, "big")
_CHAP_KEYS = 12
_CHAP_KEYS_LENGTH = 32
_MPPE_KEYS = (16, 17)


def opened(packet: Packet, secret: SharedSecret, authenticator: bytes) -> Attributes:
    """Every attribute with nothing hidden; `authenticator` is the request's. Raises PeerError for odd lengths.

    A CHAP-Password without CHAP-Challenge answers the Request Authenticator (RFC 2865 §2.2), which the next hop will
    not see: it gets that as CHAP-Challenge.
    """
    found = [
        (kind, _open(kind, value, secret, authenticator))
        for kind, value in packet.attributes()
        if kind != _MESSAGE_AUTHENTICATOR
    ]
    if _CHAP_PASSWORD in packet.offsets and _CHAP_CHALLENGE not in packet.offsets:
        found.append((_CHAP_CHALLENGE, authenticator))
    return found


def covered(attributes: Iterable[tuple[int, bytes]], secret: SharedSecret, authenticator: bytes) -> bytes:
    """Attributes on the wire for a hop with a secret. Raises PeerError when a hidden value becomes too long."""
    body = b""
    for kind, value in attributes:
        written = _cover(kind, value, secret, authenticator)
        if len(written) > MAX_VALUE_LENGTH:
            raise PeerError("attribute-length", f"attribute {kind} has no room when it is hidden")
        body += attribute(kind, written)
    return body


def _open(kind: int, value: bytes, secret: SharedSecret, authenticator: bytes) -> bytes:
    if kind == _USER_PASSWORD:
        return secret.reveal(value, authenticator)
    if kind == _TUNNEL_PASSWORD:
        return value[:1] + uncover(value[1:], secret.value, authenticator)
    inner = _microsoft(kind, value)
    if inner in _MPPE_KEYS:
        return _sub(value, uncover(value[6:], secret.value, authenticator))
    if inner == _CHAP_KEYS:
        return _sub(value, secret.reveal(value[6:], authenticator).ljust(_CHAP_KEYS_LENGTH, b"\0"))
    return value


def _cover(kind: int, value: bytes, secret: SharedSecret, authenticator: bytes) -> bytes:
    try:
        if kind == _USER_PASSWORD:
            return secret.hide(value, authenticator)
        if kind == _TUNNEL_PASSWORD:
            return value[:1] + conceal(value[1:], fresh_salt(), secret.value, authenticator)
        inner = _microsoft(kind, value)
        if inner in _MPPE_KEYS:
            return _sub(value, conceal(value[6:], fresh_salt(), secret.value, authenticator))
        if inner == _CHAP_KEYS:
            return _sub(value, secret.hide(value[6:], authenticator))
    except ValueError as error:
        raise PeerError("attribute-length", str(error)) from None
    return value


def _microsoft(kind: int, value: bytes) -> int | None:
    """The type of the one attribute of Microsoft's that stands alone in a Vendor-Specific; None for anything else."""
    if kind != _VENDOR_SPECIFIC or len(value) < 6 or value[:4] != _MICROSOFT or value[5] != len(value) - 4:
        return None
    return value[4]


def _sub(former: bytes, value: bytes) -> bytes:
    return former[:5] + bytes((min(len(value) + 2, 255),)) + value

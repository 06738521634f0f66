"""CHAP: MD5 over identifier, password and challenge (RFC 2865 §5.3, RFC 1994 §4.1). It needs the clear password."""

from __future__ import annotations

from hmac import compare_digest

from controller.domain.errors import PeerError
from radius.protocol.authenticator import chap_response
from radius.protocol.codes import Attr
from radius.protocol.packet import Packet

_CHALLENGE = int(Attr.CHAP_CHALLENGE)


def matches(packet: Packet, chap_password: bytes, password: bytes) -> bool:
    """Whether `chap_password` (identifier ‖ response) was made from `password`. Raises PeerError on a wrong length."""
    if len(chap_password) != 17:
        raise PeerError("password-length", f"CHAP-Password of {len(chap_password)} octets")
    # "The CHAP challenge value is found in the CHAP-Challenge Attribute (60) if present in the packet, otherwise in
    # the Request Authenticator field" (RFC 2865 §5.3).
    challenge = packet.get(_CHALLENGE)
    expected = chap_response(chap_password[0], password, packet.authenticator if challenge is None else challenge)
    return compare_digest(expected, chap_password[1:])

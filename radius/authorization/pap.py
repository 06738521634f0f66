"""PAP: the password travels in User-Password, hidden with the shared secret (RFC 2865 §5.2)."""

from __future__ import annotations

from hmac import compare_digest

from radius.authorization.password import Password, same
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet


def matches(packet: Packet, hidden: bytes, nas: Nas, password: Password) -> bool:
    """Whether `hidden` is `password`. Raises PeerError when its length is none that RFC 2865 allows.

    A wrong shared secret looks like a wrong password here: only Message-Authenticator tells them apart.
    """
    claimed = nas.secret.reveal(hidden, packet.authenticator)
    return compare_digest(claimed, password) if type(password) is bytes else same(password, claimed)

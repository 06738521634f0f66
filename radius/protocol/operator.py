"""Operator-Name (RFC 5580 §4.1) and Operator-NAS-Identifier (RFC 8559 §3.4): which network and which NAS of it. Pure.

126  Operator-Name             one octet of namespace, "1" for a realm, then the name
241  extended, RFC 6929 §2.1   type 8: Operator-NAS-Identifier, octets that mean something to that network alone
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.domain.errors import PeerError
from radius.protocol.packet import Packet

OPERATOR_NAME, EXTENDED_1, OPERATOR_NAS_IDENTIFIER = 126, 241, 8
_REALM = b"1"


def operator_realm(packet: Packet) -> str | None:
    """The realm in Operator-Name, in lower case; None where there is none.

    Raises PeerError "operator-name" for a name of another namespace: it is no realm that could be routed by.
    """
    value = packet.get(OPERATOR_NAME)
    if value is None:
        return None
    if len(value) < 2 or value[:1] != _REALM:
        raise PeerError("operator-name", "not a realm (RFC 5580 §4.1, namespace 1)")
    return value[1:].decode(errors="replace").lower()


def operator_nas(attributes: Iterable[tuple[int, bytes]]) -> bytes | None:
    """The first Operator-NAS-Identifier; None where there is none."""
    for kind, value in attributes:
        if kind == EXTENDED_1 and len(value) > 1 and value[0] == OPERATOR_NAS_IDENTIFIER:
            return value[1:]
    return None


def named_attributes(realm: str, nas: bytes) -> list[tuple[int, bytes]]:
    """Both, for a NAS of the network `realm`."""
    return [(OPERATOR_NAME, _REALM + realm.encode()), (EXTENDED_1, bytes((OPERATOR_NAS_IDENTIFIER,)) + nas)]


def of_operator(kind: int, value: bytes) -> bool:
    """Whether this is one of the two."""
    return kind == OPERATOR_NAME or (kind == EXTENDED_1 and value[:1] == bytes((OPERATOR_NAS_IDENTIFIER,)))

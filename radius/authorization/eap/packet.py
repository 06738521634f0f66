"""The EAP packet on the wire (RFC 3748 §4, §5), and how EAP-Message carries it through RADIUS (RFC 3579 §3.1).

    0                   1                   2                   3
    | Code          | Identifier    | Length                        |
    | Type          | Type-Data …       Request and Response only

Decoding raises PeerError for what does not fit its own lengths, and nothing else. Expanded types (RFC 3748 §5.7) of
vendor 0 read as the plain types that they are; those of other vendors keep the type EXPANDED, which no method serves.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.errors import PeerError
from radius.protocol.codes import Attr
from radius.protocol.packet import MAX_VALUE_LENGTH, Packet, attribute

REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4

IDENTITY, NOTIFICATION, NAK = 1, 2, 3
MD5_CHALLENGE, TLS, TTLS, PEAP, MSCHAPV2, EXPANDED = 4, 13, 21, 25, 26, 254

TYPE_NAMES = {MD5_CHALLENGE: "EAP-MD5", TLS: "EAP-TLS", TTLS: "EAP-TTLS", PEAP: "PEAP", MSCHAPV2: "EAP-MSCHAPv2"}
"""Methods by the names that operators know."""

_EAP_MESSAGE = int(Attr.EAP_MESSAGE)
_EXPANDED_HEAD = 7


@dataclass(frozen=True, slots=True)
class EapPacket:
    """One packet. `kind` is the Type of a Request or Response, 0 in Success and Failure; `data` its Type-Data."""

    code: int
    identifier: int
    kind: int = 0
    data: bytes = b""

    @classmethod
    def decode(cls, octets: bytes) -> EapPacket:
        """Read one packet. Raises PeerError "eap-length", "eap-code" or "eap-type".

        "Octets outside the range of the Length field … MUST be ignored upon reception" (RFC 3748 §4.1).
        """
        if len(octets) < 4:
            raise PeerError("eap-length", f"an EAP packet of {len(octets)} octets")
        code, identifier, length = octets[0], octets[1], octets[2] << 8 | octets[3]
        if not 4 <= length <= len(octets):
            raise PeerError("eap-length", f"Length {length} in {len(octets)} octets")
        if code in (SUCCESS, FAILURE):
            return cls(code, identifier)
        if code not in (REQUEST, RESPONSE):
            raise PeerError("eap-code", f"EAP code {code}")
        if length < 5:
            raise PeerError("eap-length", "Request or Response without a Type")
        kind, data = octets[4], octets[5:length]
        if kind == EXPANDED:
            kind, data = _plain(data)
        return cls(code, identifier, kind, data)

    def encode(self) -> bytes:
        """The packet on the wire; a Type is written for Request and Response."""
        body = bytes((self.kind,)) + self.data if self.code in (REQUEST, RESPONSE) else b""
        length = 4 + len(body)
        return bytes((self.code, self.identifier, length >> 8, length & 0xFF)) + body

    def wanted(self) -> list[int]:
        """The types that a Nak asks for; 0 ("no desired alternative") and other vendors' are left out.

        A legacy Nak lists octets (RFC 3748 §5.3.1), an expanded one whole expanded types (§5.3.2).
        """
        if len(self.data) >= 8 and len(self.data) % 8 == 0 and self.data[0] == EXPANDED:
            kinds = [_plain(self.data[at + 1 : at + 8])[0] for at in range(0, len(self.data), 8)]
        else:
            kinds = list(self.data)
        return [kind for kind in kinds if kind not in (0, EXPANDED)]


def _plain(data: bytes) -> tuple[int, bytes]:
    """An expanded type's number and data. Raises PeerError "eap-type" when it is cut off."""
    if len(data) < _EXPANDED_HEAD:
        raise PeerError("eap-type", f"an expanded type of {len(data)} octets")
    vendor, kind = int.from_bytes(data[:3], "big"), int.from_bytes(data[3:7], "big")
    return (kind, data[7:]) if vendor == 0 and kind < EXPANDED else (EXPANDED, data)


def join(packet: Packet) -> bytes | None:
    """The EAP packet in the EAP-Message attributes, put together in their order; None when there is none.

    Empty octets are EAP-Start: "an EAP-Message attribute … of length 2 (no data)" (RFC 3579 §2.1).
    """
    if _EAP_MESSAGE not in packet.offsets:
        return None
    return b"".join(packet.get_all(_EAP_MESSAGE))


def split(octets: bytes) -> bytes:
    """EAP-Message attributes for one EAP packet, each of at most 253 octets, one behind the other (RFC 3579 §3.1)."""
    return b"".join(
        attribute(_EAP_MESSAGE, octets[at : at + MAX_VALUE_LENGTH]) for at in range(0, len(octets), MAX_VALUE_LENGTH)
    )

"""AVPs inside the EAP-TTLS tunnel, Diameter's format with RADIUS's numbers (RFC 5281 §10). Pure.

    AVP Code, 4 octets | V M reserved | AVP Length, 3 octets | Vendor-ID where V is set, 4 octets | Data | padding to 4

Length counts the header and not the padding. Malformed octets raise PeerError, and nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.errors import PeerError

_VENDOR = 0x80
_MANDATORY = 0x40
MAX_AVPS = 64


@dataclass(frozen=True, slots=True)
class Avp:
    """One AVP. `mandatory`: who does not know it must fail the negotiation (RFC 5281 §10.1)."""

    code: int
    data: bytes
    vendor: int = 0
    mandatory: bool = True

    def encode(self) -> bytes:
        vendor = self.vendor.to_bytes(4, "big") if self.vendor else b""
        flags = (_VENDOR if self.vendor else 0) | (_MANDATORY if self.mandatory else 0)
        length = 8 + len(vendor) + len(self.data)
        head = self.code.to_bytes(4, "big") + bytes((flags,)) + length.to_bytes(3, "big")
        return head + vendor + self.data + bytes(-length % 4)

    def __repr__(self) -> str:
        # The data may be a password.
        return f"Avp({self.code}, vendor={self.vendor}, {len(self.data)} octets)"


def decode(octets: bytes) -> list[Avp]:
    """Every AVP in its order. Raises PeerError "avp"."""
    found: list[Avp] = []
    position, end = 0, len(octets)
    while position < end:
        if end - position < 8 or len(found) == MAX_AVPS:
            raise PeerError("avp", f"{end - position} octets behind {len(found)} AVPs")
        code = int.from_bytes(octets[position : position + 4], "big")
        flags = octets[position + 4]
        length = int.from_bytes(octets[position + 5 : position + 8], "big")
        head = 12 if flags & _VENDOR else 8
        if not head <= length <= end - position:
            raise PeerError("avp", f"AVP {code} of length {length} in {end - position} octets")
        vendor = int.from_bytes(octets[position + 8 : position + 12], "big") if flags & _VENDOR else 0
        data = octets[position + head : position + length]
        found.append(Avp(code, data, vendor, bool(flags & _MANDATORY)))
        # The last one's padding is left out by some peers.
        position += length + -length % 4
    return found

"""The RADIUS packet on the wire (RFC 2865 §3, §5). Decoding checks every length once; values are cut out on demand.

    0                   1                   2                   3
    | Code        | Identifier    | Length                        |
    | Authenticator, 16 octets …                                  |
    | Type | Length | Value …                                     |

A packet that does not fit its own lengths raises PeerError, and so does a value of the wrong size when it is asked
for; nothing else is ever raised. Authenticators are `radius.protocol.authenticator`'s business, not checked here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from controller.domain.errors import PeerError
from radius.protocol.codes import Attr
from radius.protocol.layout import Layout, Layouts

HEADER_LENGTH = 20
MAX_LENGTH = 4096
MAX_VALUE_LENGTH = 253
ZERO_AUTHENTICATOR = bytes(16)

_VENDOR_SPECIFIC = int(Attr.VENDOR_SPECIFIC)
_LAYOUTS = Layouts()


class Packet:
    """One decoded datagram. `data` is the packet as it arrived, without padding after its Length (RFC 2865 §3).

    `offsets` maps an attribute type to where its first occurrence starts in `data`; many packets share one. `layout` is
    the form that it has in common with others, where that is known. `reply` is the answer to it, where that was made
    before it may be sent.
    """

    __slots__ = ("authenticator", "code", "data", "identifier", "layout", "offsets", "reply")

    def __init__(self, data: bytes, offsets: Mapping[int, int], layout: Layout | None = None) -> None:
        self.data = data
        self.code, self.identifier = data[0], data[1]
        self.authenticator = data[4:20]
        self.offsets = offsets
        self.layout = layout
        self.reply: bytes | None = None

    @classmethod
    def decode(cls, datagram: bytes) -> Packet:
        """Check all lengths. Raises PeerError "short", "length" or "attribute-length"."""
        layout = _LAYOUTS.find(datagram)
        if layout is not None:
            return cls(datagram, layout.offsets, layout)
        datagram, offsets = walk(datagram)
        return cls(datagram, offsets, _LAYOUTS.learn(datagram, offsets))

    def get(self, kind: int) -> bytes | None:
        """Value of the first attribute of this type; None when absent, which is not the same as empty."""
        position = self.offsets.get(kind)
        if position is None:
            return None
        data = self.data
        return data[position + 2 : position + data[position + 1]]

    def get_all(self, kind: int) -> list[bytes]:
        """Values of every attribute of this type, in the order of the packet."""
        if kind not in self.offsets:
            return []
        return [value for found, value in self.attributes() if found == kind]

    def integer(self, kind: int) -> int | None:
        """A 32-bit value ("integer", "time" of RFC 2865 §5). Raises PeerError when it is not four octets long."""
        value = self.get(kind)
        if value is None:
            return None
        if len(value) != 4:
            raise PeerError("attribute-value", f"attribute {kind} has {len(value)} octets instead of 4")
        return int.from_bytes(value, "big")

    def attributes(self) -> Iterator[tuple[int, bytes]]:
        """Every (type, value), in the order of the packet."""
        data, position, end = self.data, HEADER_LENGTH, len(self.data)
        while position < end:
            length = data[position + 1]
            yield data[position], data[position + 2 : position + length]
            position += length

    def vendor(self, vendor_id: int, kind: int) -> bytes | None:
        """First sub-attribute of a vendor; None when absent."""
        return next(self.vendor_all(vendor_id, kind), None)

    def vendor_all(self, vendor_id: int, kind: int) -> Iterator[bytes]:
        """Every such sub-attribute (RFC 2865 §5.26, the recommended form). Odd vendor data reads as absent."""
        prefix = vendor_id.to_bytes(4, "big")
        for value in self.get_all(_VENDOR_SPECIFIC):
            if value[:4] != prefix:
                continue
            position = 4
            while position + 2 <= len(value):
                length = value[position + 1]
                if length < 2 or position + length > len(value):
                    break
                if value[position] == kind:
                    yield value[position + 2 : position + length]
                position += length


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute on the wire. Raises ValueError above 253 octets: RADIUS cannot carry it."""
    if len(value) > MAX_VALUE_LENGTH:
        raise ValueError(f"attribute {kind}: {len(value)} octets do not fit into {MAX_VALUE_LENGTH}")
    return bytes((kind, len(value) + 2)) + value


def integer_attribute(kind: int, value: int) -> bytes:
    return attribute(kind, value.to_bytes(4, "big"))


def vendor_attribute(vendor_id: int, kind: int, value: bytes) -> bytes:
    """One vendor sub-attribute inside a Vendor-Specific of its own (RFC 2865 §5.26)."""
    return attribute(_VENDOR_SPECIFIC, vendor_id.to_bytes(4, "big") + attribute(kind, value))


def encode(code: int, identifier: int, authenticator: bytes, attributes: bytes) -> bytes:
    """Put a packet together. Raises ValueError when it would exceed 4096 octets (RFC 2865 §3)."""
    length = HEADER_LENGTH + len(attributes)
    if length > MAX_LENGTH or len(authenticator) != 16:
        raise ValueError(f"a packet of {length} octets with an authenticator of {len(authenticator)}")
    return bytes((code, identifier, length >> 8, length & 0xFF)) + authenticator + attributes


def encode_attributes(attributes: Iterable[tuple[int, bytes]]) -> bytes:
    """Attributes on the wire, in the order given."""
    return b"".join(attribute(kind, value) for kind, value in attributes)


def walk(datagram: bytes) -> tuple[bytes, dict[int, int]]:
    """The packet without padding, and where each type occurs first. Raises PeerError as `Packet.decode` does."""
    size = len(datagram)
    if size < HEADER_LENGTH:
        raise PeerError("short", f"{size} octets")
    end = datagram[2] << 8 | datagram[3]
    if end != size:
        # "If the packet is shorter than the Length field indicates, it MUST be silently discarded. Octets outside the
        # range of the Length field MUST be treated as padding and ignored" (RFC 2865 §3).
        if end > size or end < HEADER_LENGTH:
            raise PeerError("length", f"Length {end} in {size} octets")
        datagram = datagram[:end]
    if end > MAX_LENGTH:
        raise PeerError("length", f"Length {end} is above {MAX_LENGTH}")
    offsets: dict[int, int] = {}
    position = HEADER_LENGTH
    try:
        while position < end:
            kind = datagram[position]
            length = datagram[position + 1]
            if length < 2:
                raise PeerError("attribute-length", f"attribute {kind} of length {length}")
            if kind not in offsets:
                offsets[kind] = position
            position += length
    except IndexError:
        raise PeerError("attribute-length", "the last attribute has no length") from None
    if position != end:
        raise PeerError("attribute-length", f"an attribute ends {position - end} octets after the packet")
    return datagram, offsets

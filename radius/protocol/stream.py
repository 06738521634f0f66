"""RADIUS packets in a stream of octets (RFC 6613 §2.6): one behind the other, each as long as its Length says.

A length that cannot be means that nothing behind it can be found any more: PeerError, and the connection ends
("If the Length is invalid … the TCP connection MUST be closed").
"""

from __future__ import annotations

from controller.domain.errors import PeerError
from radius.protocol.packet import HEADER_LENGTH, MAX_LENGTH


class Frames:
    """Cuts packets out of what arrives; keeps at most one incomplete packet."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> list[bytes]:
        """Complete packets, in order. Raises PeerError "length"."""
        data, position, found = self._rest + octets, 0, []
        while len(data) - position >= 4:
            length = data[position + 2] << 8 | data[position + 3]
            if not HEADER_LENGTH <= length <= MAX_LENGTH:
                raise PeerError("length", f"Length {length} in a stream")
            if len(data) - position < length:
                break
            found.append(data[position : position + length])
            position += length
        self._rest = data[position:]
        return found

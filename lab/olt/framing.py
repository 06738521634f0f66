"""NETCONF message framing (RFC 6242): end-of-message for base:1.0, chunks for base:1.1. Bytes in, messages out.

It opens no socket. A peer that breaks the framing gets `FramingError`; the session must then end (RFC 6242 §4.2).
"""

from __future__ import annotations

END_OF_MESSAGE = b"]]>]]>"
MAX_CHUNK = 4_294_967_295
MAX_MESSAGE = 32 * 1024 * 1024
"""Longer messages are refused: an emulated device has little memory, like a real one."""


class FramingError(Exception):
    """The octets on the wire are not NETCONF framing."""


class Framer:
    """Splits what arrives into messages. `chunked` is set once both peers have said base:1.1 in their hello."""

    def __init__(self) -> None:
        self.chunked = False
        self._buffer = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) + len(self._message) > MAX_MESSAGE:
            raise FramingError(f"message longer than {MAX_MESSAGE} octets")

    def next_message(self) -> bytes | None:
        """One complete message, or None until more octets arrive. Ask again: the framing may change in between."""
        return self._next_chunked() if self.chunked else self._next_delimited()

    def _next_delimited(self) -> bytes | None:
        end = self._buffer.find(END_OF_MESSAGE)
        if end < 0:
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(END_OF_MESSAGE)]
        return message

    def _next_chunked(self) -> bytes | None:
        # chunk = LF "#" chunk-size LF chunk-data ; end-of-chunks = LF "##" LF
        while True:
            line_end = self._buffer.find(b"\n", 2)
            if line_end < 0:
                if len(self._buffer) > 13:
                    raise FramingError("chunk header without end")
                return None
            header = bytes(self._buffer[:line_end])
            if header == b"\n##":
                del self._buffer[: line_end + 1]
                message, self._message = bytes(self._message), bytearray()
                return message
            size = _chunk_size(header)
            if len(self._buffer) < line_end + 1 + size:
                return None
            self._message += self._buffer[line_end + 1 : line_end + 1 + size]
            del self._buffer[: line_end + 1 + size]

    def frame(self, message: bytes) -> bytes:
        """`message` as it goes onto the wire."""
        if self.chunked:
            return b"\n#%d\n%s\n##\n" % (len(message), message)
        return message + END_OF_MESSAGE


def _chunk_size(header: bytes) -> int:
    digits = header[2:]
    if not header.startswith(b"\n#") or not digits.isdigit() or digits.startswith(b"0"):
        raise FramingError(f"not a chunk header: {header[:16]!r}")
    size = int(digits)
    if size > MAX_CHUNK:
        raise FramingError("chunk-size above 4294967295 (RFC 6242 §4.2)")
    return size

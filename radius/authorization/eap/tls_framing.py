"""How TLS travels in EAP: the flags octet, fragments and their acknowledgements (RFC 5216 §2.1.5, §3.1). Pure.

    Flags  L M S 0 0 V V V   L: a TLS Message Length of 4 octets follows   M: more fragments   S: start   V: version
    peer ── data, M ──▶   ◀── nothing (an acknowledgement) ──   peer ── data ──▶ the message is whole

EAP-TLS, PEAP and EAP-TTLS share it; the three bits V are the version of the latter two (RFC 5281 §9.1). What follows
the EAP Type octet is called a body here. A peer that breaks these rules, sends more than MAX_MESSAGE octets or more
than MAX_FRAGMENTS fragments raises PeerError; nothing else is ever raised.
"""

from __future__ import annotations

from controller.domain.errors import PeerError

LENGTH_INCLUDED = 0x80
MORE_FRAGMENTS = 0x40
START = 0x20
_VERSION = 0x07

MAX_MESSAGE = 65_536
"""Octets of one message: a chain of several large certificates fits, a flood does not."""
MAX_FRAGMENTS = 256
"""Fragments of one message."""
_HEAD = 5
"""Flags and TLS Message Length."""


class Framing:
    """Both directions of one conversation. `fragment` is the most octets that a body may have."""

    def __init__(self, *, version: int = 0, fragment: int = 1_000, checks_version: bool = False) -> None:
        self._version = version
        self._checks_version = checks_version
        self._room = fragment - _HEAD
        self._received = bytearray()
        self._fragments = 0
        self._announced: int | None = None
        self._unsent = b""

    def start(self) -> bytes:
        """The body that opens the conversation: S and nothing else (RFC 5216 §2.1.1)."""
        return bytes((START | self._version,))

    def acknowledgement(self) -> bytes:
        """The body without data: asks for the peer's next fragment, or for whatever it wants to say."""
        return bytes((self._version,))

    def send(self, message: bytes) -> bytes:
        """The body that carries `message`, or its first fragment with the length of the whole."""
        if len(message) <= self._room:
            return bytes((self._version,)) + message
        self._unsent = message[self._room :]
        head = LENGTH_INCLUDED | MORE_FRAGMENTS | self._version
        return bytes((head,)) + len(message).to_bytes(4, "big") + message[: self._room]

    def receive(self, body: bytes) -> tuple[bytes | None, bytes | None]:
        """(message, answer) of which one is None: the peer's whole message, or the body to answer with at once.

        Raises PeerError, and then nothing has changed: the right body may still come.
        """
        flags, data, announced = self._parse(body)
        more = bool(flags & MORE_FRAGMENTS)
        if self._unsent:
            # "When an EAP-TLS peer receives an EAP-Request packet with the M bit set, it MUST respond with an
            # EAP-Response with EAP-Type=EAP-TLS and no data" (RFC 5216 §2.1.5).
            if data or more:
                raise PeerError("eap-fragment", "data where the acknowledgement of a fragment belongs")
            return None, self._next()
        self._check(data, announced, more=more)
        if more:
            self._received += data
            self._fragments += 1
            if announced is not None:
                self._announced = announced
            return None, self.acknowledgement()
        message = bytes(self._received) + data
        self._received.clear()
        self._fragments, self._announced = 0, None
        return message, None

    def _parse(self, body: bytes) -> tuple[int, bytes, int | None]:
        if not body:
            raise PeerError("eap-flags", "no flags octet")
        flags = body[0]
        if flags & START:
            raise PeerError("eap-flags", "a peer does not start")
        if self._checks_version and flags & _VERSION != self._version:
            raise PeerError("eap-version", f"version {flags & _VERSION} where {self._version} was offered")
        if not flags & LENGTH_INCLUDED:
            return flags, body[1:], None
        if len(body) < _HEAD:
            raise PeerError("eap-flags", f"L is set in a body of {len(body)} octets")
        return flags, body[_HEAD:], int.from_bytes(body[1:_HEAD], "big")

    def _check(self, data: bytes, announced: int | None, *, more: bool) -> None:
        """Whether this may follow what was received. The length stands in the first fragment, others may repeat it."""
        if announced is not None and self._announced not in (None, announced):
            raise PeerError("eap-fragment", "the announced length changes between fragments")
        if more and not data:
            raise PeerError("eap-fragment", "an empty fragment that says more follows")
        whole = self._announced if announced is None else announced
        received = len(self._received) + len(data)
        if (whole is not None and whole > MAX_MESSAGE) or received > MAX_MESSAGE or self._fragments >= MAX_FRAGMENTS:
            raise PeerError("eap-fragment", f"{received} octets of {whole or '?'} in {self._fragments + 1} fragments")
        if whole is not None and (received > whole or (received != whole and not more)):
            raise PeerError("eap-fragment", f"{received} octets where {whole} were announced")

    def _next(self) -> bytes:
        part, self._unsent = self._unsent[: self._room], self._unsent[self._room :]
        return bytes(((MORE_FRAGMENTS if self._unsent else 0) | self._version,)) + part

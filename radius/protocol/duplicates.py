"""Remembers what was answered, so that a retransmission gets the same octets again (RFC 5080 §2.2.2).

An Access-Request is known by source address and port, code, identifier and request authenticator. The same identifier
under another authenticator is a new request: NAS with few identifiers reuse them within a second.

The authenticator of an Accounting-Request is a digest over all of it and the secret (RFC 2866 §3): it alone tells the
requests of a NAS apart.

Entries live in two generations. A generation is given up as a whole when the one after it is full or old, so nothing
is ever searched, memory is bounded, and an entry lives between one and two lifetimes unless the load is above
`capacity` per lifetime. The caller passes the time in.
"""

from __future__ import annotations

from typing import Final

from controller.domain.errors import RuleError
from controller.domain.identity import NasId

Source = tuple[str, int]
Key = bytes
"""What `key_of` makes."""

PENDING: Final = b""
"""Stands for a request that is being worked on: no reply is empty."""


def key_of(source: Source, data: bytes) -> Key:
    """Code, identifier, length and request authenticator as they stand in the packet, source port and address.

    One byte string rather than a tuple of five: there are as many of them as requests in some seconds, and the memory
    that they pass through decides what a request costs.
    """
    return data[:20] + source[1].to_bytes(2, "big") + source[0].encode()


class Duplicates:
    """One per listening port. `lifetime_s` 5…30 as RFC 5080 §2.2.2 recommends; `capacity` requests per generation."""

    __slots__ = ("_born_s", "_capacity", "_lifetime_s", "_old", "_young")

    def __init__(self, *, lifetime_s: float = 5.0, capacity: int = 65_536) -> None:
        if not 5.0 <= lifetime_s <= 30.0:
            raise RuleError(f"replies are remembered for 5 to 30 s (RFC 5080 §2.2.2), not {lifetime_s} s")
        self._lifetime_s = lifetime_s
        self._capacity = capacity
        self._young: dict[Key, bytes] = {}
        self._old: dict[Key, bytes] = {}
        self._born_s = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def find(self, key: Key, now_s: float) -> bytes | None:
        """The reply sent to this request, PENDING while there is none yet, None for a new request."""
        if now_s - self._born_s >= self._lifetime_s:
            self._turn(now_s)
        reply = self._young.get(key)
        return self._old.get(key) if reply is None else reply

    def claim(self, key: Key, now_s: float) -> bytes | None:
        """`find`, and keep PENDING for a new request: what it returns None for is the caller's to answer."""
        if now_s - self._born_s >= self._lifetime_s or len(self._young) >= self._capacity:
            self._turn(now_s)
        known = self._old.get(key)
        if known is None:
            count = len(self._young)
            reply = self._young.setdefault(key, PENDING)
            return None if len(self._young) > count else reply
        # Answered after its generation had been given up: the answer is in the younger one.
        return self._young.get(key, known)

    def keep(self, key: Key, reply: bytes, now_s: float) -> None:
        """Remember `reply` (or PENDING) from `now_s` on."""
        if len(self._young) >= self._capacity:
            self._turn(now_s)
        self._young[key] = reply

    def answer(self, key: Key, reply: bytes) -> None:
        """Put the reply in the place of PENDING, which may have grown old or been forgotten meanwhile."""
        self._young[key] = reply

    def forget(self, key: Key) -> None:
        """Make the request unknown again, so that its retransmission is worked on."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def _turn(self, now_s: float) -> None:
        # After a pause of two lifetimes both generations are over.
        stale = now_s - self._born_s >= 2 * self._lifetime_s
        self._old = {} if stale else self._young
        self._young = {}
        self._born_s = now_s


class InFlight:
    """Accounting-Requests whose records are being stored: their retransmissions are known by the authenticator alone.

    What is answered leaves at once. A retransmission that comes still later is recognised by the digest that its record
    was stored with, which holds across restarts and processes; and the reply, which follows from the request, is the
    same to the octet. Keeping replies here for seconds would cost a record a fourteenth: memory that is used again at
    once stays near the processor.
    """

    __slots__ = ("_born_s", "_lifetime_s", "_old", "_young")

    def __init__(self, *, lifetime_s: float = 5.0) -> None:
        self._lifetime_s = lifetime_s
        self._young: dict[bytes, NasId] = {}
        self._old: dict[bytes, NasId] = {}
        self._born_s = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def claim(self, authenticator: bytes, nas_id: NasId, now_s: float) -> bool:
        """Whether the request is new, and so the caller's to work on. After one to two lifetimes it is new again."""
        if now_s - self._born_s >= self._lifetime_s:
            stale = now_s - self._born_s >= 2 * self._lifetime_s
            self._old, self._young, self._born_s = {} if stale else self._young, {}, now_s
        young = self._young
        count = len(young)
        # Two NAS may say the same to the bit, under one secret: then both records count.
        known = self._old.get(authenticator) or young.setdefault(authenticator, nas_id)
        return len(young) > count or known != nas_id

    def end(self, authenticator: bytes) -> None:
        """The request was answered, or could not be stored."""
        if self._young.pop(authenticator, None) is None:
            self._old.pop(authenticator, None)

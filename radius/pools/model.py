"""What a pool consists of. Pure.

ranges              kind        prefix_length   gives
192.0.2.0/25        ipv4        32              126 addresses, without those of the network and of broadcast
192.0.2.10-…40      ipv4        32              31 addresses
2001:db8::/40       delegated   56              65,536 prefixes (Delegated-IPv6-Prefix, RFC 4818)
2001:db8:1::/48     ipv6        64              65,536 prefixes (Framed-IPv6-Prefix, RFC 3162)
2001:db8:2::/112    ipv6        128             65,535 addresses (Framed-IPv6-Address, RFC 6911), without the first,
                                                which is the subnet-router anycast address (RFC 4291 §2.6.1)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.domain.errors import RuleError

IPV4 = "ipv4"
IPV6 = "ipv6"
DELEGATED = "delegated"
KINDS = (IPV4, IPV6, DELEGATED)

_MOST = 1 << 32
"""A pool of more could never be read through; nobody has so many subscribers."""
_LONGEST_HOLD_S = 3_600


@dataclass(frozen=True, slots=True)
class Block:
    """`count` addresses from `first` on, `step` apart, as integers."""

    first: int
    count: int
    step: int

    @property
    def end(self) -> int:
        return self.first + self.count * self.step

    def overlaps(self, other: Block) -> bool:
        return self.first < other.end and other.first < self.end


@dataclass(frozen=True, slots=True)
class Pool:
    """`hold_s`: how long an address waits for the Accounting-Start of the login that it was given to."""

    pool_id: str
    name: str
    kind: str
    ranges: tuple[str, ...]
    prefix_length: int
    hold_s: int

    def blocks(self) -> list[Block]:
        return [block(self.kind, text, self.prefix_length) for text in self.ranges]

    @property
    def size(self) -> int:
        return sum(one.count for one in self.blocks())

    def addresses(self, start: int, count: int) -> Iterator[tuple[int, str]]:
        """(position, text) of `count` addresses from position `start` on."""
        position = 0
        for one in self.blocks():
            first, last = max(start, position), min(start + count, position + one.count)
            for at in range(first, last):
                yield at, _text(self.kind, one.first + (at - position) * one.step, self.prefix_length)
            position += one.count


def checked(pool: Pool) -> Pool:
    """Raises RuleError for what cannot be a pool; the message says why."""
    if pool.kind not in KINDS:
        raise RuleError(f"kind {pool.kind!r} is none of {', '.join(KINDS)}")
    if not 0 < len(pool.name.encode()) <= 64:
        raise RuleError("the name of a pool has 1 to 64 octets")
    if not 1 <= pool.hold_s <= _LONGEST_HOLD_S:
        raise RuleError(f"hold_s is 1 to {_LONGEST_HOLD_S} seconds")
    if pool.kind == IPV4 and pool.prefix_length != 32:
        raise RuleError("an IPv4 pool gives addresses: prefix_length is 32")
    if pool.kind != IPV4 and not 1 <= pool.prefix_length <= 128:
        raise RuleError("prefix_length is 1 to 128")
    if not pool.ranges:
        raise RuleError("a pool has at least one range")
    blocks = pool.blocks()
    for number, one in enumerate(blocks):
        if any(one.overlaps(other) for other in blocks[:number]):
            raise RuleError(f"range {pool.ranges[number]} overlaps another of this pool")
    if not 0 < pool.size <= _MOST:
        raise RuleError(f"a pool of {pool.size:,} addresses: 1 to {_MOST:,} can be kept")
    return pool


def overlap(pool: Pool, others: Sequence[Pool]) -> Pool | None:
    """One of `others` that has an address of `pool`; IPv4 and IPv6 never meet."""
    blocks = pool.blocks()
    for other in others:
        if (other.kind == IPV4) == (pool.kind == IPV4) and any(
            mine.overlaps(theirs) for mine in blocks for theirs in other.blocks()
        ):
            return other
    return None


def block(kind: str, text: str, prefix_length: int) -> Block:
    """Raises RuleError."""
    try:
        return _ipv4(text) if kind == IPV4 else _ipv6(text, prefix_length)
    except ValueError as error:
        raise RuleError(f"{text!r} is no range of a pool: {error}") from None


def _ipv4(text: str) -> Block:
    if "-" in text:
        low, high = (int(ipaddress.IPv4Address(part.strip())) for part in text.split("-", 1))
        if high < low:
            raise ValueError("it ends before it begins")
        return Block(low, high - low + 1, 1)
    network = ipaddress.IPv4Network(text)
    first, count = int(network.network_address), network.num_addresses
    # /31 and /32 have neither network nor broadcast address (RFC 3021).
    return Block(first, count, 1) if count <= 2 else Block(first + 1, count - 2, 1)


def _ipv6(text: str, prefix_length: int) -> Block:
    network = ipaddress.IPv6Network(text)
    if network.prefixlen > prefix_length:
        raise ValueError(f"there is no /{prefix_length} in it")
    first, count, step = (
        int(network.network_address),
        1 << (prefix_length - network.prefixlen),
        1 << 128 - prefix_length,
    )
    return Block(first + 1, count - 1, 1) if prefix_length == 128 and count > 1 else Block(first, count, step)


def _text(kind: str, value: int, prefix_length: int) -> str:
    return str(ipaddress.IPv4Address(value)) if kind == IPV4 else f"{ipaddress.IPv6Address(value)}/{prefix_length}"

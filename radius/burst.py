"""Answers that fall due together, as after a commit: those to one address go out in one call.

Linux cuts the octets of one sendmsg into datagrams of equal length (UDP_SEGMENT, udp(7), since 4.18); on the network
they are the same datagrams. A call for each costs five times as much, and that is a twelfth of an accounting record.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Iterator
from itertools import groupby

from radius.protocol.duplicates import Source

_UDP_SEGMENT = 103
_MOST_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of kernels before 6.9."""
_LONGEST_SEGMENT = 1200
"""A segment is never fragmented: it must fit the path, at least IPv6's 1280 octets (RFC 8200 §5), with its headers."""
_FEW = 4
"""So few are sent one by one: a capture on the loopback interface, which shows what is not yet cut, stays readable."""

_UNABLE = frozenset({errno.EINVAL, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
"""An older kernel, or a device that leaves the checksum to us: it will not get better."""

Failed = Callable[[Source, OSError], None]
"""(to whom, why): the kernel did not take a datagram. Its NAS will ask again."""


class Burst:
    """Collects the answers of one socket until the event loop's next turn."""

    def __init__(self, opened: socket.socket, failed: Failed) -> None:
        self._socket = opened
        self._failed = failed
        self._waiting: dict[Source, list[bytes]] = {}
        self._segments = True

    def add(self, reply: bytes, source: Source) -> None:
        """Have it sent in this turn of the loop or the next."""
        waiting = self._waiting
        if not waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        try:
            waiting[source].append(reply)
        except KeyError:
            waiting[source] = [reply]

    def flush(self) -> None:
        """Send what was collected; nothing any more once the socket is closed."""
        waiting, self._waiting = self._waiting, {}
        if self._socket.fileno() == -1:
            return
        for source, replies in waiting.items():
            for alike in _alike(replies):
                if len(alike) < _FEW or len(alike[0]) > _LONGEST_SEGMENT or not self._segments:
                    self._one_by_one(alike, source)
                else:
                    self._at_once(alike, source)

    def _at_once(self, replies: list[bytes], source: Source) -> None:
        cut = [(socket.IPPROTO_UDP, _UDP_SEGMENT, len(replies[0]).to_bytes(2, sys.byteorder))]
        try:
            self._socket.sendmsg([b"".join(replies)], cut, 0, source)
        except OSError as error:
            self._segments = error.errno not in _UNABLE
            self._one_by_one(replies, source)

    def _one_by_one(self, replies: list[bytes], source: Source) -> None:
        for reply in replies:
            try:
                self._socket.sendto(reply, source)
            except OSError as error:
                self._failed(source, error)


def _alike(replies: list[bytes]) -> Iterator[list[bytes]]:
    """In parts of one length, none longer than the kernel takes."""
    if any(len(reply) != len(replies[0]) for reply in replies):
        replies = sorted(replies, key=len)
    for _, alike in groupby(replies, key=len):
        rest = list(alike)
        for first in range(0, len(rest), _MOST_SEGMENTS):
            yield rest[first : first + _MOST_SEGMENTS]

"""How long Access-Requests take, told once for all datagrams of a wake-up: a clock read for each would cost too much.

Each counts with the time from the arrival of the wake-up's first datagram in the kernel to the end of the wake-up: no
request took longer. The kernel's arrival time is the socket's (SIOCGSTAMPNS, Linux), of the datagram read last.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from bisect import bisect_left

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIOCGSTAMPNS = 0x8907
_TIMESPEC = struct.Struct("@ll")


class Latency:
    """A histogram as plain ints. `counts` has one place more than `BOUNDS_S`: what took longer than all of them."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, requests: int, took_s: float) -> None:
        """`requests` of them took at most `took_s`."""
        self.counts[bisect_left(BOUNDS_S, took_s)] += requests
        self.sum_s += requests * took_s


def waited_s(opened: socket.socket) -> float:
    """How long the datagram read last had lain in the kernel; 0 where the kernel does not say, or for the first one."""
    try:
        seconds: int
        nanoseconds: int
        seconds, nanoseconds = _TIMESPEC.unpack(fcntl.ioctl(opened, _SIOCGSTAMPNS, bytes(_TIMESPEC.size)))
    except OSError:
        return 0.0
    return max(0.0, time.time() - seconds - nanoseconds / 1e9)

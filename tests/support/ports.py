"""Ports for programs that are started, killed and started again on the same port.

The kernel gives any free port of its ephemeral range to whoever opens a socket without naming one: between the end of
a program and its next start a client of another test may take its port. These lie below that range, and each worker
of a parallel run has a part of them for itself.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_FIRST = 12_000
_SHARE = 1_500
_ANY = "0.0.0.0"


def free_port() -> int:
    """A port that nobody has for TCP or for UDP on any address, and that this process did not give before."""
    for port in _PORTS:
        if _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
            return port
    raise AssertionError("the ports of this process are used up")


def _own() -> Iterator[int]:
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    workers = (ephemeral - _FIRST) // _SHARE
    assert workers > 0, f"ports from {ephemeral} on are the kernel's to give: none are left from {_FIRST} on"
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + int(worker) % workers * _SHARE
    # Two runs at once on one machine begin at different places.
    begin = os.getpid() * 37 % _SHARE
    return itertools.chain(range(first + begin, first + _SHARE), range(first, first + begin))


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as sock:
        if kind is socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no owner
        try:
            sock.bind((_ANY, port))
        except OSError:
            return False
    return True


_PORTS = _own()

"""The BRAS as RADIUS client: a bounded number of requests in flight over several source ports, retransmitted with
the timers of RFC 5080 §2.2.1.

An identifier is unique per source port (RFC 2865 §3), so one port carries at most 256 requests in flight. A reply that
does not verify is counted and dropped as if it had never come.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.bras.codec import BadPacket, Packet, decode, verify_reply


@dataclass(frozen=True, slots=True)
class Timers:
    """Initial and maximal retransmission time, maximal count and duration; zero means no limit (RFC 5080 §2.2.1)."""

    irt_s: float = 2.0
    mrt_s: float = 16.0
    mrc: int = 5
    mrd_s: float = 30.0


AUTHENTICATION = Timers()
ACCOUNTING = Timers(mrt_s=0, mrc=0, mrd_s=0)
"""RFC 5080 §2.2.1: accounting goes on until it is acknowledged, else it is lost."""
INTERIM = Timers(mrd_s=30)
"""An interim record is worth repeating only until the next one, which carries newer totals."""


class NoAnswer(Exception):
    """The server did not answer within the request's timers."""


@dataclass(slots=True)
class _Pending:
    datagram: bytes
    timers: Timers
    answer: asyncio.Future[Packet]
    destination: tuple[str, int]
    started: float
    sent: int = 0
    timeout_s: float = 0.0
    timer: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class Counters:
    """What the client has seen, for the console and for tests."""

    sent: int = 0
    retransmitted: int = 0
    answered: int = 0
    dropped: int = 0
    last_drop: str = ""


@dataclass(slots=True)
class _Port:
    sock: socket.socket
    free: list[int] = field(default_factory=lambda: list(range(255, -1, -1)))
    pending: dict[int, _Pending] = field(default_factory=dict)


class RadiusClient:
    """Sends requests to one server from `ports` source ports of `source`, at most `in_flight` at once."""

    def __init__(self, source: str, secret: bytes, *, ports: int = 2, in_flight: int = 128) -> None:
        if in_flight > ports * 256:
            raise ValueError("more requests in flight than identifiers")
        self._source = source
        self._secret = secret
        self._slots = asyncio.Semaphore(in_flight)
        self._want_ports = ports
        self._ports: list[_Port] = []
        self._next = 0
        self.counters = Counters()

    def open(self) -> None:
        """Bind the source ports. Raises OSError when the source address is not one of this machine's."""
        loop = asyncio.get_running_loop()
        for _ in range(self._want_ports):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind((self._source, 0))
            port = _Port(sock)
            self._ports.append(port)
            loop.add_reader(sock, self._drain, port)

    def close(self) -> None:
        """Close the ports; whoever waits for an answer gets NoAnswer."""
        loop = asyncio.get_running_loop()
        for port in self._ports:
            loop.remove_reader(port.sock)
            port.sock.close()
            for pending in port.pending.values():
                self._finish(pending, NoAnswer("the client was closed"))
        self._ports.clear()

    async def exchange(
        self, destination: tuple[str, int], build: Callable[[int], bytes], timers: Timers = AUTHENTICATION
    ) -> Packet:
        """Send what `build(identifier)` makes and wait for its verified answer. Raises NoAnswer.

        A retransmission is the same datagram from the same port: the server recognises it (RFC 5080 §2.2.2).
        """
        async with self._slots:
            port = self._port_with_room()
            identifier = port.free.pop()
            loop = asyncio.get_running_loop()
            pending = _Pending(build(identifier), timers, loop.create_future(), destination, loop.time())
            port.pending[identifier] = pending
            try:
                self._transmit(port, pending)
                return await pending.answer
            finally:
                if pending.timer is not None:
                    pending.timer.cancel()
                del port.pending[identifier]
                # Last in the queue: an answer that comes late must not meet a new request with its identifier.
                port.free.insert(0, identifier)

    def _port_with_room(self) -> _Port:
        if not self._ports:
            raise NoAnswer("the client is closed")
        for _ in self._ports:
            port = self._ports[self._next % len(self._ports)]
            self._next += 1
            if port.free:
                return port
        raise AssertionError("fewer identifiers than slots")

    def _transmit(self, port: _Port, pending: _Pending) -> None:
        timers = pending.timers
        loop = asyncio.get_running_loop()
        elapsed = loop.time() - pending.started
        if (timers.mrc and pending.sent >= timers.mrc) or (timers.mrd_s and elapsed >= timers.mrd_s):
            self._finish(pending, NoAnswer(f"no answer from {pending.destination[0]}:{pending.destination[1]}"))
            return
        jitter = random.uniform(-0.1, 0.1)
        pending.timeout_s = (
            timers.irt_s * (1 + jitter) if not pending.sent else pending.timeout_s * (2 + jitter)
        )  # RT = IRT + RAND*IRT, then 2*RTprev + RAND*RTprev
        if timers.mrt_s and pending.timeout_s > timers.mrt_s:
            pending.timeout_s = timers.mrt_s * (1 + jitter)
        if timers.mrd_s:
            pending.timeout_s = min(pending.timeout_s, timers.mrd_s - elapsed)
        self.counters.retransmitted += bool(pending.sent)
        self.counters.sent += 1
        pending.sent += 1
        try:
            port.sock.sendto(pending.datagram, pending.destination)
        except OSError as error:
            # A full buffer or an unreachable server is a lost datagram: the timer repeats it.
            self.counters.last_drop = str(error)
        pending.timer = loop.call_later(pending.timeout_s, self._transmit, port, pending)

    def _drain(self, port: _Port) -> None:
        while True:
            try:
                datagram, sender = port.sock.recvfrom(4096)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # ICMP port unreachable of an earlier datagram arrives here; its request's timer takes care.
                self.counters.last_drop = str(error)
                return
            self._receive(port, datagram, sender)

    def _receive(self, port: _Port, datagram: bytes, sender: tuple[str, int]) -> None:
        try:
            packet = decode(datagram)
            pending = port.pending.get(packet.identifier)
            if pending is None or sender != pending.destination:
                raise BadPacket("answer to nothing we asked")
            verify_reply(packet, pending.datagram[4:20], self._secret)
        except BadPacket as error:
            self.counters.dropped += 1
            self.counters.last_drop = str(error)
            return
        self.counters.answered += 1
        if not pending.answer.done():
            pending.answer.set_result(packet)

    @staticmethod
    def _finish(pending: _Pending, error: NoAnswer) -> None:
        if pending.timer is not None:
            pending.timer.cancel()
        if not pending.answer.done():
            pending.answer.set_exception(error)

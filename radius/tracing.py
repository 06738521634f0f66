"""One trace: whom it is about, and the bounded queue between the packets and the operator who watches."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from controller.domain.errors import RuleError
from radius.authorization.conditions import station
from radius.protocol.codes import Attr
from radius.protocol.duplicates import Source
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet

MAX_SECONDS = 3_600
MAX_PACKETS = 10_000
_QUEUE = 500
_MAX_LEARNT = 32
_IDLE_S = 15.0

Event = dict[str, Any]


class Target:
    """Whom to watch: a user name, a station's MAC address in any notation, or an address, of a session or of a NAS.

    What is seen of a session tells its other names: an address leads to its user, a record to its Acct-Session-Id, by
    which alone CoA and Disconnect name it.
    """

    def __init__(self, text: str) -> None:
        if not 0 < len(text.encode()) <= 253:
            raise RuleError("trace a user name, a MAC address or an IP address, of 1 to 253 octets")
        self.text = text
        self.names = {text.encode()}
        self.sessions: set[tuple[str, bytes]] = set()
        self._address = _address(text)
        self._station = None if self._address else _mac(text)

    def means(self, packet: Packet | None, reply: Packet | None, source: Source) -> bool:
        """Whether a datagram is about it; `reply` is the answer to `packet`, where there is one."""
        if self._address is not None and source[0] == str(self._address):
            return True
        if packet is None or not (self._names(packet) or self._holds(packet) or (reply and self._holds(reply))):
            return False
        self._learn(packet)
        return True

    def means_session(self, nas: Nas, attributes: Packet) -> bool:
        """Whether a CoA or Disconnect is about it."""
        session = attributes.get(Attr.ACCT_SESSION_ID)
        return self._names(attributes) or (session is not None and (nas.name, session) in self.sessions)

    @property
    def learnt(self) -> Event:
        """What was learnt, for the other processes."""
        names = sorted(name.hex() for name in self.names)
        return {"names": names, "sessions": sorted([nas, session.hex()] for nas, session in self.sessions)}

    def take_over(self, learnt: Event) -> None:
        """What another process has learnt."""
        self.names |= {bytes.fromhex(name) for name in learnt["names"][:_MAX_LEARNT]}
        self.sessions |= {(nas, bytes.fromhex(session)) for nas, session in learnt["sessions"][:_MAX_LEARNT]}

    def know_session(self, nas: Nas, username: str, framed_ipv4: str | None, acct_session_id: bytes) -> None:
        """A live session, as the table of sessions has it."""
        is_meant = username.encode() in self.names or (self._address is not None and framed_ipv4 == str(self._address))
        if is_meant and len(self.sessions) < _MAX_LEARNT:
            self.sessions.add((nas.name, acct_session_id))

    def learn_session(self, nas: Nas | None, packet: Packet) -> None:
        session = packet.get(Attr.ACCT_SESSION_ID)
        if nas is not None and session is not None and len(self.sessions) < _MAX_LEARNT:
            self.sessions.add((nas.name, session))

    def _names(self, packet: Packet) -> bool:
        name = packet.get(Attr.USER_NAME)
        if name is not None and name in self.names:
            return True
        caller = packet.get(Attr.CALLING_STATION_ID) if self._station else None
        return caller is not None and station(caller.decode(errors="backslashreplace")) == self._station

    def _holds(self, packet: Packet) -> bool:
        return self._address is not None and packet.get(Attr.FRAMED_IP_ADDRESS) == self._address.packed

    def _learn(self, packet: Packet) -> None:
        name = packet.get(Attr.USER_NAME)
        if name is not None and len(self.names) < _MAX_LEARNT:
            self.names.add(name)


class Trace:
    """One operator's trace. `events` ends with the trace; whoever leaves it calls `close`."""

    def __init__(
        self, target: Target, *, seconds: float, packets: int, forget: Callable[[Trace], None], trace_id: str = ""
    ) -> None:
        self.trace_id = trace_id
        self.target = target
        self.seen = self.lost = 0
        self._is_closed = False
        self._left = packets
        self._until_s = time.monotonic() + seconds
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)
        self._forget = forget
        self._why = "the trace was closed"

    @property
    def is_open(self) -> bool:
        return not self._is_closed

    def add(self, event: Event) -> None:
        """Never waits: what does not fit is counted."""
        if self._left <= 0:
            return
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.lost += 1
            return
        self.seen += 1
        self._left -= 1

    def waiting(self) -> list[Event]:
        """What is to be shown by now, at once: for a process that collects for another one."""
        found = []
        while not self._queue.empty():
            event = self._queue.get_nowait()
            if event is not None:
                found.append(event)
        return found

    def close(self) -> None:
        """Ends `events`, too."""
        self._is_closed = True
        self._forget(self)
        self._left = 0
        if not self._queue.full():
            self._queue.put_nowait(None)

    async def events(self) -> AsyncIterator[tuple[str, Event]]:
        """("packet", …) for each datagram, ("idle", {}) now and then, and one ("end", …) with the reason."""
        try:
            while True:
                waited_s = min(_IDLE_S, self._until_s - time.monotonic())
                if waited_s <= 0:
                    self._why = "the time is up"
                    break
                if self._left <= 0 and self._queue.empty():
                    self._why = "the number of packets is reached"
                    break
                try:
                    async with asyncio.timeout(waited_s):
                        event = await self._queue.get()
                except TimeoutError:
                    yield "idle", {}
                    continue
                if event is None:
                    break
                yield "packet", event
            yield "end", {"why": self._why, "packets": self.seen, "lost": self.lost}
        finally:
            self.close()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _mac(text: str) -> str | None:
    digits = station(text)
    return digits if len(digits) == 12 and len(text) <= 17 else None

"""A live trace of one subscriber's packets: both directions, decoded by name, with the reason of every reject and drop.

    listener ─ every datagram ─► Traces ─ is it about somebody who is watched? ─► Trace ─ bounded queue ─► operator

While nobody traces, the listener's `tap` is None: that comparison is all that a packet pays. A trace ends by itself,
after some time or so many packets; one that is read too slowly loses packets and says how many. Passwords, and what
they could be guessed from, read *** (radius.protocol.dictionary). Shown are packets of the process that is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from controller.domain.clock import Clock
from controller.domain.errors import PeerError, RuleError
from controller.domain.ports import CoaOutcome
from controller.store import audit
from controller.store.engine import Database
from radius.authorization.conditions import station
from radius.protocol import dictionary
from radius.protocol.codes import CODE_NAMES, Attr
from radius.protocol.duplicates import Source
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import DEFERRED, RECORD, Verdict

MAX_SECONDS = 3_600
MAX_PACKETS = 10_000
_MAX_TRACES = 8
_QUEUE = 500
_MAX_LEARNT = 32
_IDLE_S = 15.0

Event = dict[str, Any]

WORDS = {
    "unknown-nas": "no NAS is registered at this address",
    "duplicate": "sent again; it gets the same answer again",
    "in-flight": "sent again while the first is being worked on",
    DEFERRED: "the decision waits for something",
    RECORD: "answered when it is stored",
}
"""Results that come without a reason of their own, in words."""


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

    def __init__(self, target: Target, *, seconds: int, packets: int, forget: Callable[[Trace], None]) -> None:
        self.target = target
        self.seen = self.lost = 0
        self._left = packets
        self._until_s = time.monotonic() + seconds
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(_QUEUE)
        self._forget = forget
        self._why = "the trace was closed"

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

    def close(self) -> None:
        """Ends `events`, too."""
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


class Traces:
    """Every trace of this process. `watch` is called with the traces when the first opens, with None after the last."""

    def __init__(self, database: Database, clock: Clock, watch: Callable[[Traces | None], None]) -> None:
        self._database = database
        self._clock = clock
        self._watch = watch
        self._open: list[Trace] = []

    @property
    def is_watched(self) -> bool:
        return bool(self._open)

    async def open(self, text: str, *, seconds: int, packets: int, actor: str) -> Trace:
        """Audited. Raises RuleError for a target that cannot be, and when too many are open."""
        target = Target(text)
        if len(self._open) >= _MAX_TRACES:
            raise RuleError(f"{_MAX_TRACES} traces run already; end one of them")
        async with self._database.begin() as conn:
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="radius.trace",
                subject=f"trace:{text[:150]}",
                after={"seconds": seconds, "packets": packets},
            )
        trace = Trace(target, seconds=seconds, packets=packets, forget=self._forget)
        self._open.append(trace)
        self._watch(self)
        return trace

    def close(self) -> None:
        for trace in list(self._open):
            trace.close()

    def see(self, verdict: Verdict, source: Source, answers_later: bool = False) -> None:
        """The listener's tap. `answers_later`: the request was seen before, this is its answer."""
        packet, reply = verdict.packet, _decoded(verdict.reply)
        for trace in list(self._open):
            if not trace.target.means(packet, reply, source):
                continue
            if packet is not None:
                trace.target.learn_session(verdict.nas, packet)
            if not answers_later:
                trace.add(self._event("in", verdict, packet, source, reply is None))
            if reply is not None:
                trace.add(self._event("out", verdict, reply, source, True))

    def see_dynamic(self, nas: Nas, datagram: bytes, outcome: CoaOutcome) -> None:
        """A CoA or Disconnect that was sent, and what came of it."""
        sent = _decoded(datagram)
        for trace in list(self._open):
            if sent is None or not trace.target.means_session(nas, sent):
                continue
            cause = "" if outcome.error_cause is None else _cause(outcome.error_cause)
            verdict = Verdict(
                outcome.result, nas, sent.code, None, sent, " ".join(filter(None, (cause, outcome.detail)))
            )
            trace.add(self._event("out", verdict, sent, (nas.address, nas.coa_port), True))

    def _event(self, direction: str, verdict: Verdict, packet: Packet | None, source: Source, told: bool) -> Event:
        code = 0 if packet is None else packet.code
        return {
            "at": self._clock.now().isoformat(timespec="milliseconds"),
            "direction": direction,
            "peer": f"{source[0]}:{source[1]}",
            "nas": None if verdict.nas is None else verdict.nas.name,
            "code": CODE_NAMES.get(code, f"code {code}") if packet is not None else "unreadable",
            "identifier": None if packet is None else packet.identifier,
            "result": verdict.result if told else "",
            "reason": (verdict.reason or WORDS.get(verdict.result, "")) if told else "",
            "attributes": [] if packet is None else [list(line) for line in dictionary.describe(packet)],
        }

    def _forget(self, trace: Trace) -> None:
        if trace in self._open:
            self._open.remove(trace)
        if not self._open:
            self._watch(None)


def _decoded(datagram: bytes | None) -> Packet | None:
    if datagram is None:
        return None
    try:
        return Packet.decode(datagram)
    except PeerError:  # ours always decode; an operator's view must not be what ends a drain
        return None


def _cause(number: int) -> str:
    return f"Error-Cause {number} ({dictionary.value_name('Error-Cause', number)})"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _mac(text: str) -> str | None:
    digits = station(text)
    return digits if len(digits) == 12 and len(text) <= 17 else None

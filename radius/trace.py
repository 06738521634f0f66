"""A live trace of one subscriber's packets: both directions, decoded by name, with the reason of every reject and drop.

    UDP, TLS, home servers ─ every packet ─► Traces ─ about somebody watched? ─► Trace ─ bounded queue ─► operator
    other processes ─ theirs, through the database (radius.trace_sharing) ────────►┘

While nobody traces, the listener's `tap` is None: that comparison is all that a packet pays. A trace ends by itself,
after some time or so many packets; one that is read too slowly loses packets and says how many. Passwords, and what
they could be guessed from, read *** (radius.protocol.dictionary).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from controller.domain.clock import Clock
from controller.domain.errors import PeerError, RuleError
from controller.domain.identity import new_id
from controller.domain.ports import CoaOutcome
from controller.store import audit
from controller.store.engine import Database
from radius.ports import LiveSession
from radius.protocol import dictionary
from radius.protocol.codes import ACCOUNTING_REQUEST, CODE_NAMES
from radius.protocol.duplicates import Source
from radius.protocol.hidden import Attributes
from radius.protocol.nas import Nas
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet, encode, encode_attributes
from radius.protocol.server import DEFERRED, RECORD, Verdict
from radius.proxy.model import TLS, HomeServer
from radius.proxy.upstream import Reply
from radius.trace_sharing import Sharing
from radius.tracing import Event, Target, Trace

_MAX_TRACES = 8

WORDS = {
    "unknown-nas": "no NAS is registered at this address",
    "duplicate": "sent again; it gets the same answer again",
    "in-flight": "sent again while the first is being worked on",
    DEFERRED: "the decision waits for something",
    RECORD: "answered when it is stored",
}
"""Results that come without a reason of their own, in words."""


class Traces:
    """Every trace of this process. `watch` is called with the traces when the first opens, with None after the last."""

    def __init__(self, database: Database, clock: Clock, watch: Callable[[Traces | None], None]) -> None:
        self.sharing = Sharing(database, clock, self.collect)
        self._database = database
        self._clock = clock
        self._watch = watch
        self._open: list[Trace] = []

    @property
    def is_watched(self) -> bool:
        return bool(self._open)

    async def open(self, text: str, *, seconds: int, packets: int, actor: str) -> Trace:
        """Audited. Raises RuleError for a target that cannot be, and when too many are open."""
        target, now = Target(text), self._clock.now()
        if len(self._open) >= _MAX_TRACES:
            raise RuleError(f"{_MAX_TRACES} traces run already; end one of them")
        trace = Trace(target, seconds=seconds, packets=packets, forget=self._forget, trace_id=new_id(now))
        async with self._database.begin() as conn:
            await self.sharing.announce(conn, trace, until=now + timedelta(seconds=seconds), packets=packets)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="radius.trace",
                subject=f"trace:{text[:150]}",
                after={"seconds": seconds, "packets": packets},
            )
        self._join(trace)
        return trace

    def collect(self, trace_id: str, text: str, *, seconds: float, packets: int) -> Trace:
        """A trace that an operator opened at another process: what this one sees of it."""
        trace = Trace(Target(text), seconds=seconds, packets=packets, forget=self._forget, trace_id=trace_id)
        self._join(trace)
        return trace

    def _join(self, trace: Trace) -> None:
        self._open.append(trace)
        self._watch(self)

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

    def see_session(self, nas: Nas, session: LiveSession) -> None:
        """A session that is about to be asked for something: of what is sent, its id alone may tell whose it is."""
        for trace in list(self._open):
            trace.target.know_session(nas, session.username, session.framed_ipv4, session.acct_session_id)

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
            event = self._event("out", verdict, sent, (nas.asked_at, nas.coa_port), True)
            trace.add(event | ({"peer": f"{nas.address} over its TLS connection"} if nas.is_asked_over_tls else {}))

    def see_forwarded(
        self, server: HomeServer, code: int, attributes: Attributes, reply: Reply | None, problem: str
    ) -> None:
        """A request that was sent on to a home server, and its answer or why there was none."""
        sent, answer = _made(code, attributes), None if reply is None else _made(reply.code, reply.attributes)
        is_accounting = code == ACCOUNTING_REQUEST and server.transport != TLS
        peer = (server.host, server.acct_port if is_accounting else server.auth_port)
        words = f"to home server {server.name} over {server.transport}" + (f": {problem}" if problem else "")
        went = Verdict("forwarded" if problem == "" else "no-answer", None, code, None, sent, words)
        came = Verdict("answered", None, code, None, answer, f"by home server {server.name}")
        for trace in list(self._open):
            if sent is None or not trace.target.means(sent, answer, peer):
                continue
            trace.add(self._event("out", went, sent, peer, True))
            if answer is not None:
                trace.add(self._event("in", came, answer, peer, True))

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


def _made(code: int, attributes: Attributes) -> Packet | None:
    """A packet of these attributes, which travelled in another form."""
    try:
        return Packet.decode(encode(code, 0, ZERO_AUTHENTICATOR, encode_attributes(attributes)))
    except (PeerError, ValueError):  # as above
        return None


def _cause(number: int) -> str:
    return f"Error-Cause {number} ({dictionary.value_name('Error-Cause', number)})"

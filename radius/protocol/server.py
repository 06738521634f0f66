"""The two server ports as state machines: a datagram goes in, a verdict comes out, nothing is sent and nothing awaited.

    datagram ─ known NAS? ─ lengths ─ authenticators ─ seen before? ─┬─ Access-Request → decide → reply
                  │            │            │               │        ├─ Status-Server → reply (RFC 5997)
                  └────────────┴─ dropped ──┘          same octets   └─ Accounting-Request → "record": the caller has it
                                                       again                stored, then asks for the response

A decision that must wait for something (a pool, a count of live sessions, a home server) is `Deferred`: the caller
awaits it and asks for the `answer`; meanwhile retransmissions are "in-flight".

Whoever cannot be verified gets no answer at all (RFC 2865 §3); every verdict names its reason for the counters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import final

from controller.domain.errors import PeerError
from radius.protocol import rotation
from radius.protocol.authenticator import MESSAGE_AUTHENTICATOR_LENGTH
from radius.protocol.codes import (
    ACCESS_ACCEPT,
    ACCESS_REJECT,
    ACCESS_REQUEST,
    ACCOUNTING_REQUEST,
    ACCOUNTING_RESPONSE,
    CODE_NAMES,
    STATUS_SERVER,
    Attr,
)
from radius.protocol.duplicates import PENDING, Duplicates, InFlight, Source, key_of
from radius.protocol.nas import Nas, Rotation
from radius.protocol.packet import HEADER_LENGTH, MAX_LENGTH, ZERO_AUTHENTICATOR, Packet, attribute

_PROXY_STATE = int(Attr.PROXY_STATE)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)

RECORD = "record"
"""Result of a verdict that asks the caller to store the packet."""
STATUS = "status"
"""Status-Server. On the accounting port the caller answers with `respond`, when it has seen the storage commit."""
DEFERRED = "deferred"
"""An Access-Request whose decision must be awaited: the verdict is a `DeferredVerdict`."""


class Decision:
    """What authorization decided: packet code, encoded reply attributes, a word for the counters, a reason in words.

    Like Verdict a plain class: a frozen dataclass would take longer to make than the password to check.
    """

    __slots__ = ("attributes", "code", "reason", "result")
    nas: Nas | None = None
    """The NAS with the secret that the reply is made with, where that is not the one it was asked under."""

    def __init__(self, code: int, attributes: bytes, result: str, reason: str = "") -> None:
        self.code = code
        self.attributes = attributes
        self.result = result
        self.reason = reason


class _Under(Decision):
    """A decision that was found under the other secret of a NAS that changes its own."""

    __slots__ = ("nas",)

    def __init__(self, decision: Decision, nas: Nas) -> None:
        super().__init__(decision.code, decision.attributes, decision.result, decision.reason)
        self.nas = nas


@final
class Deferred:
    """A decision that is not made yet. `decide` is awaited once; what it raises leaves the NAS to retransmit."""

    __slots__ = ("decide",)

    def __init__(self, decide: Callable[[], Awaitable[Decision]]) -> None:
        self.decide = decide


Answer = Decision | Deferred
Decide = Callable[[Packet, Nas], Answer]


def then(answer: Answer, finish: Callable[[Decision], Decision]) -> Answer:
    """What `finish` makes of a decision, now or when it is made."""
    if not isinstance(answer, Deferred):
        return finish(answer)
    decide = answer.decide

    async def later() -> Decision:
        return finish(await decide())

    return Deferred(later)


class Verdict:
    """What became of one datagram. `reply` is to be sent to its source, None means silence.

    `result` is a short word ("accept", "reject", "duplicate", "unknown-nas", "authenticator" …), `reason` words for
    people, `packet` what was decoded, as far as it came.
    """

    __slots__ = ("code", "nas", "packet", "reason", "reply", "result")

    def __init__(
        self, result: str, nas: Nas | None, code: int, reply: bytes | None, packet: Packet | None, reason: str = ""
    ) -> None:
        self.result = result
        self.nas = nas
        self.code = code
        self.reply = reply
        self.packet = packet
        self.reason = reason

    def __repr__(self) -> str:
        return f"Verdict({self.result!r}, {CODE_NAMES.get(self.code, self.code)}, {self.reason!r})"


class DeferredVerdict(Verdict):
    """The caller awaits `decide()`, then asks the server for the `answer`, or has it `abandon` the request."""

    __slots__ = ("decide",)

    def __init__(self, nas: Nas, packet: Packet, decide: Callable[[], Awaitable[Decision]]) -> None:
        super().__init__(DEFERRED, nas, ACCESS_REQUEST, None, packet)
        self.decide = decide


class AuthenticationServer:
    """Port 1812. `registry` maps a source address to its NAS and may change at any time; `decide` is pure."""

    def __init__(self, registry: Mapping[str, Nas], decide: Decide, duplicates: Duplicates) -> None:
        self._registry = registry
        self._decide = decide
        self._duplicates = duplicates

    def receive(self, datagram: bytes, source: Source, now_s: float) -> Verdict:
        """Judge one datagram. Raises nothing: what the peer did wrong is in the verdict."""
        try:
            nas = self._registry[source[0]]
        except KeyError:
            return Verdict("unknown-nas", None, 0, None, None)
        packet, rotating = None, nas.rotation
        try:
            packet = Packet.decode(datagram)
            if rotating is not None:
                nas = rotation.spoken(packet, rotating)
            if packet.code == ACCESS_REQUEST:
                return self._access(packet, nas, source, now_s, rotating)
            if packet.code == STATUS_SERVER:
                _check_status(packet, nas)
                reply = _reply(ACCESS_ACCEPT, packet, nas, b"", True)
                return Verdict(STATUS, nas, STATUS_SERVER, reply, packet)
            raise PeerError("code", f"packet code {packet.code} on the authentication port")
        except PeerError as error:
            return _dropped(error, nas, packet)

    def _access(self, packet: Packet, nas: Nas, source: Source, now_s: float, rotating: Rotation | None) -> Verdict:
        signed = nas.secret.check_message_authenticator(packet)
        if signed:
            nas.seen.signed = True
        else:
            nas.seen.unsigned = True
            if nas.require_message_authenticator:
                raise PeerError("message-authenticator-missing", "this NAS must sign its requests")
            if _EAP_MESSAGE in packet.offsets:
                # "Access-Request packets including EAP-Message attribute(s) without a Message-Authenticator
                # attribute SHOULD be silently discarded" (RFC 3579 §3.1).
                raise PeerError("message-authenticator-missing", "EAP without Message-Authenticator")
            if nas.limit_proxy_state and _PROXY_STATE in packet.offsets:
                # What the reply repeats lets an attacker forge it (CVE-2024-3596).
                raise PeerError("proxy-state-unsigned", "this NAS must sign requests that carry Proxy-State")
        key = key_of(source, packet.data)
        known = self._duplicates.find(key, now_s)
        if known is not None:
            if known is PENDING:
                return Verdict("in-flight", nas, ACCESS_REQUEST, None, packet)
            return Verdict("duplicate", nas, ACCESS_REQUEST, known, packet)
        decision = self._decide(packet, nas)
        if rotating is not None and not signed:
            decision = self._by_either(decision, packet, nas, rotating)
            if isinstance(decision, Decision):
                nas = decision.nas or nas
        if type(decision) is Deferred:
            self._duplicates.keep(key, PENDING, now_s)
            return DeferredVerdict(nas, packet, decision.decide)
        reply = _reply(decision.code, packet, nas, decision.attributes, True)
        self._duplicates.keep(key, reply, now_s)
        return Verdict(decision.result, nas, ACCESS_REQUEST, reply, packet, decision.reason)

    def _by_either(self, first: Answer, packet: Packet, nas: Nas, rotating: Rotation) -> Answer:
        """A reject may be due to the secret: what the other one says counts then, unless it is a reject as well."""
        second = rotation.other(nas, rotating)

        async def later(answer: Answer) -> Decision:
            decision = await answer.decide() if isinstance(answer, Deferred) else answer
            if decision.code != ACCESS_REJECT:
                return decision
            again = self._decide(packet, second)
            found = await again.decide() if isinstance(again, Deferred) else again
            return decision if found.code == ACCESS_REJECT else _Under(found, second)

        if isinstance(first, Deferred):
            return Deferred(lambda: later(first))
        if first.code != ACCESS_REJECT:
            return first
        again = self._decide(packet, second)
        if isinstance(again, Deferred):
            return Deferred(lambda: later(first))
        return first if again.code == ACCESS_REJECT else _Under(again, second)

    def answer(self, verdict: DeferredVerdict, decision: Decision, source: Source) -> Verdict:
        """What a deferred request is told at last; its retransmissions get the same octets. Raises nothing."""
        packet, nas = verdict.packet, decision.nas or verdict.nas
        assert packet is not None, "what was deferred was decoded"
        assert nas is not None, "what was deferred came from a NAS"
        try:
            reply = _reply(decision.code, packet, nas, decision.attributes, True)
        except PeerError as error:
            self.abandon(verdict, source)
            return _dropped(error, nas, packet)
        self._duplicates.answer(key_of(source, packet.data), reply)
        return Verdict(decision.result, nas, ACCESS_REQUEST, reply, packet, decision.reason)

    def abandon(self, verdict: DeferredVerdict, source: Source) -> None:
        """Nothing was decided: let the retransmission of the request be a new one."""
        packet = verdict.packet
        assert packet is not None, "what was deferred was decoded"
        self._duplicates.forget(key_of(source, packet.data))


class AccountingServer:
    """Port 1813. A verdict "record" obliges the caller to store the packet and then to send `respond`'s octets."""

    def __init__(self, registry: Mapping[str, Nas], in_flight: InFlight) -> None:
        self._registry = registry
        self._in_flight = in_flight

    def receive(self, datagram: bytes, source: Source, now_s: float) -> Verdict:
        """Judge one datagram. Raises nothing: what the peer did wrong is in the verdict."""
        try:
            nas = self._registry[source[0]]
        except KeyError:
            return Verdict("unknown-nas", None, 0, None, None)
        packet = None
        try:
            packet = Packet.decode(datagram)
            if nas.rotation is not None:
                nas = rotation.spoken(packet, nas.rotation)
            if packet.code == ACCOUNTING_REQUEST:
                return self._account(packet, nas, now_s)
            if packet.code == STATUS_SERVER:
                _check_status(packet, nas)
                return Verdict(STATUS, nas, STATUS_SERVER, None, packet)
            raise PeerError("code", f"packet code {packet.code} on the accounting port")
        except PeerError as error:
            return _dropped(error, nas, packet)

    def _account(self, packet: Packet, nas: Nas, now_s: float) -> Verdict:
        nas.secret.check_request_authenticator(packet)
        if _MESSAGE_AUTHENTICATOR in packet.offsets:
            # Not needed beside a Request Authenticator that covers the packet; one that is there must hold. It was
            # computed before the authenticator, over 16 zero octets in its place.
            nas.secret.check_message_authenticator(packet, ZERO_AUTHENTICATOR)
        result = RECORD if self._in_flight.claim(packet.authenticator, nas.nas_id, now_s) else "in-flight"
        return Verdict(result, nas, ACCOUNTING_REQUEST, None, packet)

    def respond(self, packet: Packet, nas: Nas) -> bytes:
        """The Accounting-Response to a packet that is now stored; its retransmissions get the same octets.

        Status-Server is answered by an Accounting-Response too (RFC 5997 §4.1), each time anew.
        """
        if packet.code == STATUS_SERVER:
            return _reply(ACCOUNTING_RESPONSE, packet, nas, b"", True)
        self._in_flight.end(packet.authenticator)
        return packet.reply or _reply(ACCOUNTING_RESPONSE, packet, nas, b"", False)

    def nas_of(self, source: Source) -> Nas | None:
        """Who speaks from this address; None when it was taken out of the registry."""
        return self._registry.get(source[0])

    def refuse(self, packet: Packet) -> None:
        """The packet could not be stored: let its retransmission be a new one."""
        self._in_flight.end(packet.authenticator)


def make_ready(packet: Packet, nas: Nas) -> None:
    """Make the Accounting-Response to `packet`, which `AccountingServer.respond` gives out once it is stored."""
    packet.reply = _reply(ACCOUNTING_RESPONSE, packet, nas, b"", False)


def _reply(code: int, packet: Packet, nas: Nas, attributes: bytes, signed: bool) -> bytes:
    # "The server MUST include any Proxy-State attributes, unmodified and in the same order" (RFC 2865 §5.33).
    if _PROXY_STATE in packet.offsets:
        attributes += b"".join(attribute(_PROXY_STATE, value) for value in packet.get_all(_PROXY_STATE))
        length = HEADER_LENGTH + len(attributes) + (MESSAGE_AUTHENTICATOR_LENGTH if signed else 0)
        if length > MAX_LENGTH:
            # "The maximum length is 4096" (RFC 2865 §3), and no Proxy-State may be left out.
            raise PeerError("length", f"the answer with its Proxy-State would have {length} octets")
    return nas.secret.response(code, packet, attributes, signed=signed)


def _check_status(packet: Packet, nas: Nas) -> None:
    # "Status-Server packets MUST include a Message-Authenticator attribute" (RFC 5997 §3).
    if not nas.secret.check_message_authenticator(packet):
        raise PeerError("message-authenticator-missing", "Status-Server without Message-Authenticator")


def _dropped(error: PeerError, nas: Nas, packet: Packet | None) -> Verdict:
    return Verdict(error.reason, nas, 0 if packet is None else packet.code, None, packet, error.detail)

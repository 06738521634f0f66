"""The EAP server of RFC 3748 behind a RADIUS port (RFC 3579): identity, choice of a method, its steps, the end.

    EAP-Start ─────────► Request/Identity
    Response/Identity ─► Request of the first method that we offer
    Response/Nak ──────► Request of the method that both want, once each; Failure when there is none
    Response ──────────► the method's next Request │ Success in Access-Accept │ Failure in Access-Reject

A step that costs milliseconds of processor is made in one of two threads, and the answer is deferred until then.

What authenticates a session is the method; whether the proved identity may have a session, and with which attributes,
`admit` says. Packets that RFC 3748 wants silently discarded raise PeerError and get no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from controller.domain.errors import PeerError
from radius.authorization import mppe
from radius.authorization.eap.method import Context, Continue, Failure, Later, Offer, Step, Success
from radius.authorization.eap.packet import (
    FAILURE,
    IDENTITY,
    NAK,
    REQUEST,
    RESPONSE,
    SUCCESS,
    TYPE_NAMES,
    EapPacket,
    join,
    split,
)
from radius.authorization.eap.sessions import EapSession, EapSessions
from radius.protocol.cause import Cause, cause_of
from radius.protocol.codes import ACCESS_CHALLENGE, ACCESS_REJECT, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, attribute
from radius.protocol.server import Decision, Deferred

_STATE = int(Attr.STATE)
_USER_NAME = int(Attr.USER_NAME)
_FRAMED_MTU = int(Attr.FRAMED_MTU)
MAX_MTU = 1_400
"""Longest EAP packet in octets that we send: with its attributes it fits one Ethernet frame to the NAS, too."""
_MIN_MTU = 256
_THREADS = 2
"""More would only take turns: the processor is the limit, and one core is the event loop's."""


class Admit(Protocol):
    """Whether a proved identity may have a session now. `accept` and `reject` are attributes to add to either reply."""

    def __call__(
        self, identity: bytes, packet: Packet, nas: Nas, *, accept: bytes, reject: bytes
    ) -> Decision | Deferred: ...


class EapServer:
    """`methods` maps the Type to what makes a run of it, in the order in which they are proposed."""

    def __init__(
        self,
        methods: Mapping[int, Offer],
        sessions: EapSessions,
        admit: Admit,
        now_s: Callable[[], float],
    ) -> None:
        self._methods = methods
        self._sessions = sessions
        self._admit = admit
        self._now_s = now_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="eap")

    def decide(self, packet: Packet, nas: Nas) -> Decision | Deferred:
        """The answer to an Access-Request with EAP-Message. Raises PeerError for what gets none.

        The caller has verified that the request bears a Message-Authenticator (RFC 3579 §3.1).
        """
        octets = join(packet)
        assert octets is not None, "only requests with EAP-Message come here"
        state = packet.get(_STATE)
        if not octets:
            return self._ask_identity(nas)
        response = EapPacket.decode(octets)
        if response.code != RESPONSE:
            raise PeerError("eap-code", f"EAP code {response.code} from a peer")
        if state is None:
            return self._begin(response, octets, packet, nas)
        session = self._sessions.find(state, nas, self._now_s())
        if session is None:
            # Not silence: the NAS would ask until its timer ends, and the peer begins anew only after a Failure.
            return _failed(response.identifier, "EAP conversation unknown: it expired, or began at another process")
        return self._go_on(session, response, octets, packet, nas)

    def _ask_identity(self, nas: Nas) -> Decision:
        session = self._sessions.begin(nas, self._now_s())
        return _challenge(session, EapPacket(REQUEST, session.outstanding, IDENTITY))

    def _begin(self, response: EapPacket, octets: bytes, packet: Packet, nas: Nas) -> Decision | Deferred:
        if response.kind != IDENTITY:
            raise PeerError("eap-type", f"a conversation begins with type {response.kind} and no State")
        session = self._sessions.begin(nas, self._now_s())
        session.outstanding = response.identifier
        return self._go_on(session, response, octets, packet, nas)

    def _go_on(
        self, session: EapSession, response: EapPacket, octets: bytes, packet: Packet, nas: Nas
    ) -> Decision | Deferred:
        if octets == session.last_response and session.last_step is not None:
            return self._answer(session, session.last_step, response, packet, nas)
        if session.busy:
            raise PeerError("eap-busy", "a Response while the former one is worked on")
        if response.identifier != session.outstanding or isinstance(session.last_step, Success | Failure):
            # "If the Identifier … does not match … the authenticator MUST silently discard" (RFC 3748 §4.1).
            raise PeerError("eap-identifier", f"identifier {response.identifier}, not {session.outstanding}")
        if session.identity is not None and packet.get(_USER_NAME) not in (session.identity, None):
            step: Step | Later = Failure("User-Name changed within the EAP conversation")
        else:
            step = self._step(session, response, packet)
        if isinstance(step, Later):
            return self._later(session, step, response, octets, packet, nas)
        return self._take(session, step, response, octets, packet, nas)

    def _later(
        self, session: EapSession, step: Later, response: EapPacket, octets: bytes, packet: Packet, nas: Nas
    ) -> Deferred:
        session.busy = True

        async def made() -> Decision:
            try:
                ready = await asyncio.get_running_loop().run_in_executor(self._threads, step.done)
            except BaseException:
                # The thread may still be at work in the method: nobody may use it any more.
                session.method, session.last_response = None, octets
                session.last_step = Failure("the EAP step was given up")
                raise
            finally:
                session.busy = False
            decision = self._take(session, ready, response, octets, packet, nas)
            return await decision.decide() if isinstance(decision, Deferred) else decision

        return Deferred(made)

    def _take(
        self, session: EapSession, step: Step, response: EapPacket, octets: bytes, packet: Packet, nas: Nas
    ) -> Decision | Deferred:
        session.last_response, session.last_step = octets, step
        if isinstance(step, Continue):
            session.outstanding = (response.identifier + 1) & 0xFF
        else:
            session.method = None
        return self._answer(session, step, response, packet, nas)

    def _step(self, session: EapSession, response: EapPacket, packet: Packet) -> Step | Later:
        if session.identity is None:
            if response.kind != IDENTITY:
                raise PeerError("eap-type", f"type {response.kind} instead of an identity")
            # The NAS MUST copy the identity into User-Name of every request (RFC 3579 §2.1): what routes and binds a
            # session must be what the peer said.
            if packet.get(_USER_NAME) not in (response.data, None):
                return Failure("User-Name is not the EAP identity")
            session.identity = response.data
            return self._propose(session, list(self._methods), packet)
        if response.kind == NAK:
            # "The Nak … MUST NOT be sent … except in response to an initial Request" (RFC 3748 §5.3.1).
            if session.started:
                raise PeerError("eap-type", "Nak after the method had begun")
            return self._propose(session, response.wanted(), packet)
        if response.kind != session.kind or session.method is None:
            raise PeerError("eap-type", f"type {response.kind} in a run of type {session.kind}")
        step = session.method.respond(response)
        session.started = True
        return step

    def _propose(self, session: EapSession, wanted: list[int], packet: Packet) -> Step:
        """The first of our methods that the peer wants and has not refused; each is proposed once."""
        assert session.identity is not None, "methods are proposed to a known identity"
        for kind, make in self._methods.items():
            if kind in wanted and kind not in session.tried:
                session.tried.add(kind)
                method = make(Context(session.identity, _mtu(packet), session.nas))
                if method is not None:
                    session.kind, session.method = kind, method
                    return method.start()
        names = ", ".join(TYPE_NAMES.get(kind, str(kind)) for kind in wanted) or "none"
        return Failure(Cause.NO_METHOD.because(f"no EAP method in common: the peer wants {names}"))

    def _answer(
        self, session: EapSession, step: Step, response: EapPacket, packet: Packet, nas: Nas
    ) -> Decision | Deferred:
        if isinstance(step, Continue):
            request = EapPacket(REQUEST, session.outstanding, session.kind, step.data)
            return _challenge(session, request, step.problem)
        if isinstance(step, Failure):
            return _failed(response.identifier, step.reason)
        assert session.identity is not None, "only an identified peer succeeds"
        identity = session.identity if step.identity is None else step.identity
        # "The Identifier field MUST match the Identifier field of the Response packet" (RFC 3748 §4.2).
        success = split(EapPacket(SUCCESS, response.identifier).encode())
        keys = mppe.msk_attributes(step.msk, nas.secret, packet)
        name = b""
        if identity != session.identity:
            # What the NAS is to call the session from now on, in accounting and towards us (RFC 2865 §5.1): the name
            # outside a tunnel may be anybody's.
            name = attribute(_USER_NAME, identity)
        failure = split(EapPacket(FAILURE, response.identifier).encode())
        return self._admit(identity, packet, nas, accept=success + keys + name, reject=failure)


def _mtu(packet: Packet) -> int:
    """Framed-MTU less the EAPOL header it includes (RFC 3579 §2.4), within what one frame to the NAS carries."""
    framed = packet.integer(_FRAMED_MTU)
    return MAX_MTU if framed is None else max(_MIN_MTU, min(framed - 4, MAX_MTU))


def _challenge(session: EapSession, request: EapPacket, problem: str = "") -> Decision:
    attributes = attribute(_STATE, session.state) + split(request.encode())
    return Decision(ACCESS_CHALLENGE, attributes, "alert" if problem else "challenge", problem)


def _failed(identifier: int, reason: str) -> Decision:
    if cause_of(reason) is Cause.OTHER:
        reason = Cause.EAP.because(reason)
    return Decision(ACCESS_REJECT, split(EapPacket(FAILURE, identifier).encode()), "reject", reason)

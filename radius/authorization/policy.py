"""The decision on an Access-Request: accepted with the plan's attributes, or rejected for a reason in words.

The reason is for operators. It is not sent to the subscriber: an answer that tells an unknown name from a wrong
password helps whoever guesses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from radius.authorization import chap, pap
from radius.authorization.admission import Admission, rejection
from radius.authorization.directory import Directory, Subscriber
from radius.authorization.eap.method import Offer
from radius.authorization.eap.outcomes import EapOutcomes
from radius.authorization.eap.server import EapServer
from radius.authorization.eap.sessions import EapSessions
from radius.authorization.line_logins import LineLogins
from radius.authorization.mschap import MsChap
from radius.authorization.password import HashedPassword
from radius.authorization.password_change import PasswordChange, Store
from radius.protocol.cause import Cause
from radius.protocol.codes import ACCESS_ACCEPT, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import Answer, Decision, Deferred

_USER_NAME = int(Attr.USER_NAME)
_USER_PASSWORD = int(Attr.USER_PASSWORD)
_CHAP_PASSWORD = int(Attr.CHAP_PASSWORD)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)


NO_USER_NAME = rejection(Cause.NO_USER_NAME)
UNKNOWN_USER = rejection(Cause.UNKNOWN_USER)
WRONG_PASSWORD = rejection(Cause.WRONG_PASSWORD)
NO_CREDENTIALS = rejection(
    Cause.NO_METHOD.because("no User-Password, CHAP-Password, MS-CHAP response or EAP-Message: no method we serve")
)
NEEDS_CLEAR = rejection(Cause.TOO_LITTLE_KEPT.because("CHAP needs the clear password, and less is kept of this one"))


class Policy:
    """Decides from the directory; pure but for that look-up and the EAP conversations under way."""

    def __init__(
        self,
        directory: Directory,
        admission: Admission,
        eap_methods: Mapping[int, Offer] | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        store_password: Store | None = None,
    ) -> None:
        """`store_password` keeps one that a peer changed; without it every such wish is refused."""
        self._find = directory.find
        self._admission = admission
        self.eap_sessions = EapSessions()
        self.eap_outcomes = EapOutcomes()
        self._lines = LineLogins(directory.holder_of, admission)
        self._resolve = directory.resolve
        change = None if store_password is None else PasswordChange(self._resolve, store_password)
        self._ms_chap = MsChap(self._resolve, admission.admit, change)
        self._eap = EapServer(eap_methods or {}, self.eap_sessions, self._admit_identity, now_s)

    def decide(self, packet: Packet, nas: Nas) -> Answer:
        """Raises PeerError when the credentials are malformed: such a packet gets no answer."""
        name = packet.get(_USER_NAME)
        hidden, chap_password = packet.get(_USER_PASSWORD), packet.get(_CHAP_PASSWORD)
        if hidden is None and chap_password is None:
            return self._by_extension(packet, nas, name)
        if name is None:
            return NO_USER_NAME
        subscriber = self._find(name) or self._resolve(name)
        if subscriber is None:
            return self._by_line(packet, nas) or UNKNOWN_USER
        password = subscriber.password
        # "An Access-Request MUST NOT contain both a User-Password and a CHAP-Password" (RFC 2865 §4.1): the stronger
        # claim is the one that counts then, and it must hold.
        if chap_password is not None:
            if type(password) is not bytes:
                return NEEDS_CLEAR
            right = chap.matches(packet, chap_password, password)
        else:
            assert hidden is not None, "one of the two is there"
            if type(password) is HashedPassword:
                return self._by_hash(packet, nas, subscriber, password, hidden)
            right = pap.matches(packet, hidden, nas, password)
        if not right:
            return WRONG_PASSWORD
        if subscriber.plan.guard is not None:
            return self._admission.admit(subscriber, packet, nas)
        return Decision(ACCESS_ACCEPT, subscriber.plan.attributes(nas) + subscriber.attributes, "accept")

    def _by_hash(
        self, packet: Packet, nas: Nas, subscriber: Subscriber, password: HashedPassword, hidden: bytes
    ) -> Answer:
        """PAP against argon2: at once for the password that was right before, else in a thread."""
        claimed = nas.secret.reveal(hidden, packet.authenticator)
        if password.remembers(claimed):
            return self._admission.admit(subscriber, packet, nas)

        async def verified() -> Decision:
            if not await asyncio.to_thread(password.verify, claimed):
                return WRONG_PASSWORD
            answer = self._admission.admit(subscriber, packet, nas)
            return await answer.decide() if type(answer) is Deferred else answer

        return Deferred(verified)

    def _by_extension(self, packet: Packet, nas: Nas, name: bytes | None) -> Answer:
        """Methods that came after RFC 2865."""
        if _EAP_MESSAGE in packet.offsets:
            return self.eap_outcomes.counted(self._eap.decide(packet, nas), packet)
        answer = None if name is None else self._ms_chap.decide(packet, nas, name)
        if answer is None:
            answer = self._by_line(packet, nas)
        return answer or (NO_USER_NAME if name is None else NO_CREDENTIALS)

    def _by_line(self, packet: Packet, nas: Nas) -> Answer | None:
        return self._lines.decide(packet, nas) if nas.line_logins else None

    def _admit_identity(
        self, identity: bytes, packet: Packet, nas: Nas, *, accept: bytes, reject: bytes
    ) -> Decision | Deferred:
        subscriber = self._resolve(identity)
        if subscriber is None:
            return rejection(UNKNOWN_USER.reason, reject)
        return self._admission.admit(subscriber, packet, nas, accept=accept, reject=reject)

"""The decision on an Access-Request: accepted with the plan's attributes, or rejected for a reason in words.

The reason is for operators. It is not sent to the subscriber: an answer that tells an unknown name from a wrong
password helps whoever guesses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from radius.authorization import chap, pap
from radius.authorization.directory import Directory
from radius.authorization.eap.method import MethodFactory
from radius.authorization.eap.server import EapServer
from radius.authorization.eap.sessions import EapSessions
from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet
from radius.protocol.server import Decision, Deferred

_USER_NAME = int(Attr.USER_NAME)
_USER_PASSWORD = int(Attr.USER_PASSWORD)
_CHAP_PASSWORD = int(Attr.CHAP_PASSWORD)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)


def _rejection(reason: str, attributes: bytes = b"") -> Decision:
    return Decision(ACCESS_REJECT, attributes, "reject", reason)


NO_USER_NAME = _rejection("no User-Name")
UNKNOWN_USER = _rejection("unknown user")
WRONG_PASSWORD = _rejection("wrong password")
NO_CREDENTIALS = _rejection("neither User-Password nor CHAP-Password nor EAP-Message: no method we serve")
DISABLED = _rejection("the service is not enabled")


class Policy:
    """Decides from the directory; pure but for that look-up and the EAP conversations under way."""

    def __init__(
        self,
        directory: Directory,
        eap_methods: Mapping[int, MethodFactory] | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = directory.find
        self.eap_sessions = EapSessions()
        self._eap = EapServer(eap_methods or {}, self.eap_sessions, self._admit_identity, now_s)

    def decide(self, packet: Packet, nas: Nas) -> Decision | Deferred:
        """Raises PeerError when the credentials are malformed: such a packet gets no answer."""
        name = packet.get(_USER_NAME)
        hidden, chap_password = packet.get(_USER_PASSWORD), packet.get(_CHAP_PASSWORD)
        if hidden is None and chap_password is None and _EAP_MESSAGE in packet.offsets:
            return self._eap.decide(packet, nas)
        if name is None:
            return NO_USER_NAME
        subscriber = self._find(name)
        if subscriber is None:
            return UNKNOWN_USER
        # "An Access-Request MUST NOT contain both a User-Password and a CHAP-Password" (RFC 2865 §4.1): the stronger
        # claim is the one that counts then, and it must hold.
        if chap_password is not None:
            right = chap.matches(packet, chap_password, subscriber.password)
        elif hidden is not None:
            right = pap.matches(packet, hidden, nas, subscriber.password)
        else:
            return NO_CREDENTIALS
        if not right:
            return WRONG_PASSWORD
        if not subscriber.enabled:
            return DISABLED
        return Decision(ACCESS_ACCEPT, subscriber.plan.attributes(nas) + subscriber.attributes, "accept")

    def _admit_identity(self, identity: bytes, packet: Packet, nas: Nas, *, accept: bytes, reject: bytes) -> Decision:
        subscriber = self._find(identity)
        if subscriber is None:
            return _rejection(UNKNOWN_USER.reason, reject)
        if not subscriber.enabled:
            return _rejection(DISABLED.reason, reject)
        attributes = accept + subscriber.plan.attributes(nas) + subscriber.attributes
        return Decision(ACCESS_ACCEPT, attributes, "accept")

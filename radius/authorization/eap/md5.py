"""EAP-MD5 (RFC 3748 §5.4): CHAP inside EAP. It proves the peer only, makes no keys, and needs the clear password.

Request   Value-Size ‖ challenge
Response  Value-Size 16 ‖ MD5(Identifier ‖ password ‖ challenge) ‖ Name
"""

from __future__ import annotations

import secrets
from hmac import compare_digest

from controller.domain.errors import PeerError
from radius.authorization.directory import Find
from radius.authorization.eap.method import Context, Continue, Failure, MethodFactory, Step, Success
from radius.authorization.eap.packet import EapPacket
from radius.protocol.authenticator import chap_response
from radius.protocol.cause import Cause

CHALLENGE_LENGTH = 16


class Md5Challenge:
    """One run. An unknown name is challenged like a known one: the peer learns nothing before the end."""

    def __init__(self, find: Find, context: Context, challenge: bytes) -> None:
        self._find = find
        self._identity = context.identity
        self._challenge = challenge

    def start(self) -> Step:
        return Continue(bytes((len(self._challenge),)) + self._challenge)

    def respond(self, response: EapPacket) -> Step:
        """Raises PeerError "eap-md5" for a value that is no MD5 digest."""
        data = response.data
        if len(data) < 17 or data[0] != 16:
            raise PeerError("eap-md5", f"{len(data)} octets with a Value-Size of {data[0] if data else 'none'}")
        subscriber = self._find(self._identity)
        if subscriber is None:
            return Failure(Cause.UNKNOWN_USER)
        if type(subscriber.password) is not bytes:
            words = "EAP-MD5 needs the clear password, and less is kept of this one"
            return Failure(Cause.TOO_LITTLE_KEPT.because(words))
        expected = chap_response(response.identifier, subscriber.password, self._challenge)
        return Success() if compare_digest(expected, data[1:17]) else Failure(Cause.WRONG_PASSWORD)


def factory(find: Find) -> MethodFactory:
    return lambda context: Md5Challenge(find, context, secrets.token_bytes(CHALLENGE_LENGTH))

"""MS-CHAP in RADIUS (RFC 2548 §2.1, §2.3, §2.4): both versions, their answers, errors and MPPE keys.

    request   MS-CHAP-Challenge · MS-CHAP-Response (version 1) or MS-CHAP2-Response (version 2)
    accept    version 1: MS-CHAP-MPPE-Keys     version 2: MS-CHAP2-Success · MS-MPPE-Send-Key · MS-MPPE-Recv-Key
    reject    MS-CHAP-Error "E=691 R=1 C=…": the peer may try once more, under the challenge that stands in it

LM responses are not served: what they prove, a pocket calculator finds out. A password that has expired (error 648) may
be changed by version 2 (see `password_change`); any other wish to change one is refused with error 709.
"""

from __future__ import annotations

import secrets
from typing import Protocol

from controller.domain.errors import PeerError
from radius.authorization.directory import Find, Subscriber
from radius.authorization.mppe import MICROSOFT, key_attributes
from radius.authorization.password_change import PasswordChange, Wish
from radius.protocol.cause import Cause, cause_of
from radius.protocol.codes import ACCESS_REJECT, Attr
from radius.protocol.mschap import NtPassword, challenge_hash, lm_hash
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet, vendor_attribute
from radius.protocol.server import Answer, Decision, Deferred, then

RESPONSE, ERROR, CHANGE_1, CHANGE_2, CHALLENGE, MPPE_KEYS = 1, 2, 3, 4, 11, 12
ENCRYPTION_POLICY, ENCRYPTION_TYPES, RESPONSE_2, SUCCESS_2, CHANGE_3 = 7, 8, 25, 26, 27
"""Vendor types of Microsoft (RFC 2548 §2)."""

RESTRICTED_HOURS, DISABLED, EXPIRED, NO_PERMISSION, FAILED, CANNOT_CHANGE = 646, 647, 648, 649, 691, 709
"""Error codes of RFC 2433 §6 and RFC 2759 §6."""

_VENDOR_SPECIFIC = int(Attr.VENDOR_SPECIFIC)
_PREFIX = MICROSOFT.to_bytes(4, "big")
_VALUE_LENGTH = 50
_USE_NT = 1
# Encryption allowed, with keys of 128 bits: those of 40 and 56 can be searched through (RFC 2548 §2.4.4, §2.4.5).
_MPPE = vendor_attribute(MICROSOFT, ENCRYPTION_POLICY, b"\0\0\0\1") + vendor_attribute(
    MICROSOFT, ENCRYPTION_TYPES, b"\0\0\0\4"
)
_UNKNOWN = Decision(ACCESS_REJECT, b"", "reject", Cause.UNKNOWN_USER)
_WRONG = Decision(ACCESS_REJECT, b"", "reject", Cause.WRONG_PASSWORD)
_NO_HASH = Decision(
    ACCESS_REJECT,
    b"",
    "reject",
    Cause.TOO_LITTLE_KEPT.because("MS-CHAP needs the NT hash, and less is kept of this password"),
)
_NO_CHANGE = Decision(
    ACCESS_REJECT,
    b"",
    "reject",
    Cause.NOT_CHANGED.because("the peer wants to change its password, which is not done here"),
)
_CODES = {
    Cause.HOURS: RESTRICTED_HOURS,
    Cause.DISABLED: DISABLED,
    Cause.EXPIRED: EXPIRED,
    Cause.BOUND: NO_PERMISSION,
    Cause.NOT_CHANGED: CANNOT_CHANGE,
}
"""What MS-CHAP calls a cause; every other one reads like a wrong password."""
_SUCCESS_HEAD = bytes((_VENDOR_SPECIFIC, 51)) + _PREFIX + bytes((SUCCESS_2, 45))


def attributes(packet: Packet) -> dict[int, bytes]:
    """Microsoft's attributes in a request, the first of each type. Raises PeerError "ms-attribute" for broken ones."""
    data, found = packet.data, dict[int, bytes]()
    end = len(data)
    position = packet.offsets.get(_VENDOR_SPECIFIC, end)
    while position < end:
        following = position + data[position + 1]
        if data[position] == _VENDOR_SPECIFIC and data[position + 2 : position + 6] == _PREFIX:
            at = position + 6
            while at < following:
                if at + 1 == following or not 2 <= data[at + 1] <= following - at:
                    raise PeerError("ms-attribute", "a Microsoft attribute that does not fit its own length")
                found.setdefault(data[at], data[at + 2 : at + data[at + 1]])
                at += data[at + 1]
        position = following
    return found


class Admit(Protocol):
    """Whether a subscriber that proved itself may have a session; `accept` are attributes to add when it may."""

    def __call__(self, subscriber: Subscriber, packet: Packet, nas: Nas, *, accept: bytes) -> Answer: ...


class MsChap:
    """Decides requests that carry MS-CHAP."""

    def __init__(self, find: Find, admit: Admit, change: PasswordChange | None = None) -> None:
        self._find = find
        self._admit = admit
        self._change = change

    def decide(self, packet: Packet, nas: Nas, name: bytes) -> Answer | None:
        """None when there is no MS-CHAP in the request. Raises PeerError "ms-chap" and "ms-attribute"."""
        found = attributes(packet)
        attempt = _attempt(found, name)
        if attempt is not None:
            answer = self._judge(attempt, packet, nas, name)
            return then(answer, lambda decision: _explained(decision, attempt.version, attempt.identifier))
        if CHANGE_3 in found and self._change is not None:
            wish = Wish(found[CHANGE_3], found.get(CHALLENGE), packet, name)
            answer = self._changed(self._change, wish, packet, nas, name)
            return then(answer, lambda decision: _explained(decision, 2, wish.identifier))
        for kind, version in ((CHANGE_3, 2), (CHANGE_2, 1), (CHANGE_1, 1)):
            if kind in found:
                # The octet after Code, which stands first in all three (RFC 2548 §2.1.6, §2.1.7, §2.3.4).
                return _explained(_NO_CHANGE, version, found[kind][1:2].ljust(1, b"\0")[0])
        return None

    def _changed(self, change: PasswordChange, wish: Wish, packet: Packet, nas: Nas, name: bytes) -> Answer:
        subscriber = self._find(name)
        if subscriber is None:
            return _UNKNOWN
        judged = change.judge(wish, subscriber)
        if isinstance(judged, str):
            return Decision(ACCESS_REJECT, b"", "reject", judged)
        wanted, password = judged
        attempt = Attempt(2, wish.identifier, wish.challenge, wish.answer)

        async def kept() -> Decision:
            known = await change.keep(subscriber, wanted, name)
            if isinstance(known, str):
                return Decision(ACCESS_REJECT, b"", "reject", known)
            accept = attempt.accepted(known, password, packet, nas)
            answer = self._admit(known, packet, nas, accept=accept)
            return await answer.decide() if isinstance(answer, Deferred) else answer

        return Deferred(kept)

    def _judge(self, attempt: Attempt, packet: Packet, nas: Nas, name: bytes) -> Answer:
        subscriber = self._find(name)
        if subscriber is None:
            return _UNKNOWN
        password = subscriber.nt_password()
        if password is None:
            return _NO_HASH
        if not password.made(attempt.answer, attempt.challenge):
            return _WRONG
        return self._admit(subscriber, packet, nas, accept=attempt.accepted(subscriber, password, packet, nas))


class Attempt:
    """One login by MS-CHAP, read from a request: `version`, and what the peer computed.

    `challenge` are the eight octets that were encrypted, `answer` the NT-Response.
    """

    __slots__ = ("answer", "challenge", "identifier", "version")

    def __init__(self, version: int, identifier: int, challenge: bytes, answer: bytes) -> None:
        self.version = version
        self.identifier = identifier
        self.challenge = challenge
        self.answer = answer

    def accepted(self, subscriber: Subscriber, password: NtPassword, packet: Packet, nas: Nas) -> bytes:
        """Attributes that an Access-Accept adds: the proof of version 2, and keys."""
        if self.version == 1:
            return _MPPE + _keys_1(subscriber, password, packet, nas)
        proof = password.authenticator_response(self.answer, self.challenge)
        send, receive = password.session_keys(self.answer)
        success = _SUCCESS_HEAD + bytes((self.identifier,)) + proof
        return success + _MPPE + key_attributes(send, receive, nas.secret, packet)


def _attempt(found: dict[int, bytes], user_name: bytes) -> Attempt | None:
    value = found.get(RESPONSE_2)
    if value is not None:
        challenge = _challenge(found, value, 16)
        return Attempt(2, value[0], challenge_hash(value[2:18], challenge, user_name), value[26:])
    value = found.get(RESPONSE)
    if value is None:
        return None
    challenge = _challenge(found, value, 8)
    if not value[1] & _USE_NT:
        raise PeerError("ms-chap", "an LM response, which we do not serve")
    return Attempt(1, value[0], challenge, value[26:])


def _explained(decision: Decision, version: int, identifier: int) -> Decision:
    """A refusal with its MS-CHAP-Error; a wrong password may be tried again under the new challenge (R=1)."""
    if decision.code != ACCESS_REJECT:
        return decision
    error = _CODES.get(cause_of(decision.reason), FAILED)
    attribute = error_attribute(version, identifier, error)
    return Decision(ACCESS_REJECT, decision.attributes + attribute, decision.result, decision.reason)


def error_attribute(version: int, identifier: int, error: int) -> bytes:
    """MS-CHAP-Error (RFC 2548 §2.1.5): the identifier, then the text of a Failure packet (RFC 2759 §6)."""
    challenge = secrets.token_hex(16 if version == 2 else 8).upper()
    text = f"E={error} R={int(error == FAILED)} C={challenge} V={version + 1}"
    return vendor_attribute(MICROSOFT, ERROR, bytes((identifier,)) + text.encode())


def _challenge(found: dict[int, bytes], value: bytes, size: int) -> bytes:
    if len(value) != _VALUE_LENGTH:
        raise PeerError("ms-chap", f"a response of {len(value)} octets instead of {_VALUE_LENGTH}")
    challenge = found.get(CHALLENGE)
    if challenge is None or len(challenge) != size:
        raise PeerError("ms-chap", f"MS-CHAP-Challenge has not the {size} octets of this version")
    return challenge


def _keys_1(subscriber: Subscriber, password: NtPassword, packet: Packet, nas: Nas) -> bytes:
    """MS-CHAP-MPPE-Keys: LM key and NT key, hidden as User-Password is (RFC 2548 §2.4.1)."""
    clear = subscriber.password
    # Without the clear password there is no LM key, and the NAS has that of 128 bits.
    weak = lm_hash(clear.decode(errors="replace"))[:8] if type(clear) is bytes else bytes(8)
    hidden = nas.secret.hide(weak + password.digest_of_digest + bytes(8), packet.authenticator)
    return vendor_attribute(MICROSOFT, MPPE_KEYS, hidden)

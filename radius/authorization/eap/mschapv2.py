"""EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2): MS-CHAP version 2 (RFC 2759) with packets of its own inside EAP.

    Type-Data = OpCode ‖ MS-CHAPv2-ID ‖ MS-Length(2) ‖ data      the acknowledgements are the OpCode alone

    ◄─ Challenge   Value-Size 16 ‖ challenge ‖ our name
    ─► Response    Value-Size 49 ‖ peer challenge(16) ‖ reserved(8) ‖ NT-Response(24) ‖ flags ‖ name
    ◄─ Success     "S=…": we know the password, too          ◄─ Failure     "E=691 R=0 …"
    ─► Success                                               ─► Failure

Who proves a password that has expired, or of a service that is not enabled, is told so (errors 648 and 647). Changing
it is not served here: that is done over PPP, or by whoever runs the account.

It proves both sides and makes keys. Whoever records a run can search for the password without us: it belongs inside
PEAP or TTLS, or under IKEv2.
"""

from __future__ import annotations

import secrets

from controller.domain.errors import PeerError
from radius.authorization.directory import Find
from radius.authorization.eap.method import Context, Continue, Failure, MethodFactory, Step, Success
from radius.authorization.eap.packet import EapPacket
from radius.authorization.mschap import DISABLED, EXPIRED, FAILED
from radius.protocol.cause import Cause, cause_of
from radius.protocol.mschap import NtPassword, challenge_hash

CHALLENGE_LENGTH = 16
_CHALLENGE, _RESPONSE, _SUCCESS, _FAILURE, _CHANGE_PASSWORD = 1, 2, 3, 4, 7
_VALUE_LENGTH = 49
_HEAD = 4
_NAME = b"headend"
_ERRORS = {Cause.DISABLED: DISABLED, Cause.EXPIRED: EXPIRED}
_NO_CHANGE = Failure(Cause.NOT_CHANGED.because("the peer wants to change its password, which is not done over EAP"))


class MsChapV2:
    """One run. An unknown name is challenged like a known one, and refused in the same words."""

    def __init__(self, find: Find, context: Context, challenge: bytes) -> None:
        self._find = find
        self._identity = context.identity
        self._challenge = challenge
        self._identifier = challenge[0]
        self._end: Success | Failure | None = None

    def start(self) -> Step:
        return self._request(_CHALLENGE, bytes((len(self._challenge),)) + self._challenge + _NAME)

    def respond(self, response: EapPacket) -> Step:
        """Raises PeerError "eap-mschapv2" for what RFC 2759 and the draft do not allow."""
        data = response.data
        if not data:
            raise PeerError("eap-mschapv2", "no OpCode")
        if self._end is not None:
            return self._finish(data[0])
        if data[0] == _CHANGE_PASSWORD:
            return _NO_CHANGE
        if data[0] != _RESPONSE:
            raise PeerError("eap-mschapv2", f"OpCode {data[0]} instead of a response")
        peer_challenge, answer, name = self._read(data)
        made = self._judge(peer_challenge, answer, name)
        if isinstance(made, Failure):
            self._end = made
            fresh, error = secrets.token_hex(CHALLENGE_LENGTH).upper(), _ERRORS.get(cause_of(made.reason), FAILED)
            return self._request(_FAILURE, f"E={error} R=0 C={fresh} V=3 M=Login failed".encode())
        password, challenge = made
        send, receive = password.session_keys(answer)
        # "MSK = MasterReceiveKey + MasterSendKey + 32 bytes zeroes (padding)" ([MS-CHAP] §3.1.5.1), as we see it.
        self._end = Success(msk=receive + send + bytes(32))
        return self._request(_SUCCESS, password.authenticator_response(answer, challenge) + b" M=OK")

    def _finish(self, operation: int) -> Step:
        """The peer has seen how it ended, and says so."""
        assert self._end is not None, "it has ended"
        if operation == (_SUCCESS if isinstance(self._end, Success) else _FAILURE):
            return self._end
        if operation == _CHANGE_PASSWORD and isinstance(self._end, Failure):
            return _NO_CHANGE
        if isinstance(self._end, Success):
            return Failure("the peer did not believe our proof")
        raise PeerError("eap-mschapv2", f"OpCode {operation} instead of an acknowledgement")

    def _judge(self, peer_challenge: bytes, answer: bytes, name: bytes) -> tuple[NtPassword, bytes] | Failure:
        """The password that was proved, with the challenge that was encrypted."""
        if _bare(name) != _bare(self._identity):
            return Failure("the name in the MS-CHAP response is not the identity")
        subscriber = self._find(self._identity)
        if subscriber is None:
            return Failure(Cause.UNKNOWN_USER)
        password = subscriber.nt_password()
        if password is None:
            words = "EAP-MSCHAPv2 needs the NT hash, and less is kept of this password"
            return Failure(Cause.TOO_LITTLE_KEPT.because(words))
        challenge = challenge_hash(peer_challenge, self._challenge, name)
        if not password.made(answer, challenge):
            return Failure(Cause.WRONG_PASSWORD)
        guard = subscriber.plan.guard
        if guard is not None and not guard.enabled:
            return Failure(Cause.DISABLED)
        return Failure(Cause.EXPIRED) if guard is not None and guard.expired else (password, challenge)

    def _read(self, data: bytes) -> tuple[bytes, bytes, bytes]:
        """Peer challenge, NT-Response and name of a Response."""
        end = _HEAD + 1 + _VALUE_LENGTH
        if len(data) < end or data[_HEAD] != _VALUE_LENGTH or int.from_bytes(data[2:4], "big") != len(data):
            raise PeerError("eap-mschapv2", f"a response of {len(data)} octets that does not fit its lengths")
        if data[1] != self._identifier:
            raise PeerError("eap-mschapv2", f"MS-CHAPv2-ID {data[1]}, not {self._identifier}")
        value = data[_HEAD + 1 : end]
        return value[:16], value[24:48], data[end:]

    def _request(self, operation: int, data: bytes) -> Continue:
        length = _HEAD + len(data)
        return Continue(bytes((operation, self._identifier, length >> 8, length & 0xFF)) + data)


def _bare(name: bytes) -> bytes:
    """Without the domain before a backslash, as the challenge is computed (RFC 2759 §8.2)."""
    return name.rpartition(b"\\")[2]


def factory(find: Find) -> MethodFactory:
    return lambda context: MsChapV2(find, context, secrets.token_bytes(CHALLENGE_LENGTH))

"""EAP-TTLSv0: a password behind our certificate, as RADIUS attributes inside the tunnel (RFC 5281, TLS 1.3: RFC 9427).

    TLS handshake ─► User-Name and User-Password                            PAP         §11.2.5
                     User-Name, CHAP-Challenge, CHAP-Password               CHAP        §11.2.2
                     User-Name, MS-CHAP-Challenge, MS-CHAP2-Response ─► MS-CHAP2-Success ─► nothing     §11.2.4
                     EAP-Message                                            inner EAP   §11.2.1

The challenges are none that the peer could choose: both ends derive them from the tunnel (§11.1). The identity outside
may be anonymous; the User-Name inside decides.
"""

from __future__ import annotations

from hmac import compare_digest

from controller.domain.errors import PeerError
from radius.authorization.directory import Find, Subscriber
from radius.authorization.eap import avp
from radius.authorization.eap.avp import Avp
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.inner import InnerEap
from radius.authorization.eap.method import Context, Failure, Later, MethodFactory, Step, Success
from radius.authorization.eap.packet import MSCHAPV2, TTLS, EapPacket
from radius.authorization.eap.tls_conversation import TlsConversation
from radius.authorization.eap.tls_tunnel import TlsTunnel
from radius.authorization.mppe import MICROSOFT
from radius.authorization.password import HashedPassword, Password, same
from radius.protocol.authenticator import chap_response
from radius.protocol.cause import Cause
from radius.protocol.codes import Attr
from radius.protocol.mschap import challenge_hash

KEY_LABEL = b"ttls keying material"
_CHALLENGE_LABEL = b"ttls challenge"
_USER_NAME, _PASSWORD = (int(Attr.USER_NAME), 0), (int(Attr.USER_PASSWORD), 0)
_CHAP, _CHAP_CHALLENGE = (int(Attr.CHAP_PASSWORD), 0), (int(Attr.CHAP_CHALLENGE), 0)
_EAP_MESSAGE = (int(Attr.EAP_MESSAGE), 0)
_MSCHAP_CHALLENGE, _MSCHAP2_RESPONSE = (11, MICROSOFT), (25, MICROSOFT)
_MSCHAP2_SUCCESS = 26
_CHALLENGES = frozenset({_CHAP_CHALLENGE, _MSCHAP_CHALLENGE})
_KNOWN = _CHALLENGES | {_USER_NAME, _PASSWORD, _CHAP, _EAP_MESSAGE, _MSCHAP2_RESPONSE}

_Said = dict[tuple[int, int], bytes]

WRONG_PASSWORD = Failure(Cause.WRONG_PASSWORD)
UNKNOWN_USER = Failure(Cause.UNKNOWN_USER)


class Ttls:
    """One run."""

    def __init__(self, find: Find, conversation: TlsConversation, inner: InnerEap) -> None:
        self._find = find
        self._conversation = conversation
        self._inner = inner
        self._proved: bytes | None = None

    def start(self) -> Step:
        return self._conversation.start()

    def respond(self, response: EapPacket) -> Step | Later:
        return self._conversation.respond(response, self._turn)

    def _turn(self, clear: bytes, _identifier: int) -> Step | Later:
        if self._proved is not None:
            # A peer that believes our MS-CHAP2-Success answers it with nothing (RFC 5281 §11.2.4).
            return Failure("the peer did not believe our proof") if clear else self._success(self._proved)
        if not clear:
            # TLS 1.3: the handshake ended with the peer's Finished, and it still has to say who it is.
            return self._conversation.say(b"")
        return self._hear(clear)

    def _hear(self, clear: bytes) -> Step | Later:
        said = _sorted_out(avp.decode(clear))
        if _EAP_MESSAGE in said:
            return self._inner_eap(said[_EAP_MESSAGE])
        name = said.get(_USER_NAME)
        if name is None:
            raise PeerError("avp", "no User-Name")
        subscriber = self._find(name)
        if subscriber is None:
            return UNKNOWN_USER
        if _MSCHAP2_RESPONSE in said:
            return self._mschap2(name, said, subscriber)
        if _CHAP in said:
            return self._chap(name, said, subscriber)
        if _PASSWORD in said:
            # Padded with NUL so that its length tells nothing (RFC 5281 §11.2.5).
            return self._pap(name, said[_PASSWORD].rstrip(b"\0"), subscriber.password)
        words = "no method that we serve inside EAP-TTLS: PAP, CHAP, MS-CHAPv2 or EAP-MSCHAPv2"
        return Failure(Cause.NO_METHOD.because(words))

    def _pap(self, name: bytes, claimed: bytes, password: Password) -> Step | Later:
        def compared() -> Step:
            return self._success(name) if same(password, claimed) else WRONG_PASSWORD

        if isinstance(password, HashedPassword) and not password.remembers(claimed):
            return Later(compared)
        return compared()

    def _chap(self, name: bytes, said: _Said, subscriber: Subscriber) -> Step:
        response, challenge = said[_CHAP], self._challenge(said, _CHAP_CHALLENGE)
        if len(response) != 17 or response[0] != challenge[16]:
            raise PeerError("avp", "CHAP-Password is not the challenge's identifier and 16 octets")
        if not isinstance(subscriber.password, bytes):
            return Failure(Cause.TOO_LITTLE_KEPT.because("the password is not kept in clear, which CHAP needs"))
        expected = chap_response(response[0], subscriber.password, challenge[:16])
        return self._success(name) if compare_digest(expected, response[1:]) else WRONG_PASSWORD

    def _mschap2(self, name: bytes, said: _Said, subscriber: Subscriber) -> Step:
        """Ident ‖ Flags ‖ Peer-Challenge(16) ‖ Reserved(8) ‖ Response(24) (RFC 2548 §2.3.2)."""
        response, challenge = said[_MSCHAP2_RESPONSE], self._challenge(said, _MSCHAP_CHALLENGE)
        if len(response) != 50 or response[0] != challenge[16]:
            raise PeerError("avp", "MS-CHAP2-Response is not the challenge's identifier and 49 octets")
        password = subscriber.nt_password()
        if password is None:
            return Failure(Cause.TOO_LITTLE_KEPT.because("what is kept of the password is not enough for MS-CHAPv2"))
        hashed, nt_response = challenge_hash(response[2:18], challenge[:16], name), response[26:]
        if not password.made(nt_response, hashed):
            return WRONG_PASSWORD
        self._proved = name
        proof = response[:1] + password.authenticator_response(nt_response, hashed)
        return self._conversation.say(Avp(_MSCHAP2_SUCCESS, proof, MICROSOFT).encode())

    def _challenge(self, said: _Said, kind: tuple[int, int]) -> bytes:
        """16 octets of challenge and one of identifier that the tunnel gives. Raises PeerError for any other."""
        implicit = self._conversation.tunnel.export(_CHALLENGE_LABEL, 17)
        if not compare_digest(said.get(kind, b""), implicit[:16]):
            raise PeerError("avp", "the challenge is not the tunnel's")
        return implicit

    def _inner_eap(self, octets: bytes) -> Step:
        answer = self._inner.respond(EapPacket.decode(octets))
        if isinstance(answer, Failure):
            return answer
        if isinstance(answer, Success):
            assert answer.identity is not None, "inner EAP begins with an identity"
            return self._success(answer.identity)
        return self._conversation.say(Avp(_EAP_MESSAGE[0], answer.encode()).encode())

    def _success(self, name: bytes) -> Step:
        return Success(name, self._conversation.key_material(KEY_LABEL)[:64])


def _sorted_out(avps: list[Avp]) -> _Said:
    """By number and vendor. Raises PeerError for one that is twice there, or unknown and mandatory."""
    said: _Said = {}
    for one in avps:
        key = (one.code, one.vendor)
        if key not in _KNOWN:
            if one.mandatory:
                raise PeerError("avp", f"mandatory AVP {one.code} of vendor {one.vendor}")
        elif key == _EAP_MESSAGE:
            said[key] = said.get(key, b"") + one.data
        elif key in said:
            raise PeerError("avp", f"AVP {one.code} twice")
        else:
            said[key] = one.data
    return said


def factory(find: Find, make_inner: MethodFactory, certificates: Certificates) -> MethodFactory:
    """`make_inner` makes a run of EAP-MSCHAPv2, for peers that speak EAP inside, too."""

    def make(context: Context) -> Ttls:
        tunnel = TlsTunnel(certificates.current().tunnel)
        conversation = TlsConversation(tunnel, context, kind=TTLS, checks_version=True)
        return Ttls(find, conversation, InnerEap(MSCHAPV2, make_inner, context))

    return make

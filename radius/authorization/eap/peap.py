"""PEAPv0 with EAP-MSCHAPv2 inside: a password behind our certificate, as Windows and most devices do it ([MS-PEAP]).

    TLS handshake ─► Request/Identity ─► EAP-MSCHAPv2 ─► Result and Crypto-Binding ─► the peer's Result ─► end

Inside the tunnel version 0 leaves the EAP header out, but for the packet of TLVs at the end. The identity outside may
be anonymous; the one inside decides.
"""

from __future__ import annotations

import secrets
from enum import Enum, auto

from controller.domain.errors import PeerError
from radius.authorization.eap import peap_tlv
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.inner import InnerEap
from radius.authorization.eap.method import Context, Failure, Later, MethodFactory, Step, Success
from radius.authorization.eap.packet import MSCHAPV2, PEAP, REQUEST, RESPONSE, EapPacket
from radius.authorization.eap.tls_conversation import TlsConversation
from radius.authorization.eap.tls_tunnel import TlsTunnel
from radius.protocol.cause import Cause

KEY_LABEL = b"client EAP encryption"
_UNBOUND = Failure(Cause.BINDING.because("the peer leaves crypto binding out, which is required here"))


class _Phase(Enum):
    TUNNEL = auto()
    INNER = auto()
    ENDING = auto()


class Peap:
    """One run. `needs_binding`: a peer that does not prove that tunnel and password are its own is refused."""

    def __init__(self, conversation: TlsConversation, inner: InnerEap, *, needs_binding: bool) -> None:
        self._conversation = conversation
        self._inner = inner
        self._needs_binding = needs_binding
        self._phase = _Phase.TUNNEL
        self._end: Success | Failure | None = None
        self._compound: peap_tlv.Compound | None = None

    def start(self) -> Step:
        return self._conversation.start()

    def respond(self, response: EapPacket) -> Step | Later:
        return self._conversation.respond(response, self._turn)

    def _turn(self, clear: bytes, identifier: int) -> Step:
        if self._phase is _Phase.TUNNEL:
            self._phase = _Phase.INNER
            return self._say(self._inner.begin(identifier))
        if self._phase is _Phase.ENDING:
            return self._ended(clear)
        if not clear:
            raise PeerError("eap-length", "nothing where an EAP packet belongs")
        said = self._inner.respond(EapPacket(RESPONSE, identifier, clear[0], clear[1:]))
        return self._say(said) if isinstance(said, EapPacket) else self._finish(said, identifier)

    def _say(self, request: EapPacket) -> Step:
        return self._conversation.say(bytes((request.kind,)) + request.data)

    def _finish(self, end: Success | Failure, identifier: int) -> Step:
        """Tell the peer how the inner method ended, inside the tunnel, where nobody else can say it."""
        self._phase, self._end = _Phase.ENDING, end
        if isinstance(end, Success):
            self._compound = peap_tlv.Compound.derive(self._conversation.key_material(KEY_LABEL), end.msk)
            tlvs = peap_tlv.result(peap_tlv.SUCCESS) + self._compound.request(secrets.token_bytes(32))
        else:
            tlvs = peap_tlv.result(peap_tlv.FAILURE)
        packet = EapPacket(REQUEST, (identifier + 1) & 0xFF, peap_tlv.EXTENSIONS, tlvs)
        return self._conversation.say(packet.encode())

    def _ended(self, clear: bytes) -> Step:
        assert self._end is not None, "the inner method has ended"
        if isinstance(self._end, Failure):
            return self._end
        packet = EapPacket.decode(clear)
        if packet.code != RESPONSE or packet.kind != peap_tlv.EXTENSIONS:
            raise PeerError("eap-type", f"code {packet.code} of type {packet.kind} instead of the result")
        ending = peap_tlv.decode(packet.data)
        if ending.result != peap_tlv.SUCCESS:
            return Failure("the peer says that it failed")
        return self._bound(self._end, ending.binding)

    def _bound(self, end: Success, binding: peap_tlv.Binding | None) -> Step:
        assert self._compound is not None, "an inner method that succeeded is bound"
        if binding is None and self._needs_binding:
            return _UNBOUND
        if binding is None:
            # A peer of the time before crypto binding: the keys are the tunnel's alone.
            return Success(end.identity, self._conversation.key_material(KEY_LABEL)[:64])
        if not self._compound.proves(binding):
            return Failure(Cause.BINDING.because("crypto binding is wrong: somebody stands between the peer and us"))
        return Success(end.identity, self._compound.msk())


def factory(make_inner: MethodFactory, certificates: Certificates, *, needs_binding: bool = False) -> MethodFactory:
    """`make_inner` makes a run of EAP-MSCHAPv2."""

    def make(context: Context) -> Peap:
        tunnel = TlsTunnel(certificates.current().tunnel)
        conversation = TlsConversation(tunnel, context, kind=PEAP, checks_version=True)
        return Peap(conversation, InnerEap(MSCHAPV2, make_inner, context), needs_binding=needs_binding)

    return make

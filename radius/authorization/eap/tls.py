"""EAP-TLS: the peer proves itself by a certificate of a CA that we trust (RFC 5216, with TLS 1.3 RFC 9190).

Who it is stands in the certificate, not in the EAP identity, which may be anonymous (RFC 9190 §2.1.7): the first name
in it that is a subscriber's user name, of the subject alternative names (e-mail, user principal name, DNS) and then the
common name (RFC 5216 §5.2).
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID

from radius.authorization.directory import Find
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.method import Context, Failure, Later, Offer, Step, Success
from radius.authorization.eap.packet import TLS, EapPacket
from radius.authorization.eap.tls_conversation import TlsConversation
from radius.authorization.eap.tls_tunnel import TlsTunnel
from radius.protocol.cause import Cause

KEY_LABEL = b"client EAP encryption"
_COMMITMENT = b"\0"
"""The protected success indication of TLS 1.3: this octet as application data (RFC 9190 §2.5)."""
_USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
_UTF8_STRING = 0x0C


class EapTls:
    """One run."""

    def __init__(self, find: Find, conversation: TlsConversation) -> None:
        self._find = find
        self._conversation = conversation
        self._subscriber: bytes | None = None

    def start(self) -> Step:
        return self._conversation.start()

    def respond(self, response: EapPacket) -> Step | Later:
        return self._conversation.respond(response, self._turn)

    def _turn(self, _clear: bytes, _identifier: int) -> Step:
        if self._subscriber is not None:
            # The peer has acknowledged the indication.
            return self._success(self._subscriber)
        return self._identified()

    def _identified(self) -> Step:
        certificate = self._conversation.tunnel.peer_certificate
        assert certificate is not None, "the context demands one"
        candidates = list(names(certificate))
        self._subscriber = next((name for name in candidates if self._find(name) is not None), None)
        if self._subscriber is None:
            said = ", ".join(name.decode(errors="backslashreplace") for name in candidates) or "nobody"
            words = f"the client certificate is valid but names no subscriber: {said}"
            return Failure(Cause.NAMES_NOBODY.because(words))
        if self._conversation.modern:
            return self._conversation.say(_COMMITMENT)
        return self._success(self._subscriber)

    def _success(self, subscriber: bytes) -> Step:
        return Success(identity=subscriber, msk=self._conversation.key_material(KEY_LABEL)[:64])


def names(certificate: x509.Certificate) -> Iterator[bytes]:
    """Whom a certificate may be for, in the order in which they are looked up. A malformed name is left out."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        alternative = None
    if alternative is not None:
        yield from (name.encode() for name in alternative.get_values_for_type(x509.RFC822Name))
        for other in alternative.get_values_for_type(x509.OtherName):
            if other.type_id == _USER_PRINCIPAL_NAME and (text := _utf8(other.value)):
                yield text
        yield from (name.encode() for name in alternative.get_values_for_type(x509.DNSName))
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        yield attribute.value.encode() if isinstance(attribute.value, str) else attribute.value


def _utf8(der: bytes) -> bytes:
    """The octets of a short DER UTF8String, empty for anything else."""
    fits = len(der) >= 2 and der[0] == _UTF8_STRING and der[1] == len(der) - 2 < 0x80
    return der[2:] if fits else b""


def factory(find: Find, certificates: Certificates) -> Offer:
    """To be had while there is a ca.pem. A conversation keeps the certificates that it began with."""

    def make(context: Context) -> EapTls | None:
        mutual = certificates.current().mutual
        if mutual is None:
            return None
        return EapTls(find, TlsConversation(TlsTunnel(mutual), context, kind=TLS, checks_version=False))

    return make

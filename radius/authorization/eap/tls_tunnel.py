"""One TLS server connection without a socket: the peer's flight goes in, ours comes out (RFC 5246, RFC 8446).

    feed(records) ─► records to send     established, then  .clear: what the peer said inside
    seal(text)    ─► records to send     export(…): keying material (RFC 5705, RFC 8446 §7.5)

A handshake that fails leaves `failure` in words for operators and, where TLS wants one, an alert among the records.
A tunnel feeds once for each flight and is never fed after it failed. Keys leave it by `export` alone and stand in no
repr. What EAP makes of it, fragments and methods, is said in `tls_conversation`.
"""

from __future__ import annotations

from cryptography import x509
from OpenSSL import SSL

from radius.protocol.cause import Cause

_CHUNK = 16_384
MAX_CLEAR = 65_536
"""Octets that a peer may say in one flight."""

TLS_1_3 = 0x0304

_VERIFY_WORDS = {
    3: "its issuer's revocation list is missing from the CRL file",
    7: "its signature is wrong",
    9: "it is not valid yet",
    10: "it has expired",
    11: "the revocation list is not valid yet",
    12: "the revocation list has expired",
    18: "it is signed by itself, not by our CA",
    19: "its chain ends at a root that is not our CA",
    20: "it was not issued by our CA",
    21: "it was not issued by our CA",
    22: "its chain is too long",
    23: "it is revoked",
    26: "it is not made for client authentication (extended key usage)",
}
"""X509_V_ERR_… of OpenSSL in words for operators; others are told by their number."""


def note_verification(connection: SSL.Connection, _cert: object, error: int, depth: int, ok: int) -> bool:
    """The verify callback of a context: keeps why a chain was refused. It never overrules OpenSSL."""
    if not ok:
        said = _VERIFY_WORDS.get(error, f"OpenSSL refuses it with error {error}")
        words = f"{Cause.CERTIFICATE}: {said}" + (" (its CA)" if depth else "")
        connection.get_app_data().append(Cause.CERTIFICATE.because(words))
    return bool(ok)


class TlsTunnel:
    """A connection of one EAP conversation. `context` decides versions, certificates and whether the peer needs one."""

    def __init__(self, context: SSL.Context) -> None:
        self._refusals: list[str] = []
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self._refusals)
        self._connection.set_accept_state()
        self.established = False
        self.failure: str | None = None
        self.clear = b""
        """What the peer said in the flight that was fed last."""

    @property
    def version(self) -> int:
        """0x0303 or 0x0304, once a handshake has begun."""
        return self._connection.get_protocol_version()

    @property
    def peer_certificate(self) -> x509.Certificate | None:
        """The verified certificate of the peer, None when it showed none."""
        return self._connection.get_peer_certificate(as_cryptography=True)

    def feed(self, records: bytes) -> bytes:
        """Take the peer's flight, give ours. Sets `established`, `clear` and `failure`; raises nothing."""
        self.clear = b""
        try:
            self._connection.bio_write(records)
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            self.clear = self._read()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            self.failure = self._refusals[0] if self._refusals else _words(error)
        return self._drain()

    def seal(self, text: bytes) -> bytes:
        """`text` as records for the peer, behind whatever TLS itself still has to say."""
        self._connection.sendall(text)
        return self._drain()

    def export(self, label: bytes, length: int, context: bytes | None = None) -> bytes:
        """Keying material of this connection."""
        return self._connection.export_keying_material(label, length, context)

    def _read(self) -> bytes:
        """Everything readable. Raises SSL.Error for what cannot be decrypted, or when it is too much."""
        text = bytearray()
        while True:
            try:
                text += self._connection.recv(_CHUNK)
            except SSL.WantReadError:
                return bytes(text)
            if len(text) > MAX_CLEAR:
                raise SSL.Error([("", "", "the peer says more than fits")])

    def _drain(self) -> bytes:
        records = bytearray()
        while True:
            try:
                records += self._connection.bio_read(_CHUNK)
            except SSL.WantReadError:
                return bytes(records)


def _words(error: SSL.Error) -> str:
    """OpenSSL's own reason: what it says of an alert names the peer's complaint."""
    if isinstance(error, SSL.ZeroReturnError):
        return "the peer closed the tunnel"
    reasons = [entry[2] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    reason = reasons[-1] if reasons else "the handshake failed"
    if "alert" in reason:
        return f"the peer refuses our certificate or parameters: TLS {reason}"
    return f"TLS: {reason}"

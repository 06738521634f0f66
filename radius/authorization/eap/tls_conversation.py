"""TLS inside EAP, for the three methods that share it: framing and tunnel joined, the method asked when it is its turn.

    receive(body) ─► body to send          fragments, acknowledgements, handshake flights: nobody's decision
                  └► None                  established, and the peer said `clear` (nothing, where it only acknowledged)
    say(text)     ─► body to send          text for the peer, sealed
                     HandshakeFailed       the peer proved nothing; the alert it deserves has been sent before

A failed handshake ends with our alert in one more Request (RFC 5216 §2.1.3): what the peer answers to it is not read.
"""

from __future__ import annotations

from controller.domain.errors import HeadendError, PeerError
from radius.authorization.eap.method import Context
from radius.authorization.eap.tls_framing import Framing
from radius.authorization.eap.tls_tunnel import TLS_1_3, TlsTunnel

_EAP_HEAD = 5
"""Code, Identifier, Length and Type of an EAP packet: what `mtu` counts and a body does not contain."""


class HandshakeFailed(HeadendError):
    """TLS came to nothing. The message is the reason in words, for operators only."""


class TlsConversation:
    """One run of EAP-TLS, PEAP or EAP-TTLS up to what the method itself decides. `kind` is its EAP Type."""

    def __init__(self, tunnel: TlsTunnel, context: Context, *, kind: int, checks_version: bool) -> None:
        self._tunnel = tunnel
        self._kind = kind
        self._framing = Framing(fragment=context.mtu - _EAP_HEAD, checks_version=checks_version)
        self._unsent = b""
        self._failure: str | None = None
        self.clear = b""

    @property
    def tunnel(self) -> TlsTunnel:
        return self._tunnel

    @property
    def modern(self) -> bool:
        """TLS 1.3, with keys, success indication and order of flights of its own (RFC 9190, RFC 9427)."""
        return self._tunnel.version >= TLS_1_3

    def start(self) -> bytes:
        return self._framing.start()

    def receive(self, body: bytes) -> bytes | None:
        """Take one body. Raises PeerError for a malformed one, which changes nothing, and HandshakeFailed."""
        if self._failure is not None:
            raise HandshakeFailed(self._failure)
        message, answer = self._framing.receive(body)
        if message is None:
            return answer
        return self._hear(message)

    def _hear(self, message: bytes) -> bytes | None:
        tunnel, was_established = self._tunnel, self._tunnel.established
        if not message:
            if not was_established:
                raise PeerError("eap-tls", "nothing, where TLS expects a flight")
            self.clear = b""
            return None
        records = tunnel.feed(message)
        if tunnel.failure is not None:
            return self._fail(tunnel.failure, records)
        self.clear = tunnel.clear
        if not tunnel.established:
            if not records:
                return self._fail("TLS: half a flight", b"")
            return self._framing.send(records)
        if not was_established and not self.modern and records:
            # Our Finished is the last flight of TLS 1.2; the peer has the next word.
            return self._framing.send(records)
        self._unsent += records
        return None

    def _fail(self, reason: str, alert: bytes) -> bytes:
        self._failure = reason
        if not alert:
            raise HandshakeFailed(reason)
        return self._framing.send(alert)

    def say(self, text: bytes) -> bytes:
        """The body with `text` inside the tunnel, behind what TLS itself had left to say."""
        records, self._unsent = self._unsent + (self._tunnel.seal(text) if text else b""), b""
        return self._framing.send(records)

    def key_material(self, label: bytes) -> bytes:
        """MSK and EMSK, 64 octets each; `label` is the one of the method under TLS 1.2.

        RFC 5216 §2.3 and RFC 5281 §8 below TLS 1.3, RFC 9190 §2.3 and RFC 9427 §2.1 above.
        """
        if self.modern:
            return self._tunnel.export(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((self._kind,)))
        return self._tunnel.export(label, 128)

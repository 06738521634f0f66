"""TLS inside EAP, for the three methods that share it: framing and tunnel joined, the method asked when it is its turn.

    respond(response) ─┬─ fragment, acknowledgement ─► Continue
                       ├─ flight of the handshake ───► Later: Continue, turn(…), or Failure once the alert is sent
                       └─ established ───────────────► turn(clear, identifier): the method's own decision

`clear` is what the peer said inside, empty where it only acknowledged. A handshake that fails ends with our alert in
one more Request (RFC 5216 §2.1.3); what the peer answers to it is not read. What is malformed inside the tunnel comes
from the peer itself, not from somebody on the way: the run fails.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from controller.domain.errors import PeerError
from radius.authorization.eap.method import Context, Continue, Failure, Later, Step
from radius.authorization.eap.packet import EapPacket
from radius.authorization.eap.tls_framing import Framing
from radius.authorization.eap.tls_tunnel import TLS_1_3, TlsTunnel

_EAP_HEAD = 5
"""Code, Identifier, Length and Type of an EAP packet: what `mtu` counts and a body does not contain."""

Turn = Callable[[bytes, int], Step | Later]
"""What the peer said inside the tunnel, and the identifier of the Response → the method's step. May raise PeerError."""


class TlsConversation:
    """One run of EAP-TLS, PEAP or EAP-TTLS up to what the method itself decides. `kind` is its EAP Type."""

    def __init__(self, tunnel: TlsTunnel, context: Context, *, kind: int, checks_version: bool) -> None:
        self.tunnel = tunnel
        self._kind = kind
        self._framing = Framing(fragment=context.mtu - _EAP_HEAD, checks_version=checks_version)
        self._unsent = b""
        self._failure: str | None = None

    @property
    def modern(self) -> bool:
        """TLS 1.3, with keys, success indication and order of flights of its own (RFC 9190, RFC 9427)."""
        return self.tunnel.version >= TLS_1_3

    def start(self) -> Continue:
        return Continue(self._framing.start())

    def respond(self, response: EapPacket, turn: Turn) -> Step | Later:
        """The step after one Response. Raises PeerError for a malformed one, and then nothing has changed."""
        if self._failure is not None:
            return Failure(self._failure)
        message, answer = self._framing.receive(response.data)
        if answer is not None:
            return Continue(answer)
        assert message is not None, "a body is answered or completes a message"
        if self.tunnel.established:
            return self._hear(message, response.identifier, turn)
        if not message:
            raise PeerError("eap-tls", "nothing, where TLS expects a flight")
        return Later(partial(self._hear, message, response.identifier, turn))

    def _hear(self, message: bytes, identifier: int, turn: Turn) -> Step | Later:
        clear = b""
        if message:
            flight = self._feed(message)
            if flight is not None:
                return flight
            clear = self.tunnel.clear
        try:
            return turn(clear, identifier)
        except PeerError as error:
            return Failure(f"malformed inside the tunnel: {error}")

    def _feed(self, message: bytes) -> Step | None:
        """Give TLS a flight; None when the method has the next word."""
        tunnel, was_established = self.tunnel, self.tunnel.established
        records = tunnel.feed(message)
        if tunnel.failure is not None:
            self._failure = tunnel.failure
            return Continue(self._framing.send(records), tunnel.failure) if records else Failure(tunnel.failure)
        if not tunnel.established:
            return Continue(self._framing.send(records)) if records else Failure("TLS: half a flight")
        if not was_established and not self.modern:
            # Our Finished is the last flight of TLS 1.2; the peer has the next word.
            return Continue(self._framing.send(records))
        self._unsent += records
        return None

    def say(self, text: bytes) -> Continue:
        """`text` for the peer inside the tunnel, behind what TLS itself had left to say."""
        records, self._unsent = self._unsent + (self.tunnel.seal(text) if text else b""), b""
        return Continue(self._framing.send(records))

    def key_material(self, label: bytes) -> bytes:
        """MSK and EMSK, 64 octets each; `label` is the one of the method under TLS 1.2.

        RFC 5216 §2.3 and RFC 5281 §8 below TLS 1.3, RFC 9190 §2.3 and RFC 9427 §2.1 above.
        """
        if self.modern:
            return self.tunnel.export(b"EXPORTER_EAP_TLS_Key_Material", 128, bytes((self._kind,)))
        return self.tunnel.export(label, 128)

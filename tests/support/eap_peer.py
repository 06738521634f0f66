"""The peer's end of a TLS method, in this process: for what no real peer would say."""

from __future__ import annotations

from OpenSSL import SSL

from controller.domain.identity import NasId
from radius.authorization.eap.method import Context, Continue, Later, Method, Step
from radius.authorization.eap.packet import RESPONSE, EapPacket
from radius.authorization.eap.tls_framing import Framing
from radius.protocol.authenticator import SharedSecret
from radius.protocol.nas import Nas
from tests.support.pki import Issued

CONTEXT = Context(b"anonymous", 1_000, Nas(NasId("n" * 32), "bras", "127.0.0.1", SharedSecret(b"testing123")))


class TunnelPeer:
    """Speaks to one run of a method of type `kind`. It trusts every server."""

    def __init__(self, method: Method, kind: int, client: Issued | None = None, *, version: int = SSL.TLS1_2_VERSION):
        self._method = method
        self._kind = kind
        self._identifier = 0
        self._framing = Framing(fragment=1_400)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if client is not None:
            context.use_privatekey(client.key)
            context.use_certificate(client.certificate)
        self._tls = SSL.Connection(context, None)
        self._tls.set_connect_state()
        self._given_up = False

    def send(self, body: bytes) -> Step:
        """One Response with these octets behind the Type; what takes a thread is done at once. Raises PeerError."""
        self._identifier = (self._identifier + 1) & 0xFF
        step = self._method.respond(EapPacket(RESPONSE, self._identifier, self._kind, body))
        return step.done() if isinstance(step, Later) else step

    def flights(self, step: Step) -> bytes | None:
        """What a true peer answers to a step, on the way to its tunnel; None when that is the peer's own to say."""
        assert isinstance(step, Continue), step
        if step.data[0] & 0x20:
            return self._framing.send(self._handshake(b""))
        message, answer = self._framing.receive(step.data)
        if answer is not None:
            return answer
        if not message:
            return None
        out = self._handshake(message)
        if out:
            return self._framing.send(out)
        return b"\0" if self._given_up else None

    def handshake(self) -> Step | None:
        """Through the whole handshake. None where the peer has the next word, else the method's last step."""
        step: Step = self._method.start()
        while isinstance(step, Continue):
            body = self.flights(step)
            if body is None:
                return None
            step = self.send(body)
        return step

    def seal(self, text: bytes) -> bytes:
        """A body with `text` inside the tunnel."""
        self._tls.sendall(text)
        return self._framing.send(self._tls.bio_read(65_536))

    def say(self, text: bytes) -> Step:
        return self.send(self.seal(text))

    def hear(self, step: Step) -> bytes:
        """What the server said inside the tunnel."""
        assert isinstance(step, Continue), step
        message, _ = self._framing.receive(step.data)
        if message:
            self._tls.bio_write(message)
        try:
            return self._tls.recv(65_536)
        except SSL.WantReadError:
            return b""

    def _handshake(self, records: bytes) -> bytes:
        if records:
            self._tls.bio_write(records)
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error:
            self._given_up = True
        try:
            return self._tls.bio_read(65_536)
        except SSL.WantReadError:
            return b""

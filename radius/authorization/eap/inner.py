"""EAP inside a tunnel: identity, then one password method, for PEAP and for EAP-TTLS that carries EAP-Message.

    begin() ─► Request/Identity ─► respond(…) ─► the method's Requests ─► … ─► Success │ Failure

The identity said in here is the one that counts: it goes into the method and into its Success. There is one method, and
a peer that wants another is told Failure.
"""

from __future__ import annotations

from controller.domain.errors import PeerError
from radius.authorization.eap.method import Context, Continue, Failure, Later, Method, MethodFactory, Step, Success
from radius.authorization.eap.packet import IDENTITY, NAK, REQUEST, RESPONSE, TYPE_NAMES, EapPacket
from radius.protocol.cause import Cause


class InnerEap:
    """One run. `kind` is the Type that `make` makes a method of."""

    def __init__(self, kind: int, make: MethodFactory, context: Context) -> None:
        self._kind = kind
        self._make = make
        self._context = context
        self._identity: bytes | None = None
        self._method: Method | None = None

    def begin(self, identifier: int) -> EapPacket:
        return EapPacket(REQUEST, identifier, IDENTITY)

    def respond(self, response: EapPacket) -> EapPacket | Success | Failure:
        """The next Request, or how it ended. Raises PeerError for what is out of place."""
        if response.code != RESPONSE:
            raise PeerError("eap-code", f"EAP code {response.code} inside the tunnel")
        if self._method is None:
            if response.kind != IDENTITY or not response.data:
                raise PeerError("eap-type", f"type {response.kind} inside the tunnel instead of an identity")
            self._identity = response.data
            self._method = self._make(Context(response.data, self._context.mtu, self._context.nas))
            step: Step | Later = self._method.start()
        elif response.kind == NAK:
            names = ", ".join(TYPE_NAMES.get(kind, str(kind)) for kind in response.wanted()) or "no other"
            words = f"the peer wants {names} inside the tunnel, not {TYPE_NAMES[self._kind]}"
            return Failure(Cause.NO_METHOD.because(words))
        elif response.kind == self._kind:
            step = self._method.respond(response)
        else:
            raise PeerError("eap-type", f"type {response.kind} inside the tunnel")
        if isinstance(step, Later):
            step = step.done()
        if isinstance(step, Continue):
            return EapPacket(REQUEST, (response.identifier + 1) & 0xFF, self._kind, step.data)
        if isinstance(step, Success):
            return Success(step.identity or self._identity, step.msk)
        return step

"""CoA and Disconnect (RFC 5176): requests that we send to a NAS, and what its answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controller.domain.errors import PeerError
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import (
    COA_ACK,
    COA_NAK,
    COA_REQUEST,
    DISCONNECT_ACK,
    DISCONNECT_NAK,
    DISCONNECT_REQUEST,
    Attr,
)
from radius.protocol.packet import Packet, integer_attribute

_ERROR_CAUSE = int(Attr.ERROR_CAUSE)
_ANSWERS = {COA_REQUEST: (COA_ACK, COA_NAK), DISCONNECT_REQUEST: (DISCONNECT_ACK, DISCONNECT_NAK)}

ERROR_CAUSES = {
    201: "Residual Session Context Removed",
    202: "Invalid EAP Packet (Ignored)",
    401: "Unsupported Attribute",
    402: "Missing Attribute",
    403: "NAS Identification Mismatch",
    404: "Invalid Request",
    405: "Unsupported Service",
    406: "Unsupported Extension",
    407: "Invalid Attribute Value",
    501: "Administratively Prohibited",
    502: "Request Not Routable (Proxy)",
    503: "Session Context Not Found",
    504: "Session Context Not Removable",
    505: "Other Proxy Processing Error",
    506: "Resources Unavailable",
    507: "Request Initiated",
    508: "Multiple Session Selection Unsupported",
}
"""Values of Error-Cause (RFC 5176 §3.5)."""
UNSUPPORTED_EXTENSION, INVALID_VALUE, NOT_ROUTABLE, PROXY_TROUBLE, RESOURCES_UNAVAILABLE = 406, 407, 502, 505, 506


@dataclass(frozen=True, slots=True)
class DynamicRequest:
    """One request on its way. It is retransmitted octet for octet: same identifier, same authenticator."""

    datagram: bytes
    secret: SharedSecret

    @classmethod
    def encode(
        cls, code: int, identifier: int, attributes: bytes, secret: SharedSecret, *, sent_at: datetime, signed: bool
    ) -> DynamicRequest:
        """`code` is COA_REQUEST or DISCONNECT_REQUEST; the authenticator covers the packet (RFC 5176 §2.3).

        `sent_at` goes into Event-Timestamp, by which a NAS knows a replayed request (§6.3); it identifies no session.
        `signed` adds Message-Authenticator (§3.4): a few NAS ask for it, others refuse what they do not know.
        """
        attributes += integer_attribute(Attr.EVENT_TIMESTAMP, int(sent_at.timestamp()))
        return cls(secret.request(code, identifier, attributes, signed=signed), secret)

    def read(self, datagram: bytes) -> DynamicAnswer:
        """The verified answer. Raises PeerError for anything that is not one: wait on, the true one may follow."""
        packet = Packet.decode(datagram)
        if packet.identifier != self.datagram[1]:
            raise PeerError("identifier", f"answer to {packet.identifier}, not {self.datagram[1]}")
        answer = answers(packet, self.datagram[0])
        self.secret.check_response(packet, self.datagram[4:20])
        return answer


@dataclass(frozen=True, slots=True)
class DynamicAnswer:
    """ACK or NAK. Neither is the truth about the session: what is observed next is (a NAK may follow half a change)."""

    acknowledged: bool
    error_cause: int | None

    @property
    def words(self) -> str:
        """The Error-Cause in words; a NAK without one says so."""
        if self.error_cause is not None:
            return ERROR_CAUSES.get(self.error_cause, f"Error-Cause {self.error_cause}")
        return "" if self.acknowledged else "no Error-Cause given"


def answers(packet: Packet, code: int) -> DynamicAnswer:
    """What a packet says to a request of this code. Raises PeerError when it is no answer to such a request."""
    ack, nak = _ANSWERS[code]
    if packet.code not in (ack, nak):
        raise PeerError("code", f"packet code {packet.code} answers no request of code {code}")
    return DynamicAnswer(packet.code == ack, packet.integer(_ERROR_CAUSE))


def refusal(request: Packet, secret: SharedSecret, error_cause: int) -> bytes:
    """The NAK to a CoA or Disconnect request that was verified."""
    nak = _ANSWERS[request.code][1]
    return secret.response(nak, request, integer_attribute(_ERROR_CAUSE, error_cause), signed=False)

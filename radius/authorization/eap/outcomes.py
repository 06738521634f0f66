"""What became of EAP conversations, by the method of their last packet. Pure; read by radius.counters."""

from __future__ import annotations

from radius.protocol.codes import ACCESS_ACCEPT, ACCESS_REJECT, Attr
from radius.protocol.packet import Packet
from radius.protocol.server import Answer, Decision, then

_METHODS = {1: "identity", 3: "nak", 4: "md5", 13: "tls", 21: "ttls", 25: "peap", 26: "mschapv2"}
"""EAP types that are told apart (IANA's registry of RFC 3748 §5): the peer must not choose how many series we keep."""
_RESULTS = {ACCESS_ACCEPT: "accept", ACCESS_REJECT: "reject"}


class EapOutcomes:
    """(method, "accept" or "reject") → how many conversations ended so."""

    def __init__(self) -> None:
        self.ended: dict[tuple[str, str], int] = {}

    def counted(self, answer: Answer, packet: Packet) -> Answer:
        """The same answer; counted when it is made, if it ends the conversation."""
        return then(answer, lambda decision: self._count(decision, packet))

    def _count(self, decision: Decision, packet: Packet) -> Decision:
        result = _RESULTS.get(decision.code)
        if result is not None:
            message = packet.get(Attr.EAP_MESSAGE) or b""
            method = _METHODS.get(message[4], "other") if len(message) > 4 else "other"
            self.ended[method, result] = self.ended.get((method, result), 0) + 1
        return decision

"""CoA and Disconnect of other people's users, from their home server on to our NAS (RFC 8559). No sockets here.

    home server ── CoA-Request: User-Name, Operator-Name (us), Operator-NAS-Identifier ──► checks ──► NAS
                ◄─ ACK, or NAK with the NAS's Error-Cause ─────────────────────────────────────────────┘

Refuses what does not verify, what is old or was here before, a home server that speaks of users who are not its own,
and what belongs to another network: we send nothing further than to our own NAS, so nothing can go round in circles.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from controller.domain.errors import PeerError
from controller.domain.ports import CoaOutcome
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
from radius.protocol.nas import Nas
from radius.protocol.operator import of_operator, operator_nas, operator_realm
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet, encode_attributes, integer_attribute

WINDOW_S = 300
"""How old or early an Event-Timestamp may be (RFC 5176 §6.3)."""
_ANSWERS = {COA_REQUEST: (COA_ACK, COA_NAK), DISCONNECT_REQUEST: (DISCONNECT_ACK, DISCONNECT_NAK)}
_HOP = frozenset(
    map(
        int,
        (
            Attr.PROXY_STATE,
            Attr.EVENT_TIMESTAMP,
            Attr.MESSAGE_AUTHENTICATOR,
            Attr.NAS_IDENTIFIER,
            Attr.NAS_IP_ADDRESS,
        ),
    )
) | {95}  # NAS-IPv6-Address
"""Of this hop: ours to the NAS has its own, and a NAS that is asked needs not be told which it is."""

MISSING, MISMATCH, NOT_ROUTABLE, PROXY_TROUBLE = 402, 403, 502, 505


@dataclass(frozen=True, slots=True)
class Peer:
    """A home server that may ask, and whether a user is one of its own."""

    name: str
    secret: SharedSecret = field(repr=False)
    serves: Callable[[bytes], bool]


class Sends(Protocol):
    """radius.coa.CoaClient."""

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome: ...


class Refused(Exception):
    """A request that is answered with NAK."""

    def __init__(self, error_cause: int, words: str) -> None:
        super().__init__(words)
        self.error_cause = error_cause


@dataclass(frozen=True, slots=True)
class Accepted:
    """A verified request on its way to `nas`."""

    request: Packet
    peer: Peer
    nas: Nas
    attributes: bytes


def verified(datagram: bytes, peer: Peer, now: datetime) -> Packet:
    """The request, proved to come from the peer and to be of now. Raises PeerError: it is dropped in silence."""
    packet = Packet.decode(datagram)
    if packet.code not in _ANSWERS:
        raise PeerError("code", f"packet code {packet.code} on the port of dynamic authorization")
    peer.secret.check_request_authenticator(packet)
    peer.secret.check_message_authenticator(packet, ZERO_AUTHENTICATOR)
    stamp = packet.integer(Attr.EVENT_TIMESTAMP)
    if stamp is not None and abs(now.timestamp() - stamp) > WINDOW_S:
        # "if the Event-Timestamp … is not current, then the packet MUST be silently discarded" (RFC 5176 §6.3)
        raise PeerError("stale", f"Event-Timestamp is {now.timestamp() - stamp:.0f} s off; a replay, or a clock")
    return packet


def routed(packet: Packet, peer: Peer, registry: Iterable[Nas], own_realm: str) -> Accepted:
    """Whose NAS it is for. Raises Refused."""
    if packet.integer(Attr.EVENT_TIMESTAMP) is None:
        raise Refused(MISSING, "no Event-Timestamp: it could be replayed (RFC 5176 §6.3)")
    try:
        realm = operator_realm(packet)
    except PeerError as error:
        raise Refused(NOT_ROUTABLE, str(error)) from None
    if realm is not None and realm != own_realm:
        raise Refused(NOT_ROUTABLE, f"Operator-Name {realm!r} is not ours, {own_realm or 'which is not set'!r}")
    username = packet.get(Attr.USER_NAME)
    if username is None:
        raise Refused(MISSING, "no User-Name: whose user it is cannot be told (RFC 8559 §4)")
    if not peer.serves(username):
        raise Refused(NOT_ROUTABLE, f"the realm of {username.decode(errors='replace')!r} is not one of {peer.name}")
    kept = [one for one in packet.attributes() if one[0] not in _HOP and not of_operator(*one)]
    return Accepted(packet, peer, _find(packet, registry), encode_attributes(kept))


def answer(accepted_or_packet: Packet, peer: Peer, outcome: CoaOutcome) -> bytes:
    """The reply to the home server: what the NAS said, or 505 where it said nothing."""
    packet = accepted_or_packet
    ack, nak = _ANSWERS[packet.code]
    states = encode_attributes((int(Attr.PROXY_STATE), state) for state in packet.get_all(Attr.PROXY_STATE))
    if outcome.result == "ack":
        code, body = ack, b""
    else:
        cause = PROXY_TROUBLE if outcome.result == "timeout" else outcome.error_cause
        code, body = nak, b"" if cause is None else integer_attribute(Attr.ERROR_CAUSE, cause)
    signed = Attr.MESSAGE_AUTHENTICATOR in packet.offsets
    return peer.secret.response(code, packet, body + states, signed=signed)


def _find(packet: Packet, registry: Iterable[Nas]) -> Nas:
    """By Operator-NAS-Identifier, else by NAS-Identifier and address: all that are there must mean the same NAS.

    Beside an Operator-NAS-Identifier the others may be what the NAS calls itself, which nobody registered; they only
    must not be another NAS's.
    """
    token = operator_nas(packet.attributes())
    name, address = packet.get(Attr.NAS_IDENTIFIER), packet.get(Attr.NAS_IP_ADDRESS)
    if token is None and name is None and address is None:
        raise Refused(NOT_ROUTABLE, "it names no NAS: Operator-NAS-Identifier or NAS-Identifier is needed")
    shown = None if address is None or len(address) != 4 else str(ipaddress.IPv4Address(address))
    asked = [nas for nas in registry if nas.enabled and "/" not in nas.address]
    named = [] if name is None else [nas for nas in asked if nas.name.encode() == name]
    placed = [] if address is None else [nas for nas in asked if nas.address == shown]
    if token is not None:
        found = [nas for nas in asked if nas.nas_id.encode() == token]
        if found and any(others and found[0] not in others for others in (named, placed)):
            raise Refused(MISMATCH, "what it says of the NAS fits several")
    else:
        found = named if address is None else placed if name is None else [nas for nas in named if nas in placed]
    if len(found) != 1:
        some = bool(named or placed)
        raise Refused(
            MISMATCH if some else NOT_ROUTABLE, "what it says of the NAS fits " + ("several" if found else "none")
        )
    return found[0]

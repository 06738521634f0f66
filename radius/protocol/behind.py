"""NAS behind a proxy: many boxes send from one address, and number their sessions independently. Pure.

    packet with Proxy-State (RFC 2865 §5.33) or Operator-Name (RFC 5580 §4.1)
        └ whom it says that it is from: NAS-IP-Address, NAS-Identifier, NAS-IPv6-Address, within that operator's network
            └ a NAS of its own, with the proxy's secret and settings

So two of them may use the same Acct-Session-Id, and the restart of one ends nobody's sessions at another. A proxy that
adds neither attribute cannot be told from a NAS.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from hashlib import sha256

from controller.domain.identity import NasId
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.operator import OPERATOR_NAME, of_operator
from radius.protocol.packet import Packet, encode_attributes

_PROXY_STATE = int(Attr.PROXY_STATE)
_NAMES = (int(Attr.NAS_IP_ADDRESS), int(Attr.NAS_IDENTIFIER), int(Attr.NAS_IPV6_ADDRESS))
_MOST_KEPT = 10_000


def names_of(packet: Packet) -> bytes:
    """The attributes by which its proxy knows the NAS that a packet comes from; empty when no proxy is in between.

    Operator-NAS-Identifier alone may differ from packet to packet (RFC 8559 §3.4 leaves its octets to the operator), so
    it counts only where nothing else is told.
    """
    offsets = packet.offsets
    if _PROXY_STATE not in offsets and OPERATOR_NAME not in offsets:
        return b""
    told = sorted((kind, value) for kind, value in packet.attributes() if kind in _NAMES)
    if not told:
        return encode_attributes((kind, value) for kind, value in packet.attributes() if of_operator(kind, value))
    operator = packet.get(OPERATOR_NAME)
    return encode_attributes(told if operator is None else [*told, (OPERATOR_NAME, operator)])


def box_id(proxy: NasId, names: bytes) -> NasId:
    """The same in every process and at every time."""
    return NasId(sha256(f"{proxy} ".encode() + names).hexdigest()[:32])


def nas_id_of(packet: Packet, nas: Nas) -> NasId:
    """Under which id the accounting of what logs in by this packet will come."""
    names = names_of(packet)
    return box_id(nas.nas_id, names) if names else nas.nas_id


def box(proxy: Nas, names: bytes) -> Nas:
    """The NAS that a proxy knows by these attributes."""
    network = proxy.member_of or proxy.nas_id
    return replace(proxy, nas_id=box_id(proxy.nas_id, names), member_of=network, proxy_id=proxy.nas_id, names=names)


def words(names: bytes) -> str:
    """How the proxy calls the box, for people: its identifier and addresses, else the octets of an operator."""
    told, position = [], 0
    while position < len(names):
        kind, value = names[position], names[position + 2 : position + names[position + 1]]
        position += names[position + 1]
        if kind == Attr.NAS_IDENTIFIER:
            told.append(value.decode(errors="backslashreplace"))
        elif kind in _NAMES and len(value) in (4, 16):
            told.append(str(ipaddress.ip_address(value)))
        elif kind == OPERATOR_NAME:
            told.append(f"of {value[1:].decode(errors='backslashreplace')}")
        else:
            told.append(value.hex())
    return " ".join(told)


class Boxes:
    """The NAS of each packet, one object for all packets of a box."""

    def __init__(self) -> None:
        self._known: dict[tuple[Nas, bytes], Nas] = {}

    def of(self, packet: Packet, nas: Nas) -> Nas:
        """`nas`, or the box behind it."""
        names = names_of(packet)
        if not names:
            return nas
        found = self._known.get((nas, names))
        if found is None:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            found = self._known[nas, names] = box(nas, names)
        return found

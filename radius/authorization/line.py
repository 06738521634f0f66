"""Lines: what a NAS can name that no password stands for, and how a request names it.

kind      where it stands in a request
circuit   Agent-Circuit-Id (RFC 4679 §3.3.1; option 82, sub-option 1)
remote    Agent-Remote-Id (RFC 4679 §3.3.2; option 82, sub-option 2)
port      NAS-Port-Id (RFC 2869 §5.17), at one NAS
mac       User-Name, in any usual spelling, and Calling-Station-Id: both the same address
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from controller.domain.errors import RuleError
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.packet import Packet

CIRCUIT: Final = "circuit"
REMOTE: Final = "remote"
PORT: Final = "port"
MAC: Final = "mac"
KINDS: Final = (CIRCUIT, REMOTE, PORT, MAC)
"""In the order in which a request is looked up: the nearest to the wire first."""

_ADSL_FORUM = 3561
_AGENT_CIRCUIT_ID, _AGENT_REMOTE_ID = 1, 2
_CISCO = (9).to_bytes(4, "big")
_AV_PAIR = 1
_USER_NAME, _NAS_PORT_ID = int(Attr.USER_NAME), int(Attr.NAS_PORT_ID)
_CALLING_STATION_ID, _VENDOR_SPECIFIC = int(Attr.CALLING_STATION_ID), int(Attr.VENDOR_SPECIFIC)
_MAC_SPELLINGS = re.compile(
    rb"[0-9a-f]{12}|[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}"
    rb"|[0-9a-f]{6}-[0-9a-f]{6}",
    re.IGNORECASE,
)
_NOT_HEX = re.compile(rb"[^0-9a-f]")


@dataclass(frozen=True, slots=True)
class Line:
    """What identifies a line. `nas_id` empty: at any NAS. `value` as on the wire, of a MAC its twelve hex digits."""

    kind: str
    value: bytes
    nas_id: str = ""


def line(kind: str, value: bytes, nas_id: str = "") -> Line:
    """A line as it is stored. Raises RuleError."""
    if kind not in KINDS:
        raise RuleError(f"no kind of line {kind!r}; known: {', '.join(KINDS)}")
    if kind == MAC:
        address = mac(value)
        if address is None:
            raise RuleError(f"{value.decode(errors='backslashreplace')!r} is no MAC address")
        value = address
    if not 0 < len(value) <= 247:
        raise RuleError("a circuit, remote or port id has 1 to 247 octets")
    if kind == PORT and not nas_id:
        raise RuleError("a port belongs to a NAS: name it")
    return Line(kind, value, nas_id)


def mac(text: bytes) -> bytes | None:
    """Twelve hex digits in lower case; None for what is no MAC address in one of the usual spellings."""
    return _NOT_HEX.sub(b"", text.lower()) if _MAC_SPELLINGS.fullmatch(text) else None


def named_by(packet: Packet, nas: Nas) -> list[Line]:
    """Every line that the request names and the NAS may speak for, nearest to the wire first, its own NAS first."""
    values = {
        CIRCUIT: packet.vendor(_ADSL_FORUM, _AGENT_CIRCUIT_ID) or _av_pair(packet, b"circuit-id-tag="),
        REMOTE: packet.vendor(_ADSL_FORUM, _AGENT_REMOTE_ID) or _av_pair(packet, b"remote-id-tag="),
        PORT: packet.get(_NAS_PORT_ID),
        MAC: _station(packet),
    }
    return [
        Line(kind, value, nas_id)
        for kind in KINDS
        if kind in nas.line_logins and (value := values[kind])
        for nas_id in ((nas.nas_id,) if kind == PORT else (nas.nas_id, ""))
    ]


def _av_pair(packet: Packet, name: bytes) -> bytes | None:
    """The value of the first Cisco-AVPair of this name, where each stands in a Vendor-Specific of its own."""
    for value in packet.get_all(_VENDOR_SPECIFIC):
        if value[:4] == _CISCO and value[4:5] == bytes((_AV_PAIR,)) and value[6 : 6 + len(name)] == name:
            return value[6 + len(name) : 4 + value[5]]
    return None


def _station(packet: Packet) -> bytes | None:
    """The address that both User-Name and Calling-Station-Id say."""
    address = mac(packet.get(_USER_NAME) or b"")
    return address if address is not None and mac(packet.get(_CALLING_STATION_ID) or b"") == address else None

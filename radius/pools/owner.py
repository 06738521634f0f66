"""What tells two lines of one service apart, in a login and in a session's row alike. Pure."""

from __future__ import annotations

from radius.authorization.conditions import station
from radius.protocol.codes import Attr
from radius.protocol.packet import Packet


def station_of(calling_station_id: str | None, nas_port_id: str | None, nas_id: str) -> str:
    """Calling-Station-Id, a MAC address in one spelling; else the port of that NAS; else ""."""
    if calling_station_id:
        return station(calling_station_id)
    return f"{nas_id} {nas_port_id}" if nas_port_id else ""


def station_in(packet: Packet, nas_id: str) -> str:
    """`station_of` an Access-Request."""
    return station_of(_text(packet, Attr.CALLING_STATION_ID), _text(packet, Attr.NAS_PORT_ID), nas_id)


def _text(packet: Packet, kind: int) -> str | None:
    """As accounting keeps it (radius.accounting.record)."""
    value = packet.get(kind)
    return None if value is None else value.decode("utf-8", "replace").replace("\0", "\ufffd")

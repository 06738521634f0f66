"""Octet counters for IPv6 alone, as vendors send them beside the standard ones.

The standard attributes are the aggregate of IPv4 and IPv6 on every BRAS that is known to send these (Juniper: "Acct-
Input-Octets … the aggregate"; Huawei with its default accounting), so nobody adds them up unless a NAS is registered
as one that leaves IPv6 out of the standard counters.
"""

from __future__ import annotations

from typing import NamedTuple

from radius.protocol.packet import Packet


class Counters(NamedTuple):
    """Types of one vendor's sub-attributes: received at and sent to the subscriber's port, and their gigawords."""

    vendor_id: int
    received: int
    sent: int
    received_gigawords: int
    sent_gigawords: int


KNOWN = (
    Counters(4874, 151, 152, 155, 156),  # ERX-IPv6-Acct-Input-Octets …: Juniper MX, ERX
    Counters(2011, 144, 145, 148, 149),  # HW-Acct-IPv6-Input-Octets …: Huawei ME60, NE40E
)


def octets(packet: Packet) -> tuple[int | None, int | None]:
    """What came from the subscriber's port over IPv6 and what went there; None where the packet does not say."""
    for vendor in KNOWN:
        received = _counter(packet, vendor.vendor_id, vendor.received, vendor.received_gigawords)
        sent = _counter(packet, vendor.vendor_id, vendor.sent, vendor.sent_gigawords)
        if received is not None or sent is not None:
            return received, sent
    return None, None


def _counter(packet: Packet, vendor_id: int, low: int, gigawords: int) -> int | None:
    value, wraps = packet.vendor(vendor_id, low), packet.vendor(vendor_id, gigawords)
    if value is None or len(value) != 4:
        return None
    high = int.from_bytes(wraps, "big") if wraps is not None and len(wraps) == 4 else 0
    # More than 2^56 octets is no measurement, and nine exabytes is what the database can hold.
    return None if high >> 24 else int.from_bytes(value, "big") | high << 32

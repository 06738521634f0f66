"""Octet counters for IPv6 alone, as vendors send them beside the standard ones.

Nobody adds them to the standard ones unless a NAS is registered as one that leaves IPv6 out of those:

    Juniper     Acct-Input-Octets is "the aggregate (IPv4 and IPv6)", 26-151…156 "the IPv6 portion" of it
                (Junos subscriber management, "MLPPP Subscriber Accounting Statistics Overview")
    Nokia       Alc-IPv6-Acct-… are IPv6 aggregates for v6-aggregate-stats, beside std-acct-attributes
                (7750 SR RADIUS Attributes Reference Guide 14.0, ESM accounting, [26-6527-199])
    Huawei      "accounting dual-stack separate", the default, sends IPv4 and IPv6 apart, "identical" both together
                (NetEngine 8000 command reference, "accounting dual-stack"): a box of that default needs the switch
    Cisco XR    acct-input-octets-ipv6=… and its like in Cisco-AVPair, seen beside acct-input-octets-ipv4=… (XRv 9000
                vBNG lab guide); no document says what the standard counters then hold
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
    Counters(6527, 195, 198, 196, 199),  # Alc-IPv6-Acct-Input-Octets …: Nokia 7750 SR
)
_CISCO, _AV_PAIR = 9, 1
_RECEIVED, _SENT = b"acct-input-octets-ipv6", b"acct-output-octets-ipv6"
_RECEIVED_GIGAWORDS, _SENT_GIGAWORDS = b"acct-input-gigawords-ipv6", b"acct-output-gigawords-ipv6"


def octets(packet: Packet) -> tuple[int | None, int | None]:
    """What came from the subscriber's port over IPv6 and what went there; None where the packet does not say."""
    for vendor in KNOWN:
        received = _counter(packet, vendor.vendor_id, vendor.received, vendor.received_gigawords)
        sent = _counter(packet, vendor.vendor_id, vendor.sent, vendor.sent_gigawords)
        if received is not None or sent is not None:
            return received, sent
    return _in_pairs(packet)


def _counter(packet: Packet, vendor_id: int, low: int, gigawords: int) -> int | None:
    value, wraps = packet.vendor(vendor_id, low), packet.vendor(vendor_id, gigawords)
    if value is None or len(value) != 4:
        return None
    high = int.from_bytes(wraps, "big") if wraps is not None and len(wraps) == 4 else 0
    return _whole(int.from_bytes(value, "big"), high)


def _in_pairs(packet: Packet) -> tuple[int | None, int | None]:
    """Cisco's, as text."""
    said: dict[bytes, int] = {}
    for pair in packet.vendor_all(_CISCO, _AV_PAIR):
        name, _, value = pair.partition(b"=")
        if value.isdigit() and len(value) <= 10:
            said.setdefault(name, int(value))
    received, sent = said.get(_RECEIVED), said.get(_SENT)
    return (
        None if received is None else _whole(received, said.get(_RECEIVED_GIGAWORDS, 0)),
        None if sent is None else _whole(sent, said.get(_SENT_GIGAWORDS, 0)),
    )


def _whole(low: int, gigawords: int) -> int | None:
    # More than 2^56 octets is no measurement, and nine exabytes is what the database can hold.
    return None if gigawords >> 24 or low >> 32 else low | gigawords << 32

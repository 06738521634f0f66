"""What an accounting record says about addresses: IPv4, IPv6, prefixes, and ports of a shared IPv4 address. Pure.

    Framed-IP-Address (RFC 2865 §5.8)      Framed-IPv6-Prefix, Framed-Interface-Id (RFC 3162 §2.2, §2.3)
    Framed-IPv6-Address (RFC 6911 §3.1)    Delegated-IPv6-Prefix (RFC 4818)
    IP-Port-Range, IP-Port-Forwarding-Map (RFC 8045 §3.1), and what Huawei and Nokia say instead

A session has most of them for all its life and repeats them in each Interim, so a record is first compared as octets
with what the session said last; only what is new is read. Values that are none read as absent.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from radius.accounting.record import AccountingRecord
from radius.protocol.codes import Attr
from radius.protocol.packet import Packet

FRAMED_IPV4, FRAMED_IPV6, FRAMED_PREFIX = "framed-ipv4", "framed-ipv6", "framed-prefix"
DELEGATED_PREFIX, INTERFACE_ID, SHARED_PORTS = "delegated-prefix", "interface-id", "shared-ports"

ALL_PORTS = (0, 65_535)
IPV4_ALONE = 6
"""Length of what `raw` returns for a record that speaks of a framed IPv4 address and of nothing else."""

_FRAMED_IP, _VENDOR = int(Attr.FRAMED_IP_ADDRESS), int(Attr.VENDOR_SPECIFIC)
EVENTS = 241
"""The attribute (Extended-Type-1, RFC 6929) in which events are told: equal octets may tell of two of them."""
_INTERFACE_ID, _PREFIX, _DELEGATED, _IPV6_ADDRESS = 96, 97, 123, 168
_SELDOM = frozenset((_INTERFACE_ID, _PREFIX, _DELEGATED, _IPV6_ADDRESS, EVENTS))
_SHARING_VENDORS = frozenset(("huawei", "nokia-sros"))
"""Kinds of NAS (radius.vendors.reply) that name the ports of a shared address in attributes of their own."""

_PORT_RANGE, _PORT_MAP = 6, 7
_EXTERNAL_IPV4, _EXTERNAL_PORT, _ALLOC, _RANGE_START, _RANGE_END = 3, 7, 8, 9, 10
_HUAWEI, _HUAWEI_ADDRESS, _HUAWEI_START, _HUAWEI_END, _HUAWEI_UPDATE = 2011, 161, 162, 163, 165
_ADDED, _DELETED = 0, 1
"""Of HW-Nat-Port-Range-Update (26-165); without it, or with another value, the record says what there is now."""
_NOKIA, _NOKIA_PORT_RANGE = 6527, 121
_RANGE = rb"\d{1,5}(?:\.\.|-)\d{1,5}"
_NOKIA_RANGES = re.compile(
    rb"(\d{1,3}(?:\.\d{1,3}){3})\s+(" + _RANGE + rb"(?:,\s*" + _RANGE + rb")*)(?:\s.*)?", re.ASCII | re.DOTALL
)
"""Such as `180.0.1.248 37674-37723,38507-38556 router base` (RADIUS Attributes Reference Guide, [26-6527-121])."""
_NUMBERS = re.compile(rb"\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Said:
    """One address or prefix, in canonical text, with its ports.

    `is_event`: the record tells that it was given, or (`is_given` false) taken away, at that moment. Else the record
    names all of this kind that the session now has.
    """

    kind: str
    network: str
    ports: tuple[int, int] = ALL_PORTS
    is_event: bool = False
    is_given: bool = True


def raw(record: AccountingRecord) -> bytes:
    """The octets that `read` would read: equal octets say the same. Cheap, because every record is asked."""
    packet = record.packet
    data, offsets = packet.data, packet.offsets
    start = offsets.get(_FRAMED_IP)
    octets = b"" if start is None else data[start : start + data[start + 1]]
    if not offsets.keys().isdisjoint(_SELDOM):
        octets += b"".join([bytes((kind,)) + value for kind, value in packet.attributes() if kind in _SELDOM])
    if _VENDOR in offsets and record.nas.vendor in _SHARING_VENDORS:
        octets += b"".join(packet.get_all(_VENDOR))
    return octets


def read(packet: Packet) -> list[Said]:
    """Everything that a packet says about addresses."""
    return [said for kind, value in packet.attributes() for said in _attribute(kind, value)] + [
        *_huawei(packet),
        *_nokia(packet),
    ]


def given(attributes: bytes, packet: Packet) -> list[Said]:
    """Prefixes that an Access-Accept gave and that this record, the first of its session, says nothing of: many a NAS
    reports a delegated prefix late, or never."""
    found, position = list[Said](), 0
    while position < len(attributes):
        kind, length = attributes[position], attributes[position + 1]
        if kind not in packet.offsets:
            found += _attribute(kind, attributes[position + 2 : position + length])
        position += length
    return found


def _attribute(kind: int, value: bytes) -> Iterator[Said]:
    if kind == _FRAMED_IP and len(value) == 4 and value[:3] != b"\xff\xff\xff":
        yield Said(FRAMED_IPV4, f"{ipaddress.IPv4Address(value)}/32")
    elif kind == _IPV6_ADDRESS and len(value) == 16:
        yield Said(FRAMED_IPV6, f"{ipaddress.IPv6Address(value)}/128")
    elif kind in (_PREFIX, _DELEGATED):
        network = _prefix(value)
        if network is not None:
            yield Said(FRAMED_PREFIX if kind == _PREFIX else DELEGATED_PREFIX, network)
    elif kind == _INTERFACE_ID and len(value) == 8:
        yield Said(INTERFACE_ID, ":".join(value[n : n + 2].hex() for n in range(0, 8, 2)))
    elif kind == EVENTS and value[:1] in (bytes((_PORT_RANGE,)), bytes((_PORT_MAP,))):
        yield from _ports(value[0], value[1:])


def _prefix(value: bytes) -> str | None:
    """Reserved octet, length in bits, as many octets of prefix as are needed, at most 16 (RFC 3162 §2.3)."""
    if not 2 <= len(value) <= 18 or value[1] > 128 or 8 * (len(value) - 2) < value[1]:
        return None
    return str(ipaddress.IPv6Network((value[2:].ljust(16, b"\0"), value[1]), strict=False))


def _ports(kind: int, tlvs: bytes) -> Iterator[Said]:
    """IP-Port-Range and IP-Port-Forwarding-Map (RFC 8045 §3.1.2, §3.1.3), whose TLVs are numbered alike."""
    values: dict[int, bytes] = {}
    position = 0
    while position + 2 <= len(tlvs):
        length = tlvs[position + 1]
        if length < 2 or position + length > len(tlvs):
            return
        values.setdefault(tlvs[position], tlvs[position + 2 : position + length])
        position += length
    address = values.get(_EXTERNAL_IPV4, b"")
    first = _number(values.get(_RANGE_START if kind == _PORT_RANGE else _EXTERNAL_PORT))
    last = _number(values.get(_RANGE_END)) if kind == _PORT_RANGE else first
    if len(address) == 4 and first is not None and last is not None and first <= last:
        alloc = _number(values.get(_ALLOC))
        network = f"{ipaddress.IPv4Address(address)}/32"
        yield Said(SHARED_PORTS, network, (first, last), is_event=alloc is not None, is_given=alloc != 2)


def _number(value: bytes | None) -> int | None:
    if value is None or len(value) != 4:
        return None
    number = int.from_bytes(value, "big")
    return number if number <= ALL_PORTS[1] else None


def _huawei(packet: Packet) -> Iterator[Said]:
    address = packet.vendor(_HUAWEI, _HUAWEI_ADDRESS)
    first, last = _number(packet.vendor(_HUAWEI, _HUAWEI_START)), _number(packet.vendor(_HUAWEI, _HUAWEI_END))
    if address is not None and len(address) == 4 and first is not None and last is not None and first <= last:
        update = _number(packet.vendor(_HUAWEI, _HUAWEI_UPDATE))
        network, is_event = f"{ipaddress.IPv4Address(address)}/32", update in (_ADDED, _DELETED)
        yield Said(SHARED_PORTS, network, (first, last), is_event=is_event, is_given=update != _DELETED)


def _nokia(packet: Packet) -> Iterator[Said]:
    """What does not fit into one attribute goes on in the next, address and all."""
    for text in packet.vendor_all(_NOKIA, _NOKIA_PORT_RANGE):
        match = _NOKIA_RANGES.fullmatch(text.rstrip(b"\0"))
        if match is None:
            continue
        try:
            address = ipaddress.IPv4Address(match[1].decode())
        except ValueError:
            continue
        numbers = [int(number) for number in _NUMBERS.findall(match[2])]
        for first, last in zip(numbers[::2], numbers[1::2], strict=True):
            if first <= last <= ALL_PORTS[1]:
                yield Said(SHARED_PORTS, f"{address}/32", (first, last))

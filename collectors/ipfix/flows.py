"""What a flow says of subscribers: octets from and to their addresses, and when. Pure.

    source in our networks       → upstream of the source
    destination in our networks  → downstream of the destination
    both                         → both, each of its own subscriber; a biflow's reverse octets the other way round

Times are those of the flow where the record tells them, else of the export. Octets are the deltas since the flow's
last record (octetDeltaCount); totals since its begin would count twice and are not read. What cannot be told of a flow
is said with a reason, so that it can be counted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from collectors.ipfix.message import REVERSE, Record, whole

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NTP_EPOCH = datetime(1900, 1, 1, tzinfo=UTC)
_OCTETS, _REVERSE_OCTETS = (0, 1), (REVERSE, 1)
_SOURCES, _DESTINATIONS = ((0, 8), (0, 27)), ((0, 12), (0, 28))
_SYSTEM_STARTED = (0, 160)
_OTHER_COUNTS = ((0, 85), (0, 23), (0, 171), (0, 231), (0, 232))
"""octetTotalCount, the counts after the box, and those of initiator and responder."""
_MOST_OCTETS = 2**60
"""Of one flow record. No port carries that, and sums of what is stored would not fit."""
_LONGEST = timedelta(hours=2)
"""A flow record that covers more is not believed in its begin: exporters report long flows every half hour at most."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Carried(NamedTuple):
    """Octets of one subscriber's address in [since, until). One is made for every record, which a tuple makes cheap."""

    address: str
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int


def networks(text: str) -> tuple[Network, ...]:
    """From "100.64.0.0/10, 2001:db8::/32". Raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def within(address: Address, ours: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in ours)


def system_started(record: Record) -> datetime | None:
    """When the exporter's uptime began, where the record tells (systemInitTimeMilliseconds)."""
    told = record.get(_SYSTEM_STARTED)
    try:
        return None if not told else _EPOCH + timedelta(milliseconds=whole(told))
    except OverflowError:
        return None


def untold(record: Record) -> str | None:
    """Why the octets of a flow record are not taken ("absurd", "no-delta"); None when they are, or are no flow's."""
    octets, reverse = whole(record.get(_OCTETS, b"")), whole(record.get(_REVERSE_OCTETS, b""))
    if max(octets, reverse) > _MOST_OCTETS:
        return "absurd"
    if _OCTETS not in record and _REVERSE_OCTETS not in record and any(found in record for found in _OTHER_COUNTS):
        return "no-delta"
    return None


def carried(
    record: Record, exported_at: datetime, started_at: datetime | None, ours: Sequence[Network]
) -> list[Carried]:
    """What the record says of our subscribers; nothing for options, and for flows of others."""
    octets, reverse = whole(record.get(_OCTETS, b"")), whole(record.get(_REVERSE_OCTETS, b""))
    source, destination = _address(record, _SOURCES), _address(record, _DESTINATIONS)
    if source is None or destination is None or not (octets or reverse) or max(octets, reverse) > _MOST_OCTETS:
        return []
    since, until = _times(record, exported_at, system_started(record) or started_at)
    found = []
    if within(source, ours):
        found.append(Carried(str(source), since, until, octets, reverse))
    if within(destination, ours):
        found.append(Carried(str(destination), since, until, reverse, octets))
    return found


def multiplied(flow: Carried, factor: Fraction) -> Carried | None:
    """What the whole traffic was, estimated from its sample: rounded once, half up. None where it would be absurd."""
    times, of = factor.as_integer_ratio()
    upstream = (2 * flow.upstream_octets * times + of) // (2 * of)
    downstream = (2 * flow.downstream_octets * times + of) // (2 * of)
    if max(upstream, downstream) > _MOST_OCTETS:
        return None
    return Carried(flow.address, flow.since, flow.until, upstream, downstream)


def _address(record: Record, elements: Iterable[tuple[int, int]]) -> Address | None:
    for element in elements:
        told = record.get(element)
        if told is not None and len(told) in (4, 16):
            address = ipaddress.ip_address(told)
            return getattr(address, "ipv4_mapped", None) or address
    return None


def _times(record: Record, exported_at: datetime, started_at: datetime | None) -> tuple[datetime, datetime]:
    """Begin and end; neither after the export, nor the begin unbelievably long before the end."""
    end = _time(record, exported_at, started_at, (151, 153, 155, 157, 21))
    begin = _time(record, end, started_at, (150, 152, 154, 156, 22))
    end = min(end, exported_at + timedelta(seconds=1))
    return (begin if timedelta(0) <= end - begin <= _LONGEST else end), end


def _time(
    record: Record, otherwise: datetime, started_at: datetime | None, elements: tuple[int, int, int, int, int]
) -> datetime:
    seconds, millis, micros, nanos, uptime = (record.get((0, element)) for element in elements)
    try:
        if seconds:
            return _EPOCH + timedelta(seconds=whole(seconds))
        if millis:
            return _EPOCH + timedelta(milliseconds=whole(millis))
        for ntp in (micros, nanos):  # seconds of 1900 and fractions of them, RFC 7011 §6.1.9
            if ntp and len(ntp) == 8:
                parts = int.from_bytes(ntp[:4], "big"), int.from_bytes(ntp[4:], "big")
                return _NTP_EPOCH + timedelta(seconds=parts[0], microseconds=parts[1] * 1_000_000 >> 32)
        if uptime and started_at is not None:
            return started_at + timedelta(milliseconds=whole(uptime))
    except OverflowError:
        return otherwise
    return otherwise

"""Reply attributes that the RFCs define, which every NAS understands or ignores.

RFC 2865  Service-Type, Framed-Protocol, timers, address, Filter-Id     RFC 2869  Framed-Pool, Acct-Interim-Interval
RFC 3162  Framed-IPv6-Prefix, Framed-IPv6-Pool                          RFC 4818  Delegated-IPv6-Prefix
RFC 6911  Framed-IPv6-Address, its pools                                    RFC 3580  VLAN in tunnel attributes
"""

from __future__ import annotations

import ipaddress

from radius.protocol.codes import Attr
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors.terms import Addresses, Filters, Pools, Timers

_FRAMED_USER = 2
_PPP = 1
_TUNNEL_VLAN = 13
_MEDIUM_802 = 6
_FRAMED_IP_ADDRESS = bytes((Attr.FRAMED_IP_ADDRESS, 6))
"""Type and length, which is always the same (RFC 2865 §5.8)."""


def framed() -> bytes:
    """Service-Type Framed and Framed-Protocol PPP (RFC 2865 §5.6, §5.7)."""
    return integer_attribute(Attr.SERVICE_TYPE, _FRAMED_USER) + integer_attribute(Attr.FRAMED_PROTOCOL, _PPP)


def timers(terms: Timers) -> bytes:
    """Session-Timeout, Idle-Timeout, Acct-Interim-Interval; a timer of 0 s is left out, which means no limit."""
    values = (
        (Attr.SESSION_TIMEOUT, terms.session_timeout_s),
        (Attr.IDLE_TIMEOUT, terms.idle_timeout_s),
        (Attr.ACCT_INTERIM_INTERVAL, terms.interim_interval_s),
    )
    return b"".join(integer_attribute(kind, value) for kind, value in values if value)


def addresses(own: Addresses) -> bytes:
    """Framed-IP-Address, Framed-IPv6-Prefix and -Address, Delegated-IPv6-Prefix; the NAS chooses what is None."""
    encoded = b""
    if own.ipv4 is not None:
        # The address was checked when it was stored; ipaddress would take half of a directory's loading time.
        encoded = _FRAMED_IP_ADDRESS + bytes(map(int, own.ipv4.split(".")))
    if own.ipv6_prefix is not None:
        encoded += attribute(Attr.FRAMED_IPV6_PREFIX, prefix_value(own.ipv6_prefix))
    if own.delegated_prefix is not None:
        encoded += attribute(Attr.DELEGATED_IPV6_PREFIX, prefix_value(own.delegated_prefix))
    if own.ipv6_address is not None:
        encoded += attribute(Attr.FRAMED_IPV6_ADDRESS, prefix_value(own.ipv6_address)[2:])
    return encoded


def prefix_value(prefix: str) -> bytes:
    """Reserved octet, length in bits, all sixteen octets with zeros behind the prefix (RFC 3162 §2.3, RFC 4818 §3)."""
    network = ipaddress.IPv6Network(prefix)
    return bytes((0, network.prefixlen)) + network.network_address.packed


def pools(names: Pools) -> bytes:
    """Framed-Pool, Framed-IPv6-Pool, Delegated-IPv6-Prefix-Pool."""
    return (
        text(Attr.FRAMED_POOL, names.ipv4)
        + text(Attr.FRAMED_IPV6_POOL, names.ipv6)
        + text(Attr.DELEGATED_IPV6_PREFIX_POOL, names.delegated)
    )


def filters(names: Filters) -> bytes:
    """Filter-Id says nothing about a direction (RFC 2865 §5.11): upstream first, downstream when it is another."""
    encoded = text(Attr.FILTER_ID, names.upstream)
    return encoded if names.downstream == names.upstream else encoded + text(Attr.FILTER_ID, names.downstream)


def vlan(vlan_id: int) -> bytes:
    """Tunnel-Type VLAN, medium 802, the id in decimal digits; untagged, as RFC 3580 §3.31 asks for one tunnel."""
    return (
        integer_attribute(Attr.TUNNEL_TYPE, _TUNNEL_VLAN)
        + integer_attribute(Attr.TUNNEL_MEDIUM_TYPE, _MEDIUM_802)
        + text(Attr.TUNNEL_PRIVATE_GROUP_ID, str(vlan_id))
    )


def no_volume_limit(_octets: int) -> bytes:
    """The RFCs have no attribute for a volume: what is used is watched from here."""
    return b""


def text(kind: int, value: str | None) -> bytes:
    return b"" if value is None else attribute(kind, value.encode())

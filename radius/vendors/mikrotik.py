"""MikroTik RouterOS: Mikrotik-Rate-Limit, "rx-rate/tx-rate" seen from the router.

What the router receives is what the subscriber sends, so rx is upstream and tx downstream. Rates are numbers with an
optional k (1,000) or M (1,000,000) bit/s; further fields (burst, priority) may follow and do not change the limit.

Filter-Id names a chain of the firewall, with .in or .out for one direction. The garden is an address list, whose
members the firewall turns to the portal: a CoA gives the session another list, and a list that no rule names does
nothing. Mikrotik-Total-Limit ends a session by volume: of a hotspot; a PPP server of RouterOS ignores it, and what its
sessions use is watched from here. Source: RouterOS manual, "RADIUS Client", supported attributes.
"""

from __future__ import annotations

import re

from controller.domain.service import SpeedProfile
from radius.protocol.codes import MIKROTIK, MIKROTIK_RATE_LIMIT, Attr
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Rates, Vendor
from radius.vendors.terms import Filters, Garden, Pools

_TOTAL_LIMIT, _TOTAL_LIMIT_GIGAWORDS = 17, 18
_ADDRESS_LIST = 19
_DELEGATED_IPV6_POOL = 22

_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_LIMIT = re.compile(r"(\d{1,12})([kMG]?)(?:/(\d{1,12})([kMG]?))?(?:\s.*)?", re.ASCII)


def rate_limit(profile: SpeedProfile) -> str:
    """`20M/100M` for 100 Mbit/s downstream and 20 Mbit/s upstream."""
    return f"{_rate(profile.upstream_bps)}/{_rate(profile.downstream_bps)}"


def read_rate_limit(text: str) -> Rates | None:
    """The rates of a Mikrotik-Rate-Limit; one rate alone holds for both directions."""
    match = _LIMIT.fullmatch(text.strip())
    if match is None:
        return None
    receive = int(match[1]) * _UNITS[match[2]]
    transmit = receive if match[3] is None else int(match[3]) * _UNITS[match[4]]
    return Rates(downstream_bps=transmit, upstream_bps=receive)


def speed_attributes(profile: SpeedProfile) -> bytes:
    return vendor_attribute(MIKROTIK, MIKROTIK_RATE_LIMIT, rate_limit(profile).encode())


def pools(names: Pools) -> bytes:
    """Mikrotik-Delegated-IPv6-Pool in place of RFC 6911's attribute, which RouterOS does not list."""
    encoded = standard.pools(Pools(names.ipv4, names.ipv6))
    if names.delegated is not None:
        encoded += vendor_attribute(MIKROTIK, _DELEGATED_IPV6_POOL, names.delegated.encode())
    return encoded


def volume_limit(octets: int) -> bytes:
    """Of both directions together; above 32 bits in gigawords, as accounting counts them."""
    high, low = divmod(octets, 2**32)
    encoded = vendor_attribute(MIKROTIK, _TOTAL_LIMIT, low.to_bytes(4, "big"))
    return encoded + (vendor_attribute(MIKROTIK, _TOTAL_LIMIT_GIGAWORDS, high.to_bytes(4, "big")) if high else b"")


def filters(names: Filters) -> bytes:
    upstream, downstream = names.upstream, names.downstream
    return standard.text(Attr.FILTER_ID, upstream and f"{upstream}.in") + standard.text(
        Attr.FILTER_ID, downstream and f"{downstream}.out"
    )


def garden(walls: Garden) -> bytes:
    return vendor_attribute(MIKROTIK, _ADDRESS_LIST, walls.name.encode())


def garden_opened(walls: Garden, _filters: Filters) -> bytes:
    return vendor_attribute(MIKROTIK, _ADDRESS_LIST, walls.open_name.encode())


def _rate(rate_bps: int) -> str:
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if rate_bps % size == 0:
            return f"{rate_bps // size}{unit}"
    return str(rate_bps)


VENDOR = Vendor(
    name="mikrotik",
    speed_attributes=speed_attributes,
    rate_attribute=(MIKROTIK, MIKROTIK_RATE_LIMIT),
    read_rate=read_rate_limit,
    pools=pools,
    filters=filters,
    volume_limit=volume_limit,
    garden=garden,
    garden_opened=garden_opened,
    garden_is_filter=False,
    # RouterOS documents Class in its accounting requests and no rate ("RADIUS Client", Accounting-Request): asking for
    # one would leave every plan change unproved. Where a box does report it, the rate is what counts.
    class_proves_speed=True,
)

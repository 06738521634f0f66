"""Nokia SR OS (vendor 6527, Alcatel-Lucent): rates are overrides of a QoS policy, in kbit/s of 1,000 bit/s.

    Alc-Subscriber-QoS-Override   i:q:1:pir=20000     ingress is what comes from the subscriber: upstream
    Alc-Subscriber-QoS-Override   e:r:rate=100000     the egress aggregate: downstream

Filters are numbers of ip-filters (Alc-Subscriber-Filter "Ingr-v4:20,Egr-v4:21"); a name that is no number goes into
Filter-Id, as for any NAS. The garden is an SLA profile, whose filter redirects. Source: "7750 SR RADIUS Attributes
Reference Guide", subscriber host identification, and the details of [26.6527.126].
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Vendor, kbps
from radius.vendors.terms import Filters, Garden, Pools

NOKIA = 6527
_SLA_PROFILE = 13
_QOS_OVERRIDE = 126
_DELEGATED_IPV6_POOL = 131
_SUBSCRIBER_FILTER = 134


def speed_attributes(profile: SpeedProfile) -> bytes:
    return _text(_QOS_OVERRIDE, f"i:q:1:pir={kbps(profile.upstream_bps)}") + _text(
        _QOS_OVERRIDE, f"e:r:rate={kbps(profile.downstream_bps)}"
    )


def pools(names: Pools) -> bytes:
    encoded = standard.pools(Pools(names.ipv4, names.ipv6))
    return encoded if names.delegated is None else encoded + _text(_DELEGATED_IPV6_POOL, names.delegated)


def filters(names: Filters) -> bytes:
    given = [name for name in (names.upstream, names.downstream) if name is not None]
    if not all(name.isdecimal() for name in given):
        return standard.filters(names)
    parts = [] if names.upstream is None else [f"Ingr-v4:{names.upstream}"]
    parts += [] if names.downstream is None else [f"Egr-v4:{names.downstream}"]
    return _text(_SUBSCRIBER_FILTER, ",".join(parts)) if parts else b""


def garden(walls: Garden) -> bytes:
    return _text(_SLA_PROFILE, walls.name)


def garden_opened(walls: Garden, _filters: Filters) -> bytes:
    return _text(_SLA_PROFILE, walls.open_name)


def _text(kind: int, value: str) -> bytes:
    return vendor_attribute(NOKIA, kind, value.encode())


VENDOR = Vendor(
    name="nokia-sros",
    speed_attributes=speed_attributes,
    pools=pools,
    filters=filters,
    garden=garden,
    garden_opened=garden_opened,
    garden_is_filter=False,
)

"""Cisco: what IOS-XE and IOS-XR have in common, Cisco-AVPair (vendor 9, type 1), and what each does in its own way.

Both take rates as a parameterised QoS policy: the class-default of the policy that is attached to the subscriber is
shaped downstream and policed upstream anew. A policy must be attached, or the box ignores the change.

    IOS-XE  qos-policy-out=add-class(sub,(class-default),shape(100000000))     bit/s
    IOS-XR  qos-policy-out=add-class(sub,(class-default),shape(100000))        kbit/s

The same words with another unit: a plan of 100 Mbit/s would be 100 kbit/s on the one, 100 Gbit/s on the other. Sources:
"Configuring RADIUS-Based Policing", ISG Configuration Guide; "Deploying the Quality of Service", BNG Configuration
Guide for ASR 9000 4.3.x, where shape(400) by CoA becomes "shape average 400 kbps".
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Vendor, kbps
from radius.vendors.terms import Filters, Garden, Pools

CISCO = 9
_AV_PAIR = 1
_ACCOUNT_INFO = 250


def av_pair(text: str) -> bytes:
    return vendor_attribute(CISCO, _AV_PAIR, text.encode())


def _policies(upstream: int, downstream: int) -> bytes:
    return av_pair(f"qos-policy-out=add-class(sub,(class-default),shape({downstream}))") + av_pair(
        f"qos-policy-in=add-class(sub,(class-default),police({upstream}))"
    )


def xe_speed(profile: SpeedProfile) -> bytes:
    return _policies(profile.upstream_bps, profile.downstream_bps)


def xr_speed(profile: SpeedProfile) -> bytes:
    return _policies(kbps(profile.upstream_bps), kbps(profile.downstream_bps))


def xe_pools(names: Pools) -> bytes:
    """IOS-XE knows the pool of delegated prefixes by an AV pair, the others by the RFCs' attributes."""
    encoded = standard.pools(Pools(names.ipv4, names.ipv6))
    return encoded if names.delegated is None else encoded + av_pair(f"ipv6:delegated-ipv6-pool={names.delegated}")


def xr_pools(names: Pools) -> bytes:
    encoded = b"" if names.ipv4 is None else av_pair(f"ip:addr-pool={names.ipv4}")
    encoded += standard.pools(Pools(ipv6=names.ipv6))
    return encoded if names.delegated is None else encoded + av_pair(f"ipv6:delegated-ipv6-pool={names.delegated}")


def filters(names: Filters) -> bytes:
    """Access lists by name and direction; in and out are the router's."""
    encoded = b"" if names.upstream is None else av_pair(f"ip:inacl={names.upstream}")
    return encoded if names.downstream is None else encoded + av_pair(f"ip:outacl={names.downstream}")


def garden_at_login(walls: Garden) -> bytes:
    """Cisco-Account-Info "A<service>": the service of that name on the box, with its redirection, begins at once."""
    return vendor_attribute(CISCO, _ACCOUNT_INFO, f"A{walls.name}".encode())


def garden(walls: Garden) -> bytes:
    return av_pair("subscriber:command=activate-service") + av_pair(f"subscriber:service-name={walls.name}")


def garden_opened(walls: Garden, _filters: Filters) -> bytes:
    return av_pair("subscriber:command=deactivate-service") + av_pair(f"subscriber:service-name={walls.name}")


def xr_garden(walls: Garden) -> bytes:
    return av_pair(f"subscriber:sa={walls.name}")


def xr_garden_opened(walls: Garden, _filters: Filters) -> bytes:
    return av_pair(f"subscriber:sd={walls.name}")


IOS_XE = Vendor(
    name="cisco-ios-xe",
    speed_attributes=xe_speed,
    pools=xe_pools,
    filters=filters,
    garden=garden,
    garden_at_login=garden_at_login,
    garden_opened=garden_opened,
    garden_is_filter=False,
)
IOS_XR = Vendor(
    name="cisco-ios-xr",
    speed_attributes=xr_speed,
    pools=xr_pools,
    filters=filters,
    garden=xr_garden,
    garden_opened=xr_garden_opened,
    garden_is_filter=False,
)

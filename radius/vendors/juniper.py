"""Juniper MX (Junos subscriber management) and E Series: the VSAs of vendor 4874, called ERX.

Downstream is the shaping rate of the traffic-control profile, CoS-Parameter-Type (26-108) "T02 <rate>" in bit/s with an
optional k, m or g. Upstream is policed by a filter on the box, which Ingress-Policy-Name (26-10) names by the profile:
Junos has no attribute for a policer's rate. Both may be changed by CoA. Filters of a service and the walled garden are
services of the box, activated by tagged 26-65 and deactivated by 26-66: two of them never meet in one filter. Source:
"Juniper Networks VSAs Supported by the AAA Service Framework" and "CoS Traffic Shaping Predefined Variables", Junos.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Vendor
from radius.vendors.terms import Filters, Garden, Pools

JUNIPER = 4874
_INGRESS_POLICY_NAME = 10
_ACTIVATE_SERVICE = 65
_DEACTIVATE_SERVICE = 66
_COS_PARAMETER_TYPE = 108
_DELEGATED_POOL_NAME = 161

_UPSTREAM_TAG, _DOWNSTREAM_TAG, _GARDEN_TAG = 1, 2, 3
"""Activate-Service is tagged 1 to 8: each service that is activated at once has a tag of its own."""


def speed_attributes(profile: SpeedProfile) -> bytes:
    # The garden's profile has a name that no box takes (see GARDEN_PROFILE); its filter is called like the garden.
    policer = profile.name.removeprefix("~")
    return vendor_attribute(JUNIPER, _COS_PARAMETER_TYPE, f"T02 {_rate(profile.downstream_bps)}".encode()) + (
        vendor_attribute(JUNIPER, _INGRESS_POLICY_NAME, policer.encode())
    )


def pools(names: Pools) -> bytes:
    """The pool of delegated prefixes is a VSA (26-161); the others are the RFCs' attributes."""
    encoded = standard.pools(Pools(names.ipv4, names.ipv6))
    if names.delegated is None:
        return encoded
    return encoded + vendor_attribute(JUNIPER, _DELEGATED_POOL_NAME, names.delegated.encode())


def filters(names: Filters) -> bytes:
    encoded = b"" if names.upstream is None else _service(_ACTIVATE_SERVICE, _UPSTREAM_TAG, names.upstream)
    if names.downstream is None:
        return encoded
    return encoded + _service(_ACTIVATE_SERVICE, _DOWNSTREAM_TAG, names.downstream)


def garden(walls: Garden) -> bytes:
    return _service(_ACTIVATE_SERVICE, _GARDEN_TAG, walls.name)


def garden_opened(walls: Garden, _filters: Filters) -> bytes:
    return vendor_attribute(JUNIPER, _DEACTIVATE_SERVICE, walls.name.encode())


def _service(kind: int, tag: int, name: str) -> bytes:
    return vendor_attribute(JUNIPER, kind, bytes((tag,)) + name.encode())


def _rate(rate_bps: int) -> str:
    for size, unit in ((1_000_000, "m"), (1_000, "k")):
        if rate_bps % size == 0:
            return f"{rate_bps // size}{unit}"
    return str(rate_bps)


VENDOR = Vendor(
    name="juniper",
    speed_attributes=speed_attributes,
    pools=pools,
    filters=filters,
    garden=garden,
    garden_opened=garden_opened,
    garden_is_filter=False,
)

"""Huawei (vendor 2011): committed rates in bit/s, in attributes of 32 bits.

HW-Input is what comes from the user, so upstream. Only types 2 and 5, the committed rates, mean the same on NetEngine
routers and on switches: type 3 is the peak rate on the one and a burst size on the other. A rate above 4,294,967,295
bit/s has no number here, so both directions are then given by the name of a QoS profile on the box, which is the
speed profile's (type 31; the box compares it in lower case). Source: "RADIUS Attributes Defined by Huawei+1.1
Protocol", NetEngine 8000 F1A, where the unit of type 3 is bit/s and type 2 is its committed rate.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Vendor
from radius.vendors.terms import Filters, Garden

HUAWEI = 2011
_INPUT_COMMITTED_RATE = 2
_OUTPUT_COMMITTED_RATE = 5
_QOS_PROFILE_NAME = 31
_HTTP_REDIRECT_URL = 140
_MAX_RATE = 0xFFFF_FFFF


def speed_attributes(profile: SpeedProfile) -> bytes:
    if max(profile.upstream_bps, profile.downstream_bps) > _MAX_RATE:
        return vendor_attribute(HUAWEI, _QOS_PROFILE_NAME, profile.name.encode())
    return _number(_INPUT_COMMITTED_RATE, profile.upstream_bps) + _number(
        _OUTPUT_COMMITTED_RATE, profile.downstream_bps
    )


def garden(walls: Garden) -> bytes:
    """The user group or ACL of that name, and the page to which the box turns web requests."""
    encoded = standard.filters(Filters(walls.name))
    if walls.redirect_url is None:
        return encoded
    return encoded + vendor_attribute(HUAWEI, _HTTP_REDIRECT_URL, walls.redirect_url.encode())


def _number(kind: int, value: int) -> bytes:
    return vendor_attribute(HUAWEI, kind, value.to_bytes(4, "big"))


VENDOR = Vendor(name="huawei", speed_attributes=speed_attributes, garden=garden)

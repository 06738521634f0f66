"""WISPr (vendor 14122): what hotspots of many makers understand. Rates in bit/s, up and down are the user's.

The garden is a redirection: WISPr-Redirection-URL, shown after login. Sources: FreeRADIUS's dictionary.wispr, and
manuals of hotspots that give the unit (ChilliSpot, Gemtek); the Wi-Fi Alliance's paper of 2003 was not to be had.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors import standard
from radius.vendors.model import Vendor, u32
from radius.vendors.terms import Filters, Garden

WISPR = 14122
_REDIRECTION_URL = 4
_BANDWIDTH_MAX_UP = 7
_BANDWIDTH_MAX_DOWN = 8


def speed_attributes(profile: SpeedProfile) -> bytes:
    return vendor_attribute(WISPR, _BANDWIDTH_MAX_UP, u32(profile.upstream_bps).to_bytes(4, "big")) + (
        vendor_attribute(WISPR, _BANDWIDTH_MAX_DOWN, u32(profile.downstream_bps).to_bytes(4, "big"))
    )


def garden(walls: Garden) -> bytes:
    encoded = standard.filters(Filters(walls.name))
    if walls.redirect_url is None:
        return encoded
    return encoded + vendor_attribute(WISPR, _REDIRECTION_URL, walls.redirect_url.encode())


VENDOR = Vendor(name="wispr", speed_attributes=speed_attributes, garden=garden)

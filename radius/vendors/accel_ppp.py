"""accel-ppp: the shaper reads "down/up" in kbit/s from Filter-Id, its default attribute; one number is for both.

Downstream comes first, the other way round than on MikroTik. So Filter-Id can name no filter here, and a service's
filters are not sent. The garden of an IPoE session is L4-Redirect (243) with the ipset that its address joins (244);
0 takes it out. A PPP session is only slowed down: accel-ppp redirects none. Sources: accel-ppp documentation,
configuration/shaper and configuration/ipoe.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute, integer_attribute
from radius.vendors.model import Vendor, kbps
from radius.vendors.terms import Filters, Garden

_L4_REDIRECT = 243
_L4_REDIRECT_IPSET = 244


def speed_attributes(profile: SpeedProfile) -> bytes:
    rates = f"{kbps(profile.downstream_bps)}/{kbps(profile.upstream_bps)}"
    return attribute(Attr.FILTER_ID, rates.encode())


def filters(_names: Filters) -> bytes:
    return b""


def garden(walls: Garden) -> bytes:
    return integer_attribute(_L4_REDIRECT, 1) + attribute(_L4_REDIRECT_IPSET, walls.name.encode())


def garden_opened(_walls: Garden, _filters: Filters) -> bytes:
    return integer_attribute(_L4_REDIRECT, 0)


VENDOR = Vendor(
    name="accel-ppp",
    speed_attributes=speed_attributes,
    filters=filters,
    garden=garden,
    garden_opened=garden_opened,
    garden_is_filter=False,
)

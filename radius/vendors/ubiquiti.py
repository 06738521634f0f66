"""Ubiquiti (vendor 41112): UBNT-Data-Rate-DL and -UL in bit/s, seen from the station, which is the subscriber.

32 bits count to 4.29 Gbit/s; more than any radio carries is sent as their greatest number. Source: FreeRADIUS's
dictionary.ubiquiti for the numbers. No document of the vendor that says the unit was found: bit/s is what others send.
"""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.protocol.packet import vendor_attribute
from radius.vendors.model import Vendor, u32

UBIQUITI = 41112
_DATA_RATE_DL = 1
_DATA_RATE_UL = 3


def speed_attributes(profile: SpeedProfile) -> bytes:
    return vendor_attribute(UBIQUITI, _DATA_RATE_DL, u32(profile.downstream_bps).to_bytes(4, "big")) + (
        vendor_attribute(UBIQUITI, _DATA_RATE_UL, u32(profile.upstream_bps).to_bytes(4, "big"))
    )


VENDOR = Vendor(name="ubiquiti", speed_attributes=speed_attributes)

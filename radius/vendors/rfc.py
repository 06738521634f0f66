"""A NAS without a vendor profile: the RFCs have no attribute for a speed, so it takes the plan from Class, or not."""

from __future__ import annotations

from controller.domain.service import SpeedProfile
from radius.vendors.model import Vendor


def speed_attributes(_profile: SpeedProfile) -> bytes:
    return b""


VENDOR = Vendor(name="rfc", speed_attributes=speed_attributes)

"""The speed that reply attributes of a FreeRADIUS user name, in the attributes of several vendors. Pure."""

from __future__ import annotations

import re

from controller.domain.service import SpeedProfile
from radius.vendors.mikrotik import read_rate_limit

_FASTEST_BPS = 10**13

Items = dict[str, str]
"""Attribute name → value."""

_WISPR = ("WISPr-Bandwidth-Max-Down", "WISPr-Bandwidth-Max-Up")
_PAIRS = (
    _WISPR,
    ("Huawei-Output-Average-Rate", "Huawei-Input-Average-Rate"),
    ("PPPD-Downstream-Speed-Limit", "PPPD-Upstream-Speed-Limit"),
)
_KILOBITS = ("PPPD-Downstream-Speed-Limit", "PPPD-Upstream-Speed-Limit")
VENDOR_OF = {
    "Mikrotik-Rate-Limit": "mikrotik",
    "WISPr-Bandwidth-Max-Down": "wispr",
    "Huawei-Output-Average-Rate": "huawei",
    "PPPD-Downstream-Speed-Limit": "accel-ppp",
}
"""Whose attribute says a speed, by the names of our vendors."""


def take(items: Items) -> tuple[SpeedProfile | None, str, str]:
    """Takes the speed out of `items`: profile, the attribute that said it, and what of it is lost, in words."""
    limit = items.pop("Mikrotik-Rate-Limit", None)
    if limit is not None:
        rates = read_rate_limit((limit.split() or [""])[0])
        if rates is None or not all(0 < rate <= _FASTEST_BPS for rate in (rates.downstream_bps, rates.upstream_bps)):
            return None, "Mikrotik-Rate-Limit", f"Mikrotik-Rate-Limit {limit!r} names no rate of both directions"
        lost = "Mikrotik-Rate-Limit: burst and priority behind the rates are left out" if " " in limit.strip() else ""
        return profile(rates.downstream_bps, rates.upstream_bps), "Mikrotik-Rate-Limit", lost
    for down, up in _PAIRS:
        if down in items and up in items:
            factor = 1_000 if down in _KILOBITS else 1
            values = items.pop(down), items.pop(up)
            if not all(re.fullmatch(r"[1-9][0-9]{0,12}", value) and int(value) <= _FASTEST_BPS for value in values):
                return None, down, f"{down} and {up}: {values[0]!r} and {values[1]!r} are no rates"
            return profile(int(values[0]) * factor, int(values[1]) * factor), down, ""
    return None, "", ""


def profile(downstream_bps: int, upstream_bps: int) -> SpeedProfile:
    """Named after its speeds: the same speed is the same profile."""
    return SpeedProfile(f"{_short(downstream_bps)}-{_short(upstream_bps)}", downstream_bps, upstream_bps)


def _short(bps: int) -> str:
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if bps % factor == 0:
            return f"{bps // factor}{letter.lower()}"
    return str(bps)

"""Octets and bit rates. Counters are `int` octets, rates `int` bit/s; 1 Mbit/s = 1,000,000 bit/s.

A tariff says GB (10⁹) or GiB (2³⁰), never "G".
"""

from __future__ import annotations

from decimal import Decimal

KBPS = 1_000
MBPS = 1_000_000
GBPS = 1_000_000_000

MB = 10**6
GB = 10**9
TB = 10**12
MIB = 2**20
GIB = 2**30

OCTET_UNITS = {"octet": 1, "MB": MB, "GB": GB, "TB": TB, "MiB": MIB, "GiB": GIB}


def octets_in(octets: int, unit: str) -> Decimal:
    """`octets` expressed in `unit` (a key of OCTET_UNITS), exact."""
    return Decimal(octets) / Decimal(OCTET_UNITS[unit])


def human_rate(rate_bps: int) -> str:
    """A rate for people: 100000000 → '100 Mbit/s'."""
    for size, name in ((GBPS, "Gbit/s"), (MBPS, "Mbit/s"), (KBPS, "kbit/s")):
        if rate_bps >= size:
            return f"{_four_digits(rate_bps, size)} {name}"
    return f"{rate_bps} bit/s"


def human_octets(octets: int) -> str:
    """A volume for people, in decimal units: 1500000000 → '1.5 GB'."""
    for size, name in ((TB, "TB"), (GB, "GB"), (MB, "MB"), (1_000, "kB")):
        if abs(octets) >= size:
            return f"{_four_digits(octets, size)} {name}"
    return f"{octets} B"


def _four_digits(amount: int, size: int) -> str:
    """Four significant digits, and never an exponent: 12,345 TB stay 12345 TB."""
    scaled = amount / size
    return f"{scaled:.0f}" if abs(scaled) >= 1_000 else f"{scaled:.4g}"

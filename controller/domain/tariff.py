"""A price as rating needs it: one immutable version of a product offering.

Prices are Decimal in major units of `currency`. A version is never changed once a subscription uses it; a new price is
a new version with its own effective date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.service import SpeedProfile
from controller.domain.units import OCTET_UNITS


@dataclass(frozen=True, slots=True)
class TariffVersion:
    """Monthly fee in advance, included volume, and overage per started or exact unit.

    `included_octets` None means unmetered. Overage is charged per `overage_unit` (a key of units.OCTET_UNITS), exact to
    the octet: price × octets ÷ unit, rounded once on the invoice line. `tax_percent` applies to every charge.
    """

    version_id: OfferingVersionId
    offering_id: OfferingId
    offering_name: str
    number: int
    effective_on: date
    currency: str
    monthly_fee: Decimal
    included_octets: int | None
    overage_price: Decimal
    overage_unit: str
    tax_percent: Decimal
    profile: SpeedProfile

    def __post_init__(self) -> None:
        if self.monthly_fee < 0 or self.overage_price < 0 or self.tax_percent < 0:
            raise ValueError("prices and tax must not be negative")
        if self.overage_unit not in OCTET_UNITS:
            raise ValueError(f"overage unit {self.overage_unit!r}: one of {', '.join(OCTET_UNITS)}")

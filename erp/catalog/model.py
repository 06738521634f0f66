"""Product offerings and their versions: which price is in force on a day, and which versions may be made.

A version never changes. A new price is a new version with its own effective date; who subscribed to an older one keeps
it (grandfathering), because a subscription names the version and not the offering.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.money import exponent
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.domain.units import KBPS, MBPS, OCTET_UNITS
from erp.catalog.errors import BadVersion, NotInForce

_PROFILE_NAME = re.compile(r"[a-z0-9-]{1,32}")
_OVERAGE_DECIMALS = 6
_MAX_PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class VersionTerms:
    """What a new version says. Prices are major units of `currency`, net of tax."""

    effective_on: date
    currency: str
    monthly_fee: Decimal
    included_octets: int | None
    overage_price: Decimal
    overage_unit: str
    tax_percent: Decimal
    profile: SpeedProfile


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it stands; `used_at` is when a subscription first took it."""

    tariff: TariffVersion
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Offering:
    """An offering with its versions, oldest number first."""

    offering_id: OfferingId
    name: str
    description: str
    created_at: datetime
    versions: tuple[Version, ...]


def in_force(versions: Iterable[TariffVersion], on: date) -> TariffVersion:
    """The version for who subscribes on day `on`: the latest effective date not after it, of equals the newest.

    Raises NotInForce when none is effective yet.
    """
    effective = [version for version in versions if version.effective_on <= on]
    if not effective:
        raise NotInForce(f"no version is in force on {on.isoformat()}")
    return max(effective, key=lambda version: (version.effective_on, version.number))


def check_terms(terms: VersionTerms) -> None:
    """Raises BadVersion naming the first thing that no device or invoice could carry."""
    decimals = exponent(terms.currency)
    if _decimals(terms.monthly_fee) > decimals:
        raise BadVersion(f"monthly_fee has more than the {decimals} decimals of {terms.currency}")
    if _decimals(terms.overage_price) > _OVERAGE_DECIMALS:
        raise BadVersion(f"overage_price has more than {_OVERAGE_DECIMALS} decimals")
    if min(terms.monthly_fee, terms.overage_price, terms.tax_percent) < 0:
        raise BadVersion("prices and tax must not be negative")
    if terms.tax_percent > _MAX_PERCENT:
        raise BadVersion("tax_percent is above 100")
    if terms.included_octets is not None and terms.included_octets < 0:
        raise BadVersion("included_octets must not be negative")
    if terms.overage_unit not in OCTET_UNITS:
        raise BadVersion(f"overage_unit must be one of {', '.join(OCTET_UNITS)}")
    if not _PROFILE_NAME.fullmatch(terms.profile.name):
        raise BadVersion("a speed profile's name has 1 to 32 of a-z, 0-9 and -")


def check_profile(profile: SpeedProfile, known: Iterable[SpeedProfile]) -> None:
    """Devices know a profile by its name alone, so one name is one pair of rates. Raises BadVersion."""
    for other in known:
        if other.name == profile.name and other != profile:
            raise BadVersion(
                f"speed profile {profile.name} is already {other.downstream_bps}/{other.upstream_bps} bit/s; "
                "give the new rates another name"
            )


def profile_name(downstream_bps: int, upstream_bps: int) -> str:
    """A name for a pair of rates: 100000000 and 20000000 → "100m-20m"; odd rates are spelled out in bit/s."""
    return f"{_short(downstream_bps)}-{_short(upstream_bps)}"


def _short(rate_bps: int) -> str:
    for size, unit in ((MBPS, "m"), (KBPS, "k")):
        if rate_bps % size == 0:
            return f"{rate_bps // size}{unit}"
    return str(rate_bps)


def _decimals(value: Decimal) -> int:
    places = value.normalize().as_tuple().exponent
    return -places if isinstance(places, int) and places < 0 else 0


def new_tariff(
    terms: VersionTerms, *, version_id: OfferingVersionId, offering_id: OfferingId, name: str, number: int
) -> TariffVersion:
    """The version `number` of an offering, from its terms."""
    return TariffVersion(
        version_id=version_id,
        offering_id=offering_id,
        offering_name=name,
        number=number,
        effective_on=terms.effective_on,
        currency=terms.currency,
        monthly_fee=terms.monthly_fee,
        included_octets=terms.included_octets,
        overage_price=terms.overage_price,
        overage_unit=terms.overage_unit,
        tax_percent=terms.tax_percent,
        profile=terms.profile,
    )

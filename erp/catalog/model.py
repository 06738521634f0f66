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
from controller.domain.price import PricePlan, ProductKind
from controller.domain.service import SpeedProfile
from controller.domain.tariff import TariffVersion
from controller.domain.units import KBPS, MBPS
from erp.catalog.errors import BadVersion, NotInForce
from erp.catalog.plan_rules import check_plan

_PROFILE_NAME = re.compile(r"[a-z0-9-]{1,32}")
_MAX_PERCENT = Decimal(100)
TAX_CATEGORIES = ("S", "Z", "E", "AE", "K", "G", "O", "L", "M")
"""UNCL5305 as EN 16931 has them."""
_TAXED = ("S", "L", "M")


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold, whatever it costs. `names` are translations: (language, name)."""

    name: str
    description: str = ""
    kind: ProductKind = ProductKind.INTERNET
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class VersionTerms:
    """What a new version says. Prices are major units of `currency`, net; only an internet line has a `speed`."""

    effective_on: date
    currency: str
    tax_percent: Decimal
    plan: PricePlan
    speed: SpeedProfile | None
    tax_category: str = "S"


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
    product: Product
    created_at: datetime
    versions: tuple[Version, ...]


def in_force(versions: Iterable[TariffVersion], on: date, currency: str | None = None) -> TariffVersion:
    """The version for who subscribes on day `on`: the latest effective date not after it, of equals the newest.

    Each currency has a history of its own: who pays in `currency` gets the version in it. Where there is none yet it is
    one of another, which the caller may refuse. Raises NotInForce when none at all is effective yet.
    """
    effective = [version for version in versions if version.effective_on <= on]
    if not effective:
        raise NotInForce(f"no version is in force on {on.isoformat()}")
    own = [version for version in effective if version.currency == currency]
    return max(own or effective, key=lambda version: (version.effective_on, version.number))


def each_in_force(versions: Iterable[TariffVersion], on: date) -> list[TariffVersion]:
    """The version in force on day `on` in each currency, by currency; none where nothing is sold yet."""
    known = list(versions)
    currencies = sorted({version.currency for version in known if version.effective_on <= on})
    return [in_force(known, on, currency) for currency in currencies]


def check_terms(terms: VersionTerms, kind: ProductKind) -> None:
    """Raises BadVersion naming the first thing that no device or invoice could carry."""
    if not 0 <= terms.tax_percent <= _MAX_PERCENT:
        raise BadVersion("tax_percent is negative or above 100")
    if terms.tax_category not in TAX_CATEGORIES:
        raise BadVersion(f"tax_category must be one of {', '.join(TAX_CATEGORIES)}")
    if terms.tax_category not in _TAXED and terms.tax_percent:
        raise BadVersion(f"tax_category {terms.tax_category} is not taxed: tax_percent must be 0")
    if terms.tax_category == "S" and not terms.tax_percent:
        raise BadVersion(
            "tax_percent is above 0 for what is taxed (tax_category S): say Z for a zero rate, E for exempt, or O for"
            " what is not subject to VAT"
        )
    if (terms.speed is None) is (kind is ProductKind.INTERNET):
        raise BadVersion("an internet line has a speed, and nothing else has one")
    if terms.speed is not None and not _PROFILE_NAME.fullmatch(terms.speed.name):
        raise BadVersion("a speed profile's name has 1 to 32 of a-z, 0-9 and -")
    check_plan(terms.plan, terms.currency, kind)


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


def new_tariff(
    terms: VersionTerms, product: Product, *, version_id: OfferingVersionId, offering_id: OfferingId, number: int
) -> TariffVersion:
    """The version `number` of an offering, from its terms."""
    return TariffVersion(
        version_id=version_id,
        offering_id=offering_id,
        offering_name=product.name,
        number=number,
        effective_on=terms.effective_on,
        currency=terms.currency,
        tax_percent=terms.tax_percent,
        tax_category=terms.tax_category,
        plan=terms.plan,
        speed=terms.speed,
        kind=product.kind,
        names=product.names,
    )

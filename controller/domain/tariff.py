"""A price as rating needs it: one immutable version of a product offering.

A version is never changed once a subscription uses it; a new price is a new version with its own effective date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from controller.domain.errors import RuleError
from controller.domain.identity import OfferingId, OfferingVersionId
from controller.domain.price import PricePlan, ProductKind
from controller.domain.service import SpeedProfile


class NoLine(RuleError):
    """The product is no line: it has no speed that a device could be set to."""

    code = "no-line"


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffVersion:
    """What is sold at which prices, in major units of `currency`, net of tax.

    `tax_percent` applies to every charge; `tax_category` is its class for documents (EN 16931: S, Z, E, AE …).
    `speed` is None for whatever is no line. `names` are translations of the offering's name, (language, name).
    """

    version_id: OfferingVersionId
    offering_id: OfferingId
    offering_name: str
    number: int
    effective_on: date
    currency: str
    tax_percent: Decimal
    plan: PricePlan
    speed: SpeedProfile | None
    kind: ProductKind = ProductKind.INTERNET
    tax_category: str = "S"
    names: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.tax_percent < 0:
            raise ValueError("tax must not be negative")

    @property
    def profile(self) -> SpeedProfile:
        """The speed of a line. Raises NoLine."""
        if self.speed is None:
            raise NoLine(
                f"{self.offering_name} has no speed, so it is no line that an order could build: sell it as an item of "
                "the account (POST /items, or Products and contracts of the customer)"
            )
        return self.speed

    @property
    def monthly_fee(self) -> Decimal:
        """The regular fee of a month, before discounts."""
        return self.plan.monthly_fee

    def name_in(self, language: str) -> str:
        """The offering's name in a language ("de", "de-AT"), else as it was made."""
        names = dict(self.names)
        return names.get(language) or names.get(language.partition("-")[0]) or self.offering_name

"""A charge: what rating hands to finance, rounded once, with the evidence it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from controller.domain.identity import AccountId, BillRunId, ChargeId, OfferingVersionId, ServiceId, SubscriptionId
from controller.domain.money import Money
from controller.domain.price import ProductKind


class ChargeKind(StrEnum):
    RECURRING = "recurring"
    USAGE = "usage"
    ONE_OFF = "one-off"


@dataclass(frozen=True, slots=True)
class Missing:
    """What was not measured of what a line is made of: of `expected` bins no port reported `bins`.

    `gaps` are (port, since, until) in UTC, half-open; "" is every port, and a port's own gaps lie in bins of others.
    """

    bins: int
    expected: int
    gaps: tuple[tuple[str, datetime, datetime], ...]


@dataclass(frozen=True, slots=True)
class Charge:
    """One line for an invoice. `first_on` … `until_on` is half-open, in the account's zone.

    `charge_id` is deterministic (same subscription, period, component and attempt → same id), so that a repeated bill
    run finds its own charges instead of making new ones. `quantity` is in `unit` ("day", "GB" …).

    `net` excludes tax. Where `tax_included`, it is what was agreed with the tax in it, until finance takes the tax out.
    """

    charge_id: ChargeId
    bill_run_id: BillRunId
    account_id: AccountId
    subscription_id: SubscriptionId
    service_id: ServiceId
    version_id: OfferingVersionId
    kind: ChargeKind
    first_on: date
    until_on: date
    description: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    net: Money
    tax_percent: Decimal
    item: str = ""
    """Name of the offering as the customer knows it; `description` adds what the line is for, in English."""
    adjustment: bool = False
    """True when the line corrects a period that was billed before, such as usage that arrived late."""
    exemption: str = ""
    """Why it bears no tax, in the words of the certificate; documents print it."""
    tax_included: bool = False
    tax_category: str = "S"
    """UNCL 5305 as EN 16931 has it: S taxed, Z zero, E exempt, AE reverse charge, K to the EU, G export, O none."""
    exemption_code: str = ""
    """VATEX code of the reason."""
    tax_relief: Decimal = Decimal(0)
    """Per cent that a price with tax included has in it, and this customer does not bear."""
    names: tuple[tuple[str, str], ...] = ()
    """Translations of `item`: (language, name)."""
    product: str = ProductKind.INTERNET.value
    """What is sold: a price.ProductKind."""
    group: str = ""
    """Heading under which it stands on a document for several sites or accounts; each has its subtotal."""
    ends_on: date | None = None
    """The first day without it, of what was promised for a time."""
    missing: Missing | None = None
    """Of a percentile, what its ports did not report; documents list it."""

    def item_in(self, language: str) -> str:
        """What it is called in a language ("de", "de-AT"), else as it was made."""
        names = dict(self.names)
        return names.get(language) or names.get(language.partition("-")[0]) or self.item or self.description

"""The words of which a price is made. A plan is data: a list of prices, each of one model, and the terms of a contract.

    model        charged for
    flat         a period, in advance or in arrears, by the day; `each` multiplies by the quantity sold
    discount     a percentage off flat prices, with an end
    one-off      the first day of the offering, once
    overage      octets beyond an included volume
    graduated    octets, each tier at its own price
    volume       octets, all of them at the price of the tier they reach
    package      octets, by the started package
    free         octets in certain hours, not charged and not counted
    percentile   the 95th percentile of a rate, above a commitment
    calls        seconds of calls, by destination and increment

Amounts are Decimal major units of the plan's currency, net of tax unless the plan says `tax_included`. What a plan must
not say is erp.catalog's to refuse,
what it costs billing_bridge.rating's to compute; here it only has a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from controller.domain.units import OCTET_UNITS

Unit = Literal["octet", "MB", "GB", "TB", "MiB", "GiB"]
assert set(Unit.__args__) == set(OCTET_UNITS)  # type: ignore[attr-defined]

Cycle = Literal["week", "month", "quarter", "half-year", "year"]
"""How long a period is. Every amount and volume of a plan is for one period of its cycle."""
CYCLES: tuple[Cycle, ...] = Cycle.__args__  # type: ignore[attr-defined]
CYCLE_MONTHS: dict[Cycle, int] = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}
"""A week is no number of months: it is counted in days."""
_WEEKS_A_MONTH = Decimal("146097") / (7 * 4800)
"""Of the 400 years after which the calendar begins anew."""

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = "hol"
QUARTER_MINUTES = 15
DAY_MINUTES = 24 * 60


class ProductKind(StrEnum):
    """What is sold. Only an internet line has a speed; a bundle is sold as several parts at one price."""

    INTERNET = "internet"
    VOICE = "voice"
    TV = "tv"
    RENTAL = "rental"
    HOSTING = "hosting"
    ONE_OFF = "one-off"
    INSTALLATION = "installation"
    ADD_ON = "add-on"
    DISCOUNT = "discount"
    BUNDLE = "bundle"


class Meter(StrEnum):
    """Octets of a service, in the subscriber's directions."""

    OCTETS = "octets"
    DOWNSTREAM = "downstream-octets"
    UPSTREAM = "upstream-octets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The days on which a price holds, counted in months from the first day the subscription had the offering.

    [from_month, from_month + months) and before the day `until_on`; None has no end.
    """

    from_month: int = 0
    months: int | None = None
    until_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Hours of the local clock, [from_minute, until_minute) of `days`, in quarters of an hour.

    "hol" is a holiday of the plan; a plan whose bands name it takes such a day for "hol" and for no weekday.
    """

    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "hol"], ...]
    from_minute: int = 0
    until_minute: int = DAY_MINUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    model: Literal["flat"] = "flat"
    code: str
    amount: Decimal
    each: bool = False
    arrears: bool = False
    window: Window = Window()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """`percent` off the flat prices named in `of`, or off all of them."""

    model: Literal["discount"] = "discount"
    code: str
    percent: Decimal
    of: tuple[str, ...] = ()
    window: Window = Window()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    model: Literal["one-off"] = "one-off"
    code: str
    amount: Decimal
    each: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overage:
    """`price` per `unit`, exact to the octet, beyond `included` octets a month; 0 included is plain per-unit usage."""

    model: Literal["overage"] = "overage"
    code: str
    price: Decimal
    unit: Unit = "GB"
    included: int = 0
    meter: Meter = Meter.OCTETS
    bands: tuple[Band, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Up to and including `up_to` octets (None: all that is more) cost `price` per unit, and `flat` once reached."""

    up_to: int | None = None
    price: Decimal = Decimal(0)
    flat: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graduated:
    model: Literal["graduated"] = "graduated"
    code: str
    tiers: tuple[Tier, ...]
    unit: Unit = "GB"
    meter: Meter = Meter.OCTETS
    bands: tuple[Band, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    model: Literal["volume"] = "volume"
    code: str
    tiers: tuple[Tier, ...]
    unit: Unit = "GB"
    meter: Meter = Meter.OCTETS
    bands: tuple[Band, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`price` per started package of `size` octets beyond `included`."""

    model: Literal["package"] = "package"
    code: str
    price: Decimal
    size: int
    included: int = 0
    meter: Meter = Meter.OCTETS
    bands: tuple[Band, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """Octets in `bands` cost nothing and use up no included volume."""

    model: Literal["free"] = "free"
    code: str
    bands: tuple[Band, ...]
    meter: Meter = Meter.OCTETS
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """`price` a month per Mbit/s of the `percent`th percentile that lies above `commit_bps`.

    Of the 5-minute sums over all ports, nearest rank; `direction` says which rate of a bin counts. The commitment
    itself is a flat price of the plan.
    """

    model: Literal["percentile"] = "percentile"
    code: str
    price: Decimal
    commit_bps: int = 0
    percent: int = 95
    direction: Literal["greater", "sum", "downstream", "upstream"] = "greater"
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Calls to numbers that begin with `prefix` (digits; the longest that fits decides, "" fits all).

    A call costs `setup` and `price` per minute; its length counts as `first_s` and then every started `next_s`. With
    `included` it uses up the plan's included seconds first.
    """

    prefix: str
    price: Decimal
    setup: Decimal = Decimal(0)
    first_s: int = 60
    next_s: int = 60
    included: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    model: Literal["calls"] = "calls"
    code: str
    destinations: tuple[Destination, ...]
    included_s: int = 0
    label: str = ""


Metered = Overage | Graduated | Volume | Package | Free
Price = Flat | Discount | OneOff | Overage | Graduated | Volume | Package | Free | Percentile | Calls
METERED = (Overage, Graduated, Volume, Package, Free)
PRICES: tuple[type[Price], ...] = (
    Flat, Discount, OneOff, Overage, Graduated, Volume, Package, Free, Percentile, Calls,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalator:
    """Flat prices rise by `percent` every `every_months`, counted from the first day of the offering.

    Each step is rounded half up to the currency's minor unit before the next is taken from it.
    """

    percent: Decimal
    every_months: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyTermination:
    """What leaving before the end of the term costs: `amount`, plus `percent_of_fees` of the months that remain.

    `declining` takes from `amount` the share of the term that was served, in whole months.
    """

    amount: Decimal = Decimal(0)
    percent_of_fees: Decimal = Decimal(0)
    declining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Bound for `term_months`; then renewed by `renewal_months` again and again (0: by no more than the notice).

    Whoever leaves says so `notice_days` before the end. `remind_days` before it the customer is told.
    """

    term_months: int
    renewal_months: int = 0
    notice_days: int = 0
    remind_days: int = 0
    early_termination: EarlyTermination | None = None
    escalator: Escalator | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One offering of a bundle. `stand_alone` is its price when sold alone: the shares of the bundle's price."""

    offering_id: str
    stand_alone: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePlan:
    """All that a version says about money. Prices `tax_included` are what is paid: finance takes the tax out."""

    prices: tuple[Price, ...]
    holidays: tuple[date, ...] = ()
    contract: Contract | None = None
    parts: tuple[Part, ...] = ()
    tax_included: bool = False
    cycle: Cycle = "month"

    @property
    def fee(self) -> Decimal:
        """The regular fee of a period of one piece: flat prices that have no end, before discounts and escalation."""
        return sum((p.amount for p in self.prices if isinstance(p, Flat) and p.window == Window()), Decimal(0))

    @property
    def monthly_fee(self) -> Decimal:
        """The same of a month: to six decimals where a month is no whole part of the period."""
        if self.cycle == "month":
            return self.fee
        return self.of_a_month(self.fee).quantize(Decimal("0.000001")).normalize()

    def of_a_month(self, amount: Decimal) -> Decimal:
        """What an amount for a period comes to in a month."""
        months = CYCLE_MONTHS.get(self.cycle)
        return amount / months if months else amount * _WEEKS_A_MONTH

    @property
    def metered(self) -> tuple[Metered, ...]:
        """Prices of octets; none of them means unmetered."""
        return tuple(p for p in self.prices if isinstance(p, METERED))

    @property
    def hourly(self) -> bool:
        """Whether it matters at which hour octets were used."""
        return any(p.bands for p in self.metered)

    @property
    def escalator(self) -> Escalator | None:
        return self.contract.escalator if self.contract else None

"""What a check looks at and what it says: one account's charges of a bill run with all that they should agree with.

    charges of the run ──┐
    charged before       ├─ Case ─▶ rules │ history │ contract ─▶ Finding: expected range, actual, records, at stake
    timelines, usage     │
    catalogue, orders   ─┘

A case holds facts of several rooms side by side and decides nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from billing_bridge.billing.cycle import Calendar
from billing_bridge.billing.model import DayUsage
from billing_bridge.rating.due import Corrected
from billing_bridge.rating.line import Octets
from billing_bridge.rating.proration import Change, DaySpan, Pause
from controller.domain.charge import Charge, ChargeKind
from controller.domain.identity import AccountId, OfferingId, OfferingVersionId
from controller.domain.money import Money
from controller.domain.price import Cycle
from controller.domain.tariff import TariffVersion
from controller.domain.units import human_octets

Month = tuple[int, int]
"""Year and month of the calendar."""


class By(StrEnum):
    """What a finding is measured by."""

    RULE = "rule"
    HISTORY = "history"
    CONTRACT = "contract"


@dataclass(frozen=True, slots=True)
class Record:
    """Something that contributes to a finding: "charge", "usage-day", "interval" or "billed-before", and its id."""

    what: str
    ref: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a bill should not leave as it is. [`low`, `high`] is what was expected; None has no bound.

    `period_first_on` is the first day of the period that it is about, None where it is about a line or a contract.
    """

    check: str
    by: By
    text: str
    low: Money | None
    high: Money | None
    actual: Money
    at_stake: Money
    subscription_id: str = ""
    service_id: str = ""
    records: tuple[Record, ...] = ()
    period_first_on: date | None = None


@dataclass(frozen=True, slots=True)
class Sold:
    """What orders say that a subscription has now; `version_id` None is nothing."""

    version_id: OfferingVersionId | None
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Key:
    """Charges that belong together: of one subscription (known from the context), period, version and kind."""

    period_first_on: date
    version_id: OfferingVersionId
    kind: ChargeKind


@dataclass(frozen=True, slots=True)
class Holding:
    """One subscription with its timeline as billing has it.

    `used` are the days of the usage that the run may charge, `measured` octets of the same days by other sources;
    `months` octets per day in the calendar months before. `charged` are minor units of the runs before. `quarters` cut
    the days of `used` by quarters of an hour, where a plan has hours.
    """

    subscription_id: str
    service_id: str
    account_id: AccountId
    calendar: Calendar
    changes: Sequence[Change]
    used: Sequence[DayUsage] = ()
    charged: Mapping[Key, int] = field(default_factory=dict)
    months: Mapping[Month, int] = field(default_factory=dict)
    measured: Mapping[date, int] = field(default_factory=dict)
    quarters: Mapping[date, Mapping[int, Octets]] = field(default_factory=dict)
    sold: Sold | None = None
    pauses: Sequence[Pause] = ()
    payers: Sequence[tuple[date, AccountId]] = ()
    """Who pays from which day on, in order of time; empty where it always was the account itself."""
    today: date | None = None
    """Where it is another one than for the account that is billed: whose lines these are may be in another zone."""

    def payer_of(self, period: DaySpan) -> AccountId:
        """The account whose bill a period of it belongs to."""
        if not self.payers:
            return self.account_id
        day = max(period.first_on, min((change.on for change in self.changes), default=period.first_on))
        return next((payer for since, payer in reversed(self.payers) if since <= day), self.account_id)

    def period(self, day: date, cycle: Cycle) -> DaySpan:
        """The period of `cycle` that a day falls in."""
        return _period(self.calendar, day, cycle)


@dataclass(frozen=True, slots=True)
class Cohort:
    """All who have one offering: median octets per day by month, and how far logarithms of them lie apart."""

    medians: Mapping[Month, float]
    spread: float


@dataclass(frozen=True, slots=True)
class Limits:
    """In major units of a currency: what is too small to hold a bill for."""

    usage: Decimal = Decimal(3)
    """Deviations of usage charges from what history expects."""
    other: Decimal = Decimal("0.02")
    """Every other deviation: more than the cents that roundings may differ by."""


@dataclass(frozen=True, slots=True)
class Case:
    """`charges` are none where a bill may be missing.

    `tariffs` are billing's copies of versions, `catalogue` what the catalogue itself says of them (empty: unknown).
    `today` is the day that the run is of, in the zone of the account.
    """

    account_id: AccountId
    currency: str
    today: date
    charges: Sequence[Charge]
    holdings: Sequence[Holding]
    tariffs: Mapping[OfferingVersionId, TariffVersion]
    catalogue: Mapping[OfferingVersionId, TariffVersion] = field(default_factory=dict)
    cohorts: Mapping[OfferingId, Cohort] = field(default_factory=dict)
    limits: Limits = Limits()
    corrections: Mapping[OfferingVersionId, Sequence[Corrected]] = field(default_factory=dict)

    def price(self, version_id: OfferingVersionId, period: DaySpan | None = None) -> TariffVersion | None:
        """The version as the catalogue has it, else as billing has copied it; in a period whose price was corrected,
        the one that it should have been."""
        if period is not None:
            for correction in reversed(self.corrections.get(version_id, ())):
                if period.first_on in correction.days:
                    right = correction.tariff
                    return self.catalogue.get(right.version_id) or right
        return self.catalogue.get(version_id) or self.tariffs.get(version_id)

    def today_of(self, holding: Holding) -> date:
        """The day that the run is of, in the zone of a line or item."""
        return holding.today or self.today

    def of(self, subscription_id: str) -> Sequence[Charge]:
        return [c for c in self.charges if c.subscription_id == subscription_id]

    def cycle(self, version_id: OfferingVersionId) -> Cycle:
        """How long the periods of a version are; a month where it is not known."""
        tariff = self.price(version_id)
        return tariff.plan.cycle if tariff else "month"

    def period_of(self, charge: Charge, holding: Holding) -> DaySpan:
        """The period that a charge is for."""
        return holding.period(charge.first_on, self.cycle(charge.version_id))

    def key_of(self, charge: Charge, holding: Holding) -> Key:
        """Where a charge belongs to."""
        return Key(self.period_of(charge, holding).first_on, charge.version_id, charge.kind)


def charge_records(charges: Sequence[Charge], most: int = 5) -> tuple[Record, ...]:
    """The dearest of `charges`."""
    dearest = sorted(charges, key=lambda c: -abs(c.net.minor))[:most]
    return tuple(Record("charge", c.charge_id, f"{c.description}: {c.net}") for c in dearest)


def usage_records(used: Sequence[DayUsage], most: int = 5) -> tuple[Record, ...]:
    """The days with the most octets."""
    most_used = sorted(used, key=lambda u: -u.octets)[:most]
    return tuple(
        Record("usage-day", f"{u.service_id}/{u.day}", f"{u.day}: {human_octets(u.octets)}") for u in most_used
    )


@lru_cache(maxsize=8192)
def _period(calendar: Calendar, day: date, cycle: Cycle) -> DaySpan:
    """Asked for again and again with the few days that a bill is about."""
    return calendar.period(day, cycle)

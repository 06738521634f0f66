"""What a bill run counts beside its charges, so that their sum can be proved by another way than they were made. Pure.

    recurring lines = fees of whole periods + proration + earlier periods   (exact by the day, ± ½ cent for each line)
    fees of whole periods = opening + movements − what an earlier run billed for a period that still runs
    octets read = charged + included + flat + pending + without a plan + billed before

The engine prices stretches of days and issues differences. In `day_by_day` every day of a period is priced for itself,
from the same timeline, and what all lines of the period come to is compared with the sum of its days. Fees are those
due in advance, for the period of their cycle; fees in arrears, usage and one-off charges are listed apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from controller.domain.identity import OfferingVersionId, SubscriptionId

FATES = ("charged", "included", "flat", "pending", "unplanned", "earlier")
_FAULTS_KEPT = 20
_PLACES = Decimal("0.000001")
_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Recurring:
    """The fees of a subscription for a whole period, on one day. `minor` has the rounding of its lines."""

    subscription_id: SubscriptionId
    currency: str
    version_id: OfferingVersionId
    quantity: int
    minor: int


@dataclass(slots=True)
class Sums:
    """Of one currency, in minor units. Those with a fraction are exact; lines are rounded."""

    subscriptions: int = 0
    opening: int = 0
    new: int = 0
    up: int = 0
    down: int = 0
    churn: int = 0
    price: int = 0
    closing: int = 0
    billed_before: int = 0
    """Of the closing: for periods that an earlier run has billed."""
    recurring: int = 0
    """Lines of fees in advance."""
    recurring_lines: int = 0
    proration: Decimal = Decimal(0)
    earlier: Decimal = Decimal(0)
    """Of earlier periods: corrections, and fees that no run had billed in time."""
    rounded: int = 0
    """Lines that the periods counted here were rounded into, whichever run they are of."""
    arrears: int = 0
    usage: int = 0
    one_off: int = 0
    adjustments: int = 0
    adjustment_lines: int = 0

    @property
    def whole_periods(self) -> int:
        """Recurring lines before proration."""
        return self.closing - self.billed_before

    @property
    def movements(self) -> int:
        return self.new + self.up + self.down + self.churn + self.price

    @property
    def rounding(self) -> Decimal:
        """What the lines differ from the exact sum of the days."""
        return self.recurring - self.whole_periods - self.proration - self.earlier

    @property
    def lines(self) -> int:
        return self.recurring + self.arrears + self.usage + self.one_off


_SUMS = tuple(f.name for f in fields(Sums))
_json = json.JSONEncoder(default=str, separators=(",", ":")).encode


@dataclass(slots=True)
class Tally:
    """Of a batch, or of a whole run. `octets` are by fate; `read` is what was read, counted by the database."""

    sums: dict[str, Sums] = field(default_factory=dict)
    octets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FATES, 0))
    read: int = 0
    charges: int = 0
    faults: list[str] = field(default_factory=list)
    faulty: int = 0

    @property
    def all_read(self) -> bool:
        """Whether each octet that was read has its place."""
        return sum(self.octets.values()) == self.read

    def of(self, currency: str) -> Sums:
        found = self.sums.get(currency)
        if found is None:
            found = self.sums[currency] = Sums()
        return found

    def fault(self, text: str) -> None:
        """Count it; the first ones are kept in words."""
        self.faulty += 1
        if len(self.faults) < _FAULTS_KEPT:
            self.faults.append(text)

    def add(self, other: Tally) -> None:
        for currency, found in other.sums.items():
            own = self.of(currency)
            for name in _SUMS:
                if value := getattr(found, name):
                    setattr(own, name, getattr(own, name) + value)
        for fate, octets in other.octets.items():
            self.octets[fate] += octets
        self.read += other.read
        self.charges += other.charges
        self.faulty += other.faulty
        self.faults = [*self.faults, *other.faults][:_FAULTS_KEPT]

    def to_json(self) -> str:
        """What is zero is left out."""
        told = {
            "sums": {
                currency: {name: value for name in _SUMS if (value := getattr(sums, name))}
                for currency, sums in self.sums.items()
            },
            "octets": {fate: octets for fate, octets in self.octets.items() if octets},
            "read": self.read,
            "charges": self.charges,
            "faults": self.faults,
            "faulty": self.faulty,
        }
        return _json(told)

    @classmethod
    def from_json(cls, text: str) -> Tally:
        found: dict[str, Any] = json.loads(text)
        sums = {
            currency: Sums(**values | {name: Decimal(values.get(name, 0)) for name in ("proration", "earlier")})
            for currency, values in found.pop("sums").items()
        }
        octets = dict.fromkeys(FATES, 0) | found.pop("octets")
        return cls(sums=sums, octets=octets, **found)


def proved(tally: Tally) -> Iterable[tuple[str, bool, str]]:
    """(name, whether it holds, in words) of what can be said before anything is issued."""
    counted = sum(tally.octets.values())
    yield "usage-conserved", tally.all_read, f"{tally.read} octets read, {counted} accounted for"
    for currency, sums in sorted(tally.sums.items()):
        found = sums.opening + sums.movements
        yield (
            f"recurring-movements-{currency}",
            found == sums.closing,
            f"opening {sums.opening} + movements {sums.movements} = {found}, closing {sums.closing}",
        )
        # A line of a former run has its half cent, too, where its period is counted again.
        lines = _HALF * max(sums.recurring_lines + sums.subscriptions, sums.rounded, 1)
        yield (
            f"recurring-lines-{currency}",
            abs(sums.rounding) <= lines,
            f"lines {sums.recurring} = whole periods {sums.whole_periods} + proration {_text(sums.proration)}"
            f" + earlier periods {_text(sums.earlier)} + rounding {_text(sums.rounding)}",
        )
    first = f": {tally.faults[0]}" if tally.faults else ""
    yield "every-period-by-the-day", not tally.faulty, f"{tally.faulty} differences{first}"


def _text(exact: Decimal) -> str:
    return f"{exact.quantize(_PLACES, ROUND_HALF_EVEN).normalize():f}"

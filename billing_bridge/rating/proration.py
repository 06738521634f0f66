"""Fees by the day: which plan a subscription was entitled to on each day of a period, and what that costs.

The only input is the timeline of entitlements, never what was invoiced before: the second change of a month is priced
like the first. Days are whole and half-open in the zone of the legal entity, and the day of a change belongs to the
new plan (so the day of a termination belongs to nothing).

    day        1         11                            31
    plan       |-- 30.00 --|---------- 60.00 ------------|
    entitled     10/30 → 10.00       20/30 → 40.00

Per period and version the amount is fee × days ÷ days of the period, rounded once. The days of a version are added up
before they are priced, so cutting a stretch in two never changes its price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from controller.domain.identity import OfferingVersionId
from controller.domain.money import Money
from controller.domain.tariff import TariffVersion


@dataclass(frozen=True, slots=True)
class DaySpan:
    """Days [first_on, until_on). Raises ValueError when it ends before it begins."""

    first_on: date
    until_on: date

    def __post_init__(self) -> None:
        if self.until_on < self.first_on:
            raise ValueError(f"{self.first_on} … {self.until_on} ends before it begins")

    @property
    def days(self) -> int:
        return (self.until_on - self.first_on).days

    def __contains__(self, day: date) -> bool:
        return self.first_on <= day < self.until_on

    def each_day(self) -> Iterable[date]:
        return (self.first_on + timedelta(days=n) for n in range(self.days))


@dataclass(frozen=True, slots=True)
class Change:
    """From the day `on` the subscription is entitled to `version_id`; None ends it."""

    on: date
    version_id: OfferingVersionId | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive days of one version."""

    version_id: OfferingVersionId
    span: DaySpan


@dataclass(frozen=True, slots=True)
class Entitled:
    """What one version costs in one period: `fee` × `days` ÷ `period_days`, rounded to `amount`."""

    version_id: OfferingVersionId
    spans: tuple[DaySpan, ...]
    days: int
    period_days: int
    fee: Decimal
    amount: Money


def stretches(changes: Sequence[Change], period: DaySpan) -> list[Stretch]:
    """The plans of each day of `period`, as stretches in order of time.

    `changes` come in the order in which they happened; of several on one day the last one holds for the whole day.
    """
    by_day = {change.on: change.version_id for change in changes}
    found = []
    for day, following in pairwise([*sorted(by_day), date.max]):
        version_id = by_day[day]
        first_on, until_on = max(day, period.first_on), min(following, period.until_on)
        if version_id is not None and first_on < until_on:
            found.append(Stretch(version_id, DaySpan(first_on, until_on)))
    return found


def entitled(
    changes: Sequence[Change], period: DaySpan, tariffs: Mapping[OfferingVersionId, TariffVersion], rounding: str
) -> list[Entitled]:
    """What the period costs, one entry per version that held on a day of it. `rounding` is a decimal.ROUND_* mode."""
    by_version: dict[OfferingVersionId, list[DaySpan]] = {}
    for stretch in stretches(changes, period):
        by_version.setdefault(stretch.version_id, []).append(stretch.span)
    return [_priced(tariffs[version_id], tuple(spans), period, rounding) for version_id, spans in by_version.items()]


def _priced(tariff: TariffVersion, spans: tuple[DaySpan, ...], period: DaySpan, rounding: str) -> Entitled:
    days = sum(span.days for span in spans)
    # 28 digits are far more than the distance of any n/31 from half a minor unit: this division decides no cent.
    exact = tariff.monthly_fee * days / period.days
    amount = Money.rounded(exact, tariff.currency, rounding)
    return Entitled(tariff.version_id, spans, days, period.days, tariff.monthly_fee, amount)

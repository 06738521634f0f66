"""Which plan a subscription was entitled to on each day of a period, and since when it has the offering.

The only input is the timeline of entitlements and pauses, never what was invoiced before: the second change of a month
is priced like the first. Days are whole and half-open in the zone of the account, and the day of a change belongs
to the new plan (so the day of a termination belongs to nothing, and the day on which a pause ends is charged again).

    day        1         11             21        26   31
    plan       |-- 30.00 --|------------ 60.00 ----------|
    paused                              |-- 0 % --|
    entitled     10/30 → 10.00   (10 + 5)/30 → 30.00

Per period and version an amount is fee × days ÷ days of the period, rounded once. The days of a version are added up
before they are priced, so cutting a stretch in two never changes its price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from controller.domain.identity import OfferingId, OfferingVersionId

WHOLE_FEE = 100


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

    @property
    def priced_days(self) -> int:
        """The days that a whole fee, or volume, is for, where this is a period."""
        return self.days

    def __contains__(self, day: date) -> bool:
        return self.first_on <= day < self.until_on

    def each_day(self) -> Iterable[date]:
        return map(date.fromordinal, range(self.first_on.toordinal(), self.until_on.toordinal()))

    def common(self, other: DaySpan) -> DaySpan | None:
        """The days that lie in both; None when there are none."""
        first_on, until_on = max(self.first_on, other.first_on), min(self.until_on, other.until_on)
        return DaySpan(first_on, until_on) if first_on < until_on else None


@dataclass(frozen=True, slots=True)
class Rest(DaySpan):
    """The end of a period of `whole_days`, billed by itself: a share of its fees and volumes."""

    whole_days: int

    @property
    def priced_days(self) -> int:
        return self.whole_days


ALWAYS = DaySpan(date.min, date.max)


@dataclass(frozen=True, slots=True)
class Change:
    """From the day `on` the subscription is entitled to `quantity` pieces of `version_id`; None ends it."""

    on: date
    version_id: OfferingVersionId | None
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Pause:
    """On the days of `span` only `percent` of the fees are charged; where pauses overlap, the lowest counts."""

    span: DaySpan
    percent: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive days of one version in one quantity, of whose fees `percent` are charged."""

    version_id: OfferingVersionId
    span: DaySpan
    quantity: int = 1
    percent: int = WHOLE_FEE


@dataclass(frozen=True, slots=True)
class Held:
    """One version in one period, in order of time; `since_on` is the first day the subscription had its offering."""

    version_id: OfferingVersionId
    period: DaySpan
    stretches: tuple[Stretch, ...]
    since_on: date

    @property
    def days(self) -> int:
        return sum(stretch.span.days for stretch in self.stretches)

    @property
    def full_days(self) -> int:
        """Those for which the whole fee is charged: the days that volumes of the plan are given for."""
        return sum(stretch.span.days for stretch in self.stretches if stretch.percent == WHOLE_FEE)

    @property
    def spans(self) -> tuple[DaySpan, ...]:
        return tuple(stretch.span for stretch in self.stretches)

    def each_day(self) -> Iterator[date]:
        for stretch in self.stretches:
            yield from stretch.span.each_day()


def stretches(changes: Sequence[Change], period: DaySpan, pauses: Sequence[Pause] = ()) -> list[Stretch]:
    """The plans of each day of `period`, as stretches in order of time.

    `changes` come in the order in which they happened; of several on one day the last one holds for the whole day.
    """
    by_day = {change.on: change for change in changes}
    found: list[Stretch] = []
    for day, following in pairwise([*sorted(by_day), date.max]):
        change = by_day[day]
        first_on, until_on = max(day, period.first_on), min(following, period.until_on)
        if change.version_id is not None and first_on < until_on:
            stretch = Stretch(change.version_id, DaySpan(first_on, until_on), change.quantity)
            found += _paused(stretch, pauses) if pauses else [stretch]
    return found


def holdings(
    changes: Sequence[Change],
    period: DaySpan,
    offerings: Mapping[OfferingVersionId, OfferingId],
    pauses: Sequence[Pause] = (),
) -> dict[OfferingVersionId, Held]:
    """The versions that held on a day of `period`, in order of their first. `offerings` names the offering of each."""
    since: dict[OfferingId, date] = {}
    for stretch in stretches(changes, ALWAYS):
        since.setdefault(offerings[stretch.version_id], stretch.span.first_on)
    by_version: dict[OfferingVersionId, list[Stretch]] = {}
    for stretch in stretches(changes, period, pauses):
        by_version.setdefault(stretch.version_id, []).append(stretch)
    return {
        version_id: Held(version_id, period, tuple(found), since[offerings[version_id]])
        for version_id, found in by_version.items()
    }


def _paused(stretch: Stretch, pauses: Sequence[Pause]) -> Iterator[Stretch]:
    """The stretch, cut where a pause begins or ends within it."""
    common = [(pause, days) for pause in pauses if (days := pause.span.common(stretch.span))]
    ends = {stretch.span.first_on, stretch.span.until_on}
    ends |= {day for _, days in common for day in (days.first_on, days.until_on)}
    for first_on, until_on in pairwise(sorted(ends)):
        percent = min((pause.percent for pause, days in common if first_on in days), default=WHOLE_FEE)
        yield Stretch(stretch.version_id, DaySpan(first_on, until_on), stretch.quantity, percent)

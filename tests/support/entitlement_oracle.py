"""What a subscription owes in fees, found by walking day by day, in fractions: shares no code with the engine.

It knows nothing of periods but on which days one begins, and nothing of stretches: it asks each day what held.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from functools import cache

from billing_bridge.rating.proration import Change, Pause
from controller.domain.identity import OfferingVersionId
from controller.domain.price import Cycle
from controller.domain.tariff import TariffVersion

DAY = timedelta(days=1)
MONTHS = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}


@cache
def begins(anchor: int, cycle: Cycle, phase: date) -> frozenset[date]:
    """The days on which a period begins, by walking both ways from the day the subscription became known."""
    walks = [phase + n * DAY for n in range(0, -4000, -1)], [phase + n * DAY for n in range(1, 4000)]
    if cycle == "week":
        return frozenset(day for walk in walks for day in walk if (day - phase).days % 7 == 0)
    back, on = ([day for day in walk if anchored(day, anchor)] for walk in walks)
    months = MONTHS[cycle]
    return frozenset(back[::months]) | frozenset(on[months - 1 :: months])


def anchored(day: date, anchor: int) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    return day.day == anchor or (day.day == last and anchor > last)


def half_up(value: Fraction) -> int:
    sign = -1 if value < 0 else 1
    return sign * int((2 * abs(value) * 100 + 1) // 2)


@dataclass
class Oracle:
    """Facts about one subscription, as they are known so far."""

    anchor: int
    phase: date
    tariffs: dict[OfferingVersionId, TariffVersion]
    changes: list[Change] = field(default_factory=list)
    pauses: dict[int, Pause] = field(default_factory=dict)

    @property
    def earliest(self) -> date:
        return min((c.on for c in self.changes), default=self.phase)

    def owed(self, until: date) -> dict[tuple[str, date, int], int]:
        """(version, first day of its period, percent charged) → minor units, of periods begun before `until`."""
        exact: dict[tuple[str, date, int], Fraction] = {}
        for version, price in self.tariffs.items():
            cycle = price.plan.cycle
            first_days = begins(self.anchor, cycle, self.phase)
            day = max(d for d in first_days if d <= self.earliest)
            while day < until:
                days = [day]
                while days[-1] + DAY not in first_days:
                    days.append(days[-1] + DAY)
                for at in days:
                    held = [c for c in self.changes if c.on <= at]
                    if not held or held[-1].version_id != version:
                        continue
                    percent = min((p.percent for p in self.pauses.values() if at in p.span), default=100)
                    part = Fraction(price.plan.fee) * held[-1].quantity * percent / 100 / len(days)
                    key = (version, day, percent)
                    exact[key] = exact.get(key, Fraction(0)) + part
                day = days[-1] + DAY
        return {key: half_up(value) for key, value in exact.items() if half_up(value)}

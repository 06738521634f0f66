"""What goes into the rating function beside the price, and what comes out of it: usage, and lines.

A line's amount is exact; whoever makes a document of it rounds once. `steps` is the arithmetic in words, in the order
in which it was done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from billing_bridge.rating.proration import DaySpan
from controller.domain.charge import ChargeKind


class Octets(NamedTuple):
    """In the subscriber's directions."""

    upstream: int
    downstream: int


@dataclass(frozen=True, slots=True)
class Call:
    """An answered call to `number` (E.164 digits without +). One that was not answered has no duration."""

    call_id: str
    at: datetime
    duration_s: int
    number: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service used. Days are local days of the zone of the bill.

    `by_quarter` is `by_day` cut into quarters of an hour of the local clock (0 … 95; 02:00 comes twice on the day the
    clock is put back), and only needed for plans with hours. `ports` are the 5-minute bins of each port by the second
    of 1970 at which the bin begins, a multiple of 300.
    """

    by_day: Mapping[date, Octets] = field(default_factory=dict)
    by_quarter: Mapping[date, Mapping[int, Octets]] = field(default_factory=dict)
    calls: Sequence[Call] = ()
    ports: Mapping[str, Mapping[int, Octets]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """One price in one period. `exact` is net, in major units, not rounded.

    `days` are piece-days of a fee, `octets` what an overage is charged for: what a later difference is counted in.
    `figures` are plain JSON: what an explanation shows and a price trial compares.
    """

    code: str
    kind: ChargeKind
    label: str
    exact: Decimal
    quantity: Decimal
    unit: str
    unit_price: Decimal
    days: int = 0
    octets: int = 0
    spans: tuple[DaySpan, ...] = ()
    steps: tuple[str, ...] = ()
    figures: Mapping[str, object] = field(default_factory=dict)

"""What is taken from a service whose account is behind with its payments, until it is settled.

Dunning decides the measure, RADIUS puts it into force, and neither knows the other. It stands beside what an operator
or fair use has decided about the same service: the strictest of them holds, and each is lifted by whoever imposed it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache

from controller.domain.price import ProductKind
from controller.domain.service import SpeedProfile


class Measure(StrEnum):
    """From nothing to everything."""

    NONE = "none"
    THROTTLE = "throttle"
    """Another speed in place of the plan's."""
    GARDEN = "garden"
    """The walled garden, in which one can pay."""
    SUSPEND = "suspend"
    """No session at all."""

    @property
    def rank(self) -> int:
        return _ORDER.index(self)


_ORDER = tuple(Measure)

SERVICES = frozenset(
    {
        ProductKind.INTERNET,
        ProductKind.VOICE,
        ProductKind.TV,
        ProductKind.HOSTING,
        ProductKind.ADD_ON,
        ProductKind.BUNDLE,
    }
)
"""What is served day by day, and so can be taken away and given back. A rented box is at the customer's, what was sold
once is done, and a discount is no service."""


def measures_of(kind: ProductKind) -> tuple[Measure, ...]:
    """What can be taken of a service: a speed only where there is one."""
    if kind is ProductKind.INTERNET:
        return _ORDER
    return (Measure.NONE, Measure.SUSPEND) if kind in SERVICES else (Measure.NONE,)


@dataclass(frozen=True, slots=True)
class Restriction:
    """`profile` is the speed of a throttle, and of nothing else. Raises ValueError for anything between."""

    measure: Measure
    profile: SpeedProfile | None = None

    def __post_init__(self) -> None:
        if (self.measure is Measure.THROTTLE) != (self.profile is not None):
            raise ValueError(f"measure {self.measure.value!r}: a throttle has a speed, and nothing else has one")


FREE = Restriction(Measure.NONE)


def written(found: Restriction) -> str | None:
    """As a column keeps it; None for nothing taken."""
    if found.measure is Measure.NONE:
        return None
    profile = None if found.profile is None else asdict(found.profile)
    return json.dumps({"measure": found.measure.value, "profile": profile}, sort_keys=True)


@lru_cache(maxsize=1_024)
def read(text: str | None) -> Restriction:
    """What `written` wrote. Equal texts are one object."""
    if text is None:
        return FREE
    said = json.loads(text)
    return Restriction(Measure(said["measure"]), None if said["profile"] is None else SpeedProfile(**said["profile"]))

"""What is taken from a service whose account is behind with its payments, until it is settled.

Dunning decides the measure, RADIUS puts it into force, and neither knows the other. It stands beside what an operator
or fair use has decided about the same service: the strictest of them holds, and each is lifted by whoever imposed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Restriction:
    """`profile` is the speed of a throttle, and of nothing else. Raises ValueError for anything between."""

    measure: Measure
    profile: SpeedProfile | None = None

    def __post_init__(self) -> None:
        if (self.measure is Measure.THROTTLE) != (self.profile is not None):
            raise ValueError(f"measure {self.measure.value!r}: a throttle has a speed, and nothing else has one")


FREE = Restriction(Measure.NONE)

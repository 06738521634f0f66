"""What dunning has taken from a service, in the row of its login, and what follows from it beside all else. Pure.

Four hands reach for the same login: an operator suspends it, fair use throttles it, dunning restricts it, and an empty
prepaid balance closes it. The strictest holds, and each lifts what is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.domain.credit import Standing
from controller.domain.restriction import Measure, Restriction, read, written
from controller.domain.service import SpeedProfile
from radius.authorization import throttle
from radius.authorization.throttle import Throttle
from radius.dynamic.model import Kind, Wanted

write, stored = written, read
"""In and out of the row of the login."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is taken from a login: put into the garden, kept out altogether, or given another speed."""

    suspended: bool
    barred: bool
    throttle: Throttle | None


def combined(
    suspended: bool, fair_use: Throttle | None, restriction: Restriction, credit: Standing | None = None
) -> Held:
    """The strictest of all. What fair use has used up stays used up."""
    left = fair_use
    if restriction.profile is not None and not _slower(fair_use, restriction.profile):
        left = Throttle(restriction.profile)
    barred = restriction.measure is Measure.SUSPEND or credit is Standing.OUT
    walled = suspended or restriction.measure is Measure.GARDEN or credit is Standing.GARDEN
    return Held(walled, barred, left)


def of_row(row: Mapping[str, Any]) -> Held:
    """Of a row of radius_subscriber."""
    return left_by(row, throttle.stored(row["throttle"]))


def left_by(row: Mapping[str, Any], fair_use: Throttle | None) -> Held:
    """Of a row of radius_subscriber, with this in place of what fair use has written there."""
    credit = None if row["credit"] is None else Standing(row["credit"])
    return combined(bool(row["suspended"]), fair_use, stored(row["restriction"]), credit)


def speed(held: Held, sold: SpeedProfile) -> SpeedProfile | None:
    """What a session outside the garden is given; None for none at all."""
    if held.barred:
        return None
    return sold if held.throttle is None else held.throttle.profile


def asked(was: Held, now: Held, sold: SpeedProfile, *, has_garden: bool) -> Wanted | None:
    """What a live session shall become; None for what it is."""
    if was == now:
        return None
    if now.suspended and not now.barred:
        return None if was.suspended else Wanted(Kind.SUSPEND if has_garden else Kind.DISCONNECT)
    profile = speed(now, sold)
    if profile is None:
        return Wanted(Kind.DISCONNECT)
    return Wanted(Kind.RESUME if was.suspended else Kind.SPEED, profile)


def _slower(fair_use: Throttle | None, profile: SpeedProfile) -> bool:
    """Whether fair use leaves no more than a restriction does."""
    if fair_use is None:
        return False
    return fair_use.profile is None or fair_use.profile.downstream_bps <= profile.downstream_bps

"""What calls cost: by destination, in increments, after what is included.

    65 s at 60/6  →  60 + 1 × 6 = 66 s charged

Included seconds are used up in order of the calls' begin, whole increments at a time as they were counted; what a call
needs beyond them is charged by the second of its increments. The set-up is charged with the first charged second. A
call that was not answered costs nothing; one to a number that no destination fits is not rated, and named.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from billing_bridge.rating.line import Call
from controller.domain.price import Calls, Destination

_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class RatedCall:
    """`counted_s` are the seconds of its increments, of which `included_s` were included."""

    call: Call
    destination: Destination
    counted_s: int
    included_s: int
    exact: Decimal


@dataclass(frozen=True, slots=True)
class RatedCalls:
    """Calls in order of their begin, and those that no destination fits."""

    rated: tuple[RatedCall, ...]
    unrated: tuple[Call, ...]

    @property
    def exact(self) -> Decimal:
        """Divided once: thirds of a cent of many calls add up to whole ones."""
        by_the_second = sum((r.destination.price * (r.counted_s - r.included_s) for r in self.rated), Decimal(0))
        set_ups = sum((r.destination.setup for r in self.rated if r.counted_s > r.included_s), Decimal(0))
        return by_the_second / _MINUTE_S + set_ups

    @property
    def charged_s(self) -> int:
        return sum(r.counted_s - r.included_s for r in self.rated)


def rate_calls(price: Calls, calls: Iterable[Call], included_s: int) -> RatedCalls:
    """Every call of a period; `included_s` is what the period includes of the plan's seconds."""
    rated, unrated = [], []
    by_prefix = {d.prefix: d for d in price.destinations}
    longest = max(map(len, by_prefix), default=0)
    for call in sorted(calls, key=lambda c: (c.at, c.call_id)):
        if call.duration_s <= 0:
            continue
        destination = _destination(by_prefix, longest, call.number)
        if destination is None:
            unrated.append(call)
            continue
        found = rate_call(call, destination, included_s)
        included_s -= found.included_s
        rated.append(found)
    return RatedCalls(tuple(rated), tuple(unrated))


def rate_call(call: Call, destination: Destination, included_s: int) -> RatedCall:
    """One call, with `included_s` seconds left."""
    counted_s = counted(call.duration_s, destination)
    free_s = min(counted_s, included_s) if destination.included else 0
    charged_s = counted_s - free_s
    exact = destination.price * charged_s / _MINUTE_S + (destination.setup if charged_s else 0)
    return RatedCall(call, destination, counted_s, free_s, exact)


def counted(duration_s: int, destination: Destination) -> int:
    """Seconds by increments: the first one whole, then every started next one."""
    if duration_s <= 0:
        return 0
    beyond = max(0, duration_s - destination.first_s)
    return destination.first_s + -(-beyond // destination.next_s) * destination.next_s


def destination_of(price: Calls, number: str) -> Destination | None:
    """What a call to `number` is charged by; None when no destination fits."""
    by_prefix = {d.prefix: d for d in price.destinations}
    return _destination(by_prefix, max(map(len, by_prefix), default=0), number)


def _destination(by_prefix: dict[str, Destination], longest: int, number: str) -> Destination | None:
    for length in range(min(longest, len(number)), -1, -1):
        found = by_prefix.get(number[:length])
        if found is not None:
            return found
    return None

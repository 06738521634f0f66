"""What a reported octet counter adds to a session: nothing impossible, nothing twice, and nothing thrown away. Pure.

    reported ─→ base + reported ─→ growth since the last reading ─┬ possible at that speed → counted
                                                                  └ not, or not for sure   → held, with a reason

A counter that falls while Acct-Session-Time rises has wrapped (a NAS without gigawords counts to 2^32), was reset, or
was wrong before. `base` is what must be added to it from then on. What is held stays out of the totals, and so out of
the usage log, mediation and time series, until somebody releases it.
"""

from __future__ import annotations

from dataclasses import dataclass

TOO_FAST = "impossible-rate"
"""More than the port can carry in that time, or the plan with its margin where a site holds what exceeds it."""
WRAP = "wrap-uncertain"
"""It wrapped, but in that time it can have wrapped more than once, or been reset: the interims are too far apart for a
counter of 32 bits."""
RESET = "counter-reset"
"""It began again at zero in the middle of a session."""

_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Counter:
    """One direction of a session: `counted` octets, `held` ones, and the `base` of what the NAS reports.

    The NAS's own reading was `counted + held - base` when it last grew.
    """

    counted: int
    held: int = 0
    base: int = 0

    @property
    def known(self) -> int:
        return self.counted + self.held


@dataclass(frozen=True, slots=True)
class Reading:
    """A counter after a report. `reason` and `held_octets` tell what was newly held; `fell` and `wrapped`, how it
    behaved; `retracted`, that what was held before has turned out never to have been."""

    counter: Counter
    reason: str | None = None
    held_octets: int = 0
    fell: bool = False
    wrapped: bool = False
    retracted: bool = False


def read(
    counter: Counter, reported: int, *, later: bool, limit: int | None, possible: int | None, is_32_bit: bool
) -> Reading:
    """Take one report over. `later`: certainly made after everything known; `limit`: the most octets that should have
    passed since then (since the report, where it is not later), None where nobody can tell; `possible`: the most that
    are counted without a question."""
    value = counter.base + reported
    if value >= counter.known:
        return _grown(counter, reported, value, later, limit, possible, is_32_bit)
    if not later:
        return Reading(counter)
    if is_32_bit and (counter.base or counter.known < _WRAP) and limit is not None:
        wrapped = _wrapped(counter, value, limit)
        if wrapped is not None:
            return wrapped
    if counter.held and counter.counted <= value:
        return _retracted(counter, value, possible)
    if 2 * reported >= counter.known or (limit is not None and reported > limit):
        return Reading(counter, fell=True)  # a little less than before, as some NAS report in their Stop
    # It began anew. What it shows now was carried since, or was left from before: nobody knows.
    after = Counter(counter.counted, counter.held + reported, counter.known)
    return Reading(after, RESET if reported else None, reported, fell=True)


def _grown(
    counter: Counter, reported: int, value: int, later: bool, limit: int | None, possible: int | None, is_32_bit: bool
) -> Reading:
    growth = value - counter.known
    if not growth:
        return Reading(counter)
    if not later and counter.base:
        return Reading(counter)  # from before the counter fell
    if not later and is_32_bit and value < _WRAP and not counter.base and limit is not None:
        # An older report above a newer one: between the two the counter wrapped.
        missing = counter.known + _WRAP - value
        if missing <= limit < _WRAP:
            return Reading(Counter(counter.counted + _WRAP, counter.held, _WRAP), fell=True, wrapped=True)
    if counter.base % _WRAP and limit is not None and 0 <= reported - counter.counted <= limit:
        # What looked like a reset was one wrong report: the counter goes on where it was.
        return Reading(Counter(reported), retracted=counter.held > 0)
    if possible is None or growth <= possible:
        return Reading(Counter(counter.counted + growth, counter.held, counter.base))
    return Reading(Counter(counter.counted, counter.held + growth, counter.base), TOO_FAST, growth)


def _wrapped(counter: Counter, value: int, limit: int) -> Reading | None:
    growth = value + _WRAP - counter.known
    if not 0 <= growth <= limit:
        return None
    base = counter.base + _WRAP
    if limit < _WRAP:
        return Reading(Counter(counter.counted + growth, counter.held, base), fell=True, wrapped=True)
    return Reading(Counter(counter.counted, counter.held + growth, base), WRAP, growth, fell=True, wrapped=True)


def _retracted(counter: Counter, value: int, possible: int | None) -> Reading:
    """Back below what was held: that was never carried."""
    growth = value - counter.counted
    if possible is None or growth <= possible:
        return Reading(Counter(value, 0, counter.base), fell=True, retracted=True)
    return Reading(Counter(counter.counted, growth, counter.base), TOO_FAST, growth, fell=True, retracted=True)

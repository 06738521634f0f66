"""What an accounting record adds to its service's counter, and to which period. Pure; instants are UTC microseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from controller.domain.allowance import Allowance
from controller.store.metadata import from_micros, to_micros

_MOST_PERIODS = 400
"""Between two records of a session: what was silent for longer counts where it was heard of again."""


@dataclass(frozen=True, slots=True)
class CountedSession:
    """How much of a session is counted, and up to which event."""

    session_key: str
    service_id: str
    upstream_octets: int
    downstream_octets: int
    event_us: int


@dataclass(frozen=True, slots=True)
class Reading:
    """Running totals that a record reported; None is absent, and absent is not zero."""

    session_key: str
    service_id: str
    upstream_octets: int | None
    downstream_octets: int | None
    event_us: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Octets that a session added within one period."""

    period_start_us: int
    upstream_octets: int
    downstream_octets: int


def follow(known: CountedSession | None, reading: Reading, allowance: Allowance) -> tuple[CountedSession, list[Growth]]:
    """The session with `reading` counted, and what that adds. Totals never fall, so repetition adds nothing."""
    before = known or CountedSession(reading.session_key, reading.service_id, 0, 0, reading.event_us)
    up = max(before.upstream_octets, reading.upstream_octets or 0)
    down = max(before.downstream_octets, reading.downstream_octets or 0)
    grown = up - before.upstream_octets, down - before.downstream_octets
    after = CountedSession(reading.session_key, reading.service_id, up, down, max(before.event_us, reading.event_us))
    return after, list(_spread(grown, before.event_us, reading.event_us, allowance)) if any(grown) else []


def _spread(grown: tuple[int, int], since_us: int, until_us: int, allowance: Allowance) -> Iterator[Growth]:
    """Over the periods that the interval touches, by time; exactly, for the last takes what rounding left."""
    starts = _starts(since_us, until_us, allowance)
    counted = (0, 0)
    for this, following in zip(starts, [*starts[1:], None], strict=True):
        share = grown
        if following is not None:
            share = tuple(octets * (following - since_us) // (until_us - since_us) for octets in grown)  # type: ignore[assignment]
        yield Growth(this, share[0] - counted[0], share[1] - counted[1])
        counted = share


def _starts(since_us: int, until_us: int, allowance: Allowance) -> list[int]:
    """Beginnings of the periods in which the interval lies."""
    last = allowance.period_at(_moment(since_us, until_us))
    if since_us >= until_us or to_micros(last.end) >= until_us:
        return [to_micros(last.start)]
    starts = [to_micros(last.start)]
    while to_micros(last.end) < until_us and len(starts) <= _MOST_PERIODS:
        last = allowance.period_at(last.end)
        starts.append(to_micros(last.start))
    return starts if len(starts) <= _MOST_PERIODS else [to_micros(allowance.period_at(from_micros(until_us)).start)]


def _moment(since_us: int, until_us: int) -> datetime:
    return from_micros(min(since_us, until_us))

"""Adds octets up by identifier and five minutes before they become usage records. Pure, but for its memory.

An interval that crosses bins is cut in proportion to time; parts are differences of rounded-down running shares. A bin
is handed out once it is over for a while; what is told of it later makes another record of it, so nothing counts twice
and nothing is lost. An interval longer than two bins stays whole: its sum is true, and its course is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from controller.domain.usage import MeasuredOctets

BIN = timedelta(seconds=300)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_AHEAD = timedelta(hours=1)
"""A bin that begins later is of a clock that is wrong: it is handed out, and billing holds it."""
_MOST = 2**62
"""Octets of one record and direction: more than that makes another record, because integers of 64 bits end soon."""


@dataclass(slots=True)
class _Sum:
    number: int
    since: datetime
    until: datetime
    upstream_octets: int
    downstream_octets: int


class Bins:
    """`life` makes the keys of this process's records its own."""

    def __init__(self, life: str, *, lateness: timedelta = timedelta(seconds=60)) -> None:
        self._life = life
        self._lateness = lateness
        self._open: dict[tuple[str, datetime], _Sum] = {}
        self._ready: list[MeasuredOctets] = []
        self._changed: set[tuple[str, datetime]] = set()
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self, identifier: str, since: datetime, until: datetime, upstream_octets: int, downstream_octets: int
    ) -> None:
        """Octets of [since, until); one without duration belongs to the bin in which it ends."""
        if until - since > 2 * BIN:
            whole_of_it = self._sum(since, until, upstream_octets, downstream_octets)
            self._ready.append(self._record(identifier, whole_of_it))
            return
        whole, begin = (until - since) // _MICROSECOND, since
        given = (0, 0)
        while True:
            start = bin_of(begin)
            end = min(until, start + BIN)
            share = (end - since) // _MICROSECOND
            upto = (
                (upstream_octets * share // whole, downstream_octets * share // whole)
                if whole > 0 and end < until
                else (upstream_octets, downstream_octets)
            )
            self._put(identifier, start, begin, end, upto[0] - given[0], upto[1] - given[1])
            given, begin = upto, end
            if end >= until:
                return

    def closed(self, now: datetime) -> list[MeasuredOctets]:
        """Records of the bins that are over, and of those that a wrong clock put far ahead; each is handed out once."""
        over = [key for key in self._open if key[1] + BIN + self._lateness <= now or key[1] - _AHEAD > now]
        found = self._ready + [self._record(key[0], self._open.pop(key)) for key in sorted(over)]
        self._ready = []
        self._changed.difference_update(over)
        return found

    def changed(self) -> list[MeasuredOctets]:
        """What is open, or was never handed out, and has changed since this was asked before: as it stands now."""
        found = self._ready + [self._record(key[0], self._open[key]) for key in sorted(self._changed)]
        self._changed = set()
        return found

    def not_kept(self) -> None:
        """What `changed` said last came to nothing: all that is open is said again."""
        self._changed = set(self._open)

    def _put(
        self, identifier: str, start: datetime, since: datetime, until: datetime, upstream: int, downstream: int
    ) -> None:
        known = self._open.get((identifier, start))
        self._changed.add((identifier, start))
        if known is not None and max(known.upstream_octets + upstream, known.downstream_octets + downstream) > _MOST:
            self._ready.append(self._record(identifier, known))
            known = None
        if known is None:
            self._open[identifier, start] = self._sum(since, until, upstream, downstream)
            return
        known.since, known.until = min(known.since, since), max(known.until, until)
        known.upstream_octets += upstream
        known.downstream_octets += downstream

    def _sum(self, since: datetime, until: datetime, upstream: int, downstream: int) -> _Sum:
        self._number += 1
        return _Sum(self._number, since, until, upstream, downstream)

    def _record(self, identifier: str, found: _Sum) -> MeasuredOctets:
        return MeasuredOctets(
            f"{self._life}-{found.number}", identifier, found.since, found.until, found.upstream_octets,
            found.downstream_octets,
        )  # fmt: skip


def bin_of(at: datetime) -> datetime:
    """Where the bin begins in which an instant lies."""
    return at - (at - _EPOCH) % BIN

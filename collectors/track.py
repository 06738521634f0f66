"""Remembers the last reading of each counter and turns a new one into samples. Pure, but for its memory.

A new reading counts only once `keep` says that its samples are stored; `discard` forgets it, and the next reading then
covers the longer interval, so that a time series that is away for a while costs no octets. A counter that is read for
the first time, or whose last reading a restart of ours forgot, says nothing until its second reading.
"""

from __future__ import annotations

from collections import Counter

from collectors.counters import Growth, Reading, Seen, delta
from controller.domain.usage import CounterSample

Tags = tuple[tuple[str, str], ...]
Key = tuple[str, ...]

OCTETS = "octets"
RESETS = "resets"
QUARANTINED = "quarantined_octets"
"""What was not believed stays visible under this field; nothing that adds up octets reads it."""


class CounterTrack:
    """Last readings by key, of one device or one fleet. Used by one task at a time."""

    def __init__(self) -> None:
        self._kept: dict[Key, Reading] = {}
        self._new: dict[Key, Reading] = {}
        self._seen: Counter[Seen] = Counter()

    def advance(self, key: Key, reading: Reading, speed_bps: int | None) -> Growth:
        """The growth since the last reading under `key`. A reading that is not later changes nothing."""
        previous = self._new.get(key) or self._kept.get(key)
        growth = delta(previous, reading, speed_bps)
        if previous is None or reading.at > previous.at:
            self._new[key] = reading
            self._seen[growth.seen] += 1
        return growth

    def keep(self) -> Counter[Seen]:
        """What was read since the last call is stored. Returns what its pairs of readings were."""
        self._kept |= self._new
        seen = self._seen
        self.discard()
        return seen

    def discard(self) -> None:
        """What was read since the last call could not be stored."""
        self._new, self._seen = {}, Counter()


def growth_samples(measurement: str, tags: Tags, reading: Reading, growth: Growth) -> list[CounterSample]:
    """The sample of a growth, stamped with the later reading; none for a gap. A reset is told beside its octets:
    what was counted between the last reading and it is lost."""
    if growth.octets is not None:
        found = [CounterSample(measurement, tags, OCTETS, reading.at, growth.octets)]
        if growth.seen is Seen.RESET:
            found.append(CounterSample(measurement, tags, RESETS, reading.at, 1))
        return found
    if growth.refused is not None:
        return [CounterSample(measurement, tags, QUARANTINED, reading.at, float(growth.refused))]
    return []

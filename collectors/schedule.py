"""When each device is polled: on a grid of its own, spread over the interval. Pure.

    interval 60 s:   |·a····b·c·······d···|·a····b·c·······d···|

The place in the interval follows from the device's id, so a restart polls everything where it was polled before and
five hundred devices are never asked at once. A device that fails is asked again on its grid: a missing poll is a gap,
and hammering a silent device fills none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta


def offset_s(key: str, interval_s: float) -> float:
    """Where in the interval `key` is polled: evenly spread, the same every time."""
    digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
    return digest / 2**64 * interval_s


def next_due(key: str, interval_s: float, after: datetime) -> datetime:
    """The first instant of the key's grid that is later than `after`."""
    interval = timedelta(seconds=interval_s)
    origin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=offset_s(key, interval_s))
    return origin + ((after - origin) // interval + 1) * interval


class Schedule:
    """The next instant of every key. What is due but still being polled is skipped: one poll per key at a time."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due: dict[str, datetime] = {}
        self._busy: set[str] = set()

    def keep(self, keys: Iterable[str], now: datetime) -> None:
        """Exactly these keys from now on. A new one is due within a twentieth of the interval, then on its grid."""
        wanted = set(keys)
        self._due = {key: at for key, at in self._due.items() if key in wanted}
        for key in wanted - self._due.keys():
            self._due[key] = now + timedelta(seconds=offset_s(key, self._interval_s / 20))

    def start_due(self, now: datetime) -> list[str]:
        """Keys to poll now; each is busy until `finished`. A key that is late is polled once, not once per miss."""
        ready = sorted((at, key) for key, at in self._due.items() if at <= now)
        for _, key in ready:
            self._due[key] = next_due(key, self._interval_s, now)
        started = [key for _, key in ready if key not in self._busy]
        self._busy.update(started)
        return started

    def finished(self, key: str) -> None:
        self._busy.discard(key)

    def wait_s(self, now: datetime, at_most_s: float) -> float:
        """Seconds until something is due."""
        soonest = min(self._due.values(), default=now + timedelta(seconds=at_most_s))
        return min(max((soonest - now).total_seconds(), 0.0), at_most_s)

"""What both time-series stores agree on: how a series is named, how fine an instant is, where buckets begin.

Instants are kept to the millisecond, because VictoriaMetrics keeps no more; a second sample of one series in one
millisecond replaces the first. Refuses what one of the stores could not hold, so that a series written to either can
be read back under the same name from both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from controller.domain.errors import HeadendError, RuleError
from controller.domain.usage import Bucket, CounterSample
from controller.store.metadata import from_micros, to_micros

AGGREGATES = ("sum", "avg", "max", "last")

MAX_BUCKETS = 11_000
"""Buckets one read may ask for; more is a mistake in `step_s`, not a picture."""

_LATEST_MS = 7_258_118_400_000
_LONGEST_STEP_S = 10 * 366 * 86_400

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
# Line protocol has no way to write a line break, nor a backslash at the end of a tag value.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")

Tags = tuple[tuple[str, str], ...]


class TimeSeriesUnavailable(HeadendError):
    """The store cannot be reached, is full or refused; the same call may succeed later."""


class SeriesKey(NamedTuple):
    measurement: str
    tags: Tags
    field: str


class Point(NamedTuple):
    """One sample ready to be stored: `at_ms` is UTC milliseconds since 1970."""

    key: SeriesKey
    at_ms: int
    value: int | float


def point(sample: CounterSample) -> Point:
    """Raises RuleError for names or values that a store would silently drop."""
    if isinstance(sample.value, float) and not math.isfinite(sample.value):
        raise RuleError(f"{sample.measurement}.{sample.field} is {sample.value}: no store keeps it", code="sample")
    if not -(2**63) <= sample.value < 2**63:
        raise RuleError(f"{sample.measurement}.{sample.field} does not fit 64 bits", code="sample")
    key = SeriesKey(_name(sample.measurement), canonical_tags(sample.tags), _name(sample.field))
    return Point(key, millis(sample.at), sample.value)


def canonical_tags(tags: Sequence[tuple[str, str]]) -> Tags:
    """Sorted, without empty values (they mean "no such tag"), unsafe characters replaced by "_"."""
    seen = {
        # Printable text has no control characters, and most values are.
        _name(name): value if value.isprintable() and "\\" not in value else _UNSAFE.sub("_", value)
        for name, value in tags
    }
    if len(seen) != len(tags):
        raise RuleError(f"a tag is named twice in {tags!r}", code="sample")
    return tuple(sorted([item for item in seen.items() if item[1]]))


def millis(at: datetime) -> int:
    return to_micros(at) // 1000


class Grid(NamedTuple):
    """The buckets of one read: `length` of them, `step_ms` long, the first at `since_ms`.

    The last one is whole: it may reach beyond the `until` that was asked for, and then counts what is there.
    """

    since_ms: int
    step_ms: int
    length: int

    @property
    def until_ms(self) -> int:
        return self.since_ms + self.length * self.step_ms

    def buckets(self, values: dict[int, float]) -> list[Bucket]:
        """Every bucket in order; one that has no value is a gap (None), never a zero."""
        return [
            Bucket(from_micros((self.since_ms + n * self.step_ms) * 1000), values.get(n)) for n in range(self.length)
        ]


def grid(since: datetime, until: datetime, step_s: int, aggregate: str) -> Grid:
    """Raises RuleError for an unknown aggregate, an empty or absurd interval, or more than MAX_BUCKETS buckets."""
    if aggregate not in AGGREGATES:
        raise RuleError(f"aggregate {aggregate!r}: one of {', '.join(AGGREGATES)}", code="time-series")
    since_ms, until_ms = millis(since), millis(until)
    if step_s < 1 or until_ms <= since_ms:
        raise RuleError("step must be at least 1 s and until later than since", code="time-series")
    if since_ms < 0 or until_ms > _LATEST_MS or step_s > _LONGEST_STEP_S:
        raise RuleError("instants between 1970 and 2200, steps of at most ten years", code="time-series")
    count = -(-(until_ms - since_ms) // (step_s * 1000))
    if count > MAX_BUCKETS:
        raise RuleError(f"{count} buckets asked for, at most {MAX_BUCKETS}: use a larger step", code="time-series")
    return Grid(since_ms, step_s * 1000, count)


@lru_cache(maxsize=1024)
def _name(name: str) -> str:
    if not _NAME.match(name):
        raise RuleError(f"{name!r} cannot name a measurement, field or tag", code="sample")
    return name

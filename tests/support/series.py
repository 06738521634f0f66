"""A `TimeSeries` in memory, that can be made to fail: the port's contract is tested on the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.domain.usage import Bucket, CounterSample
from controller.store.timeseries_series import TimeSeriesUnavailable, canonical_tags, grid, millis

Series = tuple[str, tuple[tuple[str, str], ...], str]


class FakeTimeSeries:
    """Same (series, instant) again replaces the value, as in the real ones."""

    def __init__(self) -> None:
        self.points: dict[tuple[Series, int], float] = {}
        self.writes = 0
        self.away = False

    async def write(self, samples: Sequence[CounterSample]) -> None:
        if self.away:
            raise TimeSeriesUnavailable("the time series is away")
        self.writes += 1
        for s in samples:
            self.points[(s.measurement, tuple(sorted(s.tags)), s.field), millis(s.at)] = s.value

    async def read(
        self,
        measurement: str,
        field: str,
        *,
        since: datetime,
        until: datetime,
        step_s: int,
        tags: Sequence[tuple[str, str]] = (),
        aggregate: str = "sum",
    ) -> Sequence[Bucket]:
        wanted = grid(since, until, step_s, aggregate)
        wanted_tags = set(canonical_tags(tags))
        values: dict[int, float] = {}
        for (series, at_ms), value in self.points.items():
            if series[0] == measurement and series[2] == field and wanted_tags <= set(series[1]):
                place = (at_ms - wanted.since_ms) // wanted.step_ms
                values[place] = values.get(place, 0) + value
        return wanted.buckets(values)

    async def close(self) -> None:
        return

    def total(self, measurement: str, field: str = "octets", **tags: str) -> float:
        return sum(
            value
            for (series, _), value in self.points.items()
            if series[0] == measurement and series[2] == field and set(tags.items()) <= set(series[1])
        )

    def values(self, measurement: str, field: str) -> list[float]:
        return [v for (series, _), v in self.points.items() if (series[0], series[2]) == (measurement, field)]

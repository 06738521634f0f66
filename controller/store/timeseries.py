"""Chooses the time series by its URL, and keeps the embedded one within its retention.

""  or  sqlite:///path     the embedded file (default: timeseries.db in the data directory)
http(s)://host:port        VictoriaMetrics: line protocol in, PromQL out
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.ports import Secret, TimeSeries
from controller.store.timeseries_series import TimeSeriesUnavailable
from controller.store.timeseries_sqlite import SqliteTimeSeries

log = structlog.get_logger()

_FILE = "timeseries.db"
_EXPIRE_EVERY_S = 3600


@dataclass(frozen=True, slots=True)
class TimeSeriesSettings:
    """Where samples go."""

    url: str = ""
    """See the module. Empty: embedded, because a small ISP needs no second server."""
    token: Secret | None = None
    """Sent as `Authorization: Token …` to the server, where a proxy in front of it asks for one."""
    retention_days: int = 800
    """Days the embedded file keeps samples; two years and a bit, so that a month can be compared with its own of two
    years ago. 0 keeps everything. A server has a setting of its own."""
    timeout_s: float = 10.0
    """Longest wait for the server's answer."""


class KeptTimeSeries(TimeSeries, Protocol):
    """A time series that can forget what is too old."""

    async def expire(self, now: datetime) -> int: ...


def open_time_series(settings: TimeSeriesSettings, data_dir: Path) -> KeptTimeSeries:
    """Raises RuleError for a URL of another kind."""
    if settings.url.startswith(("http://", "https://")):
        # Only where it is wanted: with its client library, 400 modules are a tenth of all that a start imports.
        from controller.store.timeseries_influx import InfluxTimeSeries

        return InfluxTimeSeries(settings.url, token=settings.token, timeout_s=settings.timeout_s)
    if settings.url.startswith("sqlite:///"):
        path = Path(settings.url.removeprefix("sqlite:///"))
    elif settings.url:
        raise RuleError(f"time series URL {settings.url!r}: sqlite:///path or http(s)://host:port", code="settings")
    else:
        path = data_dir / _FILE
    retention = timedelta(days=settings.retention_days) if settings.retention_days else None
    return SqliteTimeSeries(path, retention=retention)


async def keep_within_retention(series: KeptTimeSeries, clock: Clock) -> None:
    """Background task: once an hour, delete what is older than the retention. Never returns."""
    while True:
        try:
            deleted = await series.expire(clock.now())
        except TimeSeriesUnavailable as error:
            log.warning("timeseries.expire_failed", error=str(error))
        else:
            if deleted:
                log.info("timeseries.expired", samples=deleted)
        await asyncio.sleep(_EXPIRE_EVERY_S)

"""HTTP: time-series queries and device health."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from collectors.health import HealthStore, SourceHealth
from controller.domain.errors import RuleError
from controller.domain.ports import TimeSeries
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.problem import Problem
from controller.store.timeseries_series import TimeSeriesUnavailable

_POINTS = 300
"""Points of an answer for which no step was asked."""


class MeasurementQuery(BaseModel):
    """`tags` is name=value, comma-separated: the series that carry all of them are taken together."""

    model_config = ConfigDict(extra="forbid")

    measurement: str = Field(pattern="^[a-z][a-z0-9_]*$", max_length=64, examples=["session_octets"])
    field: str = Field(default="octets", pattern="^[a-z][a-z0-9_]*$", max_length=64)
    tags: str = Field(default="", max_length=500, examples=["service=0190…,direction=downstream"])
    since: AwareDatetime | None = Field(default=None, description="Default: 24 hours before until")
    until: AwareDatetime | None = Field(default=None, description="Default: now")
    step_s: int | None = Field(default=None, ge=1, le=366 * 86_400, description="Length of a bucket in seconds")
    aggregate: Literal["sum", "avg", "max", "last"] = "sum"


class Point(BaseModel):
    start: datetime
    value: float | None = Field(description="null where there was no sample: a gap is never a zero")


class Measurements(BaseModel):
    measurement: str
    field: str
    aggregate: str
    step_s: int
    points: list[Point]


class DeviceHealthOut(BaseModel):
    device_id: str
    source: str = Field(description="snmp or netconf")
    state: Literal["up", "down", "unknown"] = Field(description="unknown: nothing was heard until valid_until")
    detail: str
    uptime_s: int | None
    checked_at: datetime
    valid_until: datetime


def endpoints(series: TimeSeries, health: HealthStore) -> list[Endpoint]:
    async def measurements(call: Call) -> Measurements:
        query = call.query_as(MeasurementQuery)
        until = query.until or call.now
        since = query.since or until - timedelta(days=1)
        if until <= since:
            raise RuleError("until must be later than since", code="time-series")
        step_s = query.step_s or max(1, int((until - since).total_seconds()) // _POINTS)
        try:
            buckets = await series.read(
                query.measurement,
                query.field,
                since=since,
                until=until,
                step_s=step_s,
                tags=_tags(query.tags),
                aggregate=query.aggregate,
            )
        except TimeSeriesUnavailable as error:
            raise Problem(503, "The time series cannot be read now.", code="time-series-unavailable") from error
        points = [Point(start=bucket.start, value=bucket.value) for bucket in buckets]
        return Measurements(
            measurement=query.measurement, field=query.field, aggregate=query.aggregate, step_s=step_s, points=points
        )

    async def device_health(call: Call) -> Page:
        query = call.query_as(PageQuery)
        after = query.last_key(str, str)
        rows = [row for row in await health.all() if after is None or _key(row) > after]
        return Page.of(rows, query, _key, lambda row: _out(row, call.now))

    return [
        Endpoint(
            "GET",
            "/measurements",
            scope="usage:read",
            handler=measurements,
            summary="Aggregated samples of the time series",
            query=MeasurementQuery,
            returns=Measurements,
            problems=(503,),
        ),
        Endpoint(
            "GET",
            "/device-health",
            scope="devices:read",
            handler=device_health,
            summary="What was last heard of each device",
            query=PageQuery,
            returns=DeviceHealthOut,
            paged=True,
        ),
    ]


def _tags(text: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if any(not equals for _, equals, _ in pairs):
        raise RuleError("tags are name=value, separated by commas", code="time-series")
    return [(name, value) for name, _, value in pairs]


def _key(row: SourceHealth) -> tuple[str, str]:
    return row.health.device_id, row.source


def _out(row: SourceHealth, now: datetime) -> DeviceHealthOut:
    said = row.health
    return DeviceHealthOut(
        device_id=said.device_id,
        source=row.source,
        state=row.state(now).value,
        detail=said.detail,
        uptime_s=said.uptime_s,
        checked_at=said.checked_at,
        valid_until=said.valid_until,
    )

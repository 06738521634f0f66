"""What customer equipment reports, and what becomes of it. Pure.

    headend/cpe/<serial>/telemetry   {"at": "2026-05-01T12:00:00Z", "uptime_s": 86400,
        "wan_upstream_octets": 1, "wan_downstream_octets": 2, "wifi_clients": 3, "rx_power_dbm": -19.5}

Totals count since the CPE started. Measurement `cpe`, tags cpe and service (where it is known); fields `octets` with
the tag direction (the growth), `wifi_clients`, `rx_power_dbm`, `uptime_s`. Unknown members are ignored: equipment in
the field is older or newer than we are. Refuses what is too large, not JSON, of the wrong type, or of another time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from collectors.counters import TICKS_PER_S, Reading
from collectors.errors import MalformedAnswer
from collectors.settings import MqttSettings
from collectors.track import CounterTrack, Tags, growth_samples
from controller.domain.clock import require_utc
from controller.domain.identity import ServiceId
from controller.domain.usage import CounterSample

MEASUREMENT = "cpe"

_SERIAL = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
_COUNTER_MAX = 2**64 - 1


class Telemetry(BaseModel):
    """One report. Numbers are numbers: "12" is malformed."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    at: AwareDatetime = Field(strict=False)
    uptime_s: int = Field(ge=0, le=2**40)
    wan_upstream_octets: int | None = Field(default=None, ge=0, le=_COUNTER_MAX)
    wan_downstream_octets: int | None = Field(default=None, ge=0, le=_COUNTER_MAX)
    wifi_clients: int | None = Field(default=None, ge=0, le=10_000)
    rx_power_dbm: float | None = Field(default=None, ge=-60, le=20, allow_inf_nan=False)


def parse(topic: str, payload: bytes, now: datetime, settings: MqttSettings) -> tuple[str, Telemetry]:
    """Serial number and report. Raises MalformedAnswer and nothing else."""
    parts = topic.split("/")
    serial = parts[2] if len(parts) == 4 else ""
    if not _SERIAL.match(serial):
        raise MalformedAnswer("topic", topic[:100])
    if len(payload) > settings.message_octets:
        raise MalformedAnswer("size", f"{serial}: {len(payload)} octets")
    try:
        report = Telemetry.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise MalformedAnswer("payload", f"{serial}: {where} {first['msg']}") from None
    try:
        age = now - require_utc(report.at)
    except OverflowError:
        raise MalformedAnswer("time", f"{serial}: {report.at}") from None
    if not -timedelta(seconds=settings.early_s) <= age <= timedelta(seconds=settings.late_s):
        raise MalformedAnswer("time", f"{serial}: {report.at.isoformat()}")
    return serial, report


def samples(
    serial: str, report: Telemetry, track: CounterTrack, services: Mapping[str, ServiceId]
) -> list[CounterSample]:
    """Nothing for a report that repeats one already seen, or is older: the broker delivers at least once."""
    tags: Tags = (("cpe", serial),)
    if serial.upper() in services:
        tags = (*tags, ("service", services[serial.upper()]))
    gauges = {"uptime_s": report.uptime_s, "wifi_clients": report.wifi_clients, "rx_power_dbm": report.rx_power_dbm}
    found = [CounterSample(MEASUREMENT, tags, name, report.at, v) for name, v in gauges.items() if v is not None]
    totals = (("upstream", report.wan_upstream_octets), ("downstream", report.wan_downstream_octets))
    for direction, octets in totals:
        if octets is not None:
            reading = Reading(report.at, octets, uptime_ticks=report.uptime_s * TICKS_PER_S % 2**32)
            growth = track.advance((serial, direction), reading, None)
            found += growth_samples(MEASUREMENT, (*tags, ("direction", direction)), reading, growth)
    return found

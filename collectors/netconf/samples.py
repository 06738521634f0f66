"""From an OLT's answer to samples. Pure.

Measurement `olt_onu`, tags device, onu, pon_port (where the ONU is seen) and service (where it is known); fields
`present` (1 or 0), `rx_power_dbm`, and `octets` with the tag direction, the subscriber's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from collectors.counters import Reading
from collectors.netconf.model import OnuState
from collectors.track import CounterTrack, Tags, growth_samples
from controller.domain.identity import ServiceId
from controller.domain.usage import CounterSample

MEASUREMENT = "olt_onu"


def samples(
    device_id: str, onus: Sequence[OnuState], at: datetime, track: CounterTrack, services: Mapping[str, ServiceId]
) -> list[CounterSample]:
    found: list[CounterSample] = []
    for onu in onus:
        tags: Tags = (("device", device_id), ("onu", onu.serial))
        if onu.serial in services:
            tags = (*tags, ("service", services[onu.serial]))
        found.append(CounterSample(MEASUREMENT, tags, "present", at, int(onu.present)))
        if onu.rx_power_dbm is not None:
            found.append(CounterSample(MEASUREMENT, tags, "rx_power_dbm", at, float(onu.rx_power_dbm)))
        for direction, octets in (("upstream", onu.upstream_octets), ("downstream", onu.downstream_octets)):
            if octets is not None and onu.present:
                reading = Reading(at, octets, discontinuity_ticks=_ticks(onu.discontinuity_at))
                growth = track.advance((onu.serial, direction), reading, None)
                found += growth_samples(MEASUREMENT, (*tags, ("direction", direction)), reading, growth)
    return found


def _ticks(at: datetime | None) -> int | None:
    """Only compared for being the same, so any unit does."""
    return None if at is None else int(at.timestamp() * 100)

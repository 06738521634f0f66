"""From a poll of a device to samples. Pure.

Measurement `interface`, tags device, if_name, if_index and direction ("in", "out": as the interface sees it, which is
upstream on a port towards subscribers and downstream on an uplink); field `octets` is the growth since the last poll.
"""

from __future__ import annotations

from collectors.snmp.interfaces import DevicePoll
from collectors.track import CounterTrack, Tags, growth_samples
from controller.domain.usage import CounterSample

MEASUREMENT = "interface"


def samples(device_id: str, poll: DevicePoll, track: CounterTrack) -> list[CounterSample]:
    found: list[CounterSample] = []
    for interface in poll.interfaces:
        base = (("device", device_id), ("if_name", interface.name), ("if_index", str(interface.index)))
        found.append(CounterSample(MEASUREMENT, base, "up", poll.at, int(interface.up)))
        for direction, reading in (("in", interface.received), ("out", interface.sent)):
            if reading is not None:
                growth = track.advance((interface.name, direction), reading, interface.speed_bps)
                tags: Tags = (*base, ("direction", direction))
                found += growth_samples(MEASUREMENT, tags, reading, growth)
    return found

"""An access service as every room understands it: its speed, where it is attached, and what a device shows of it.

`DesiredService` is what the order asked for; `ObservedService` what a device was read to have. Provisioning compares
the two, RADIUS builds attributes from the same `SpeedProfile`, and drivers translate it into a device's own words.
Direction is the subscriber's: downstream towards the subscriber, upstream from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.identity import DeviceId, ServiceId


@dataclass(frozen=True, slots=True)
class SpeedProfile:
    """A named pair of rates in bit/s. `name` is what devices know it by ([a-z0-9-], at most 32 characters)."""

    name: str
    downstream_bps: int
    upstream_bps: int

    def __post_init__(self) -> None:
        if self.downstream_bps <= 0 or self.upstream_bps <= 0:
            raise ValueError(f"speed profile {self.name!r}: rates must be positive bit/s")


@dataclass(frozen=True, slots=True)
class OnuAttachment:
    """Where a fibre service meets the network: an OLT, its PON channel termination and the ONU's serial.

    `onu_serial` is the ITU-T G.984.3 form: four letters of vendor id and eight hexadecimal digits.
    A `subscriber_vlan` of 0 names none: provisioning then chooses a free one of that OLT.
    """

    olt_id: DeviceId
    pon_port: str
    onu_serial: str
    subscriber_vlan: int


@dataclass(frozen=True, slots=True)
class DesiredService:
    """What one service should be on the network. `attachment` is None when it has no access device of ours."""

    service_id: ServiceId
    profile: SpeedProfile
    attachment: OnuAttachment | None
    present: bool = True
    """False when the service must be absent from the device."""


@dataclass(frozen=True, slots=True)
class ObservedService:
    """What a device was read to have for one service. Absent services are `present=False` with no rates.

    `details` holds device words for people (v-ani name, alloc-id …); nothing decides by them.
    """

    service_id: ServiceId
    present: bool
    downstream_bps: int | None = None
    upstream_bps: int | None = None
    onu_serial: str | None = None
    pon_port: str | None = None
    subscriber_vlan: int | None = None
    details: dict[str, str] = field(default_factory=dict)
    driver_state: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What the same driver's `plan` needs of its own reading; opaque to everyone else and never stored."""


class ServiceState(StrEnum):
    """Life of a service (TMF638 words)."""

    RESERVED = "reserved"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"

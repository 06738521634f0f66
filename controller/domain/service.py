"""An access service as every room understands it: its speed, where it is attached, and what a device shows of it.

`DesiredService` is what the order asked for, on one or several network elements; `AttachedService` one device's part
of it, `ObservedService` what that device was read to have. Provisioning compares the two, a `Plan` leads from one to
the other; RADIUS builds attributes from the same `SpeedProfile`, and drivers translate it into a device's own words.
Direction is the subscriber's: downstream towards the subscriber, upstream from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

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
    """A fibre line on an OLT: the PON channel termination and the ONU's serial.

    `onu_serial` is the ITU-T G.984.3 form: four letters of vendor id and eight hexadecimal digits.
    A `subscriber_vlan` of 0 names none: provisioning then chooses one that is free wherever the service is attached.
    """

    kind: ClassVar[str] = "onu"
    device_id: DeviceId
    pon_port: str
    onu_serial: str
    subscriber_vlan: int = 0

    @property
    def port(self) -> str:
        return self.pon_port

    @property
    def vlan_space(self) -> str:
        """Within which part of the device a VLAN belongs to one service: an OLT has one space."""
        return ""


@dataclass(frozen=True, slots=True)
class RouterAttachment:
    """A subinterface of a router, with the subscriber's policer. `interface` is the physical one ("Ethernet1")."""

    kind: ClassVar[str] = "router"
    onu_serial: ClassVar[None] = None
    device_id: DeviceId
    interface: str
    subscriber_vlan: int = 0

    @property
    def port(self) -> str:
        return self.interface

    @property
    def vlan_space(self) -> str:
        """Each interface of a router has VLANs of its own (IEEE 802.1Q)."""
        return self.interface


Attachment = OnuAttachment | RouterAttachment
"""One network element that carries a service, and where on it."""


def attachment_of(
    kind: str, device_id: DeviceId, port: str, onu_serial: str | None, subscriber_vlan: int
) -> Attachment:
    """An attachment put together from columns: its own `kind`, `device_id`, `port`, `onu_serial`, `subscriber_vlan`."""
    if kind == RouterAttachment.kind:
        return RouterAttachment(device_id, port, subscriber_vlan)
    assert kind == OnuAttachment.kind, kind
    assert onu_serial is not None
    return OnuAttachment(device_id, port, onu_serial, subscriber_vlan)


@dataclass(frozen=True, slots=True)
class AttachedService:
    """What one device should have of a service."""

    service_id: ServiceId
    profile: SpeedProfile
    attachment: Attachment
    present: bool = True
    """False when the service must be absent from the device."""


@dataclass(frozen=True, slots=True)
class DesiredService:
    """What one service should be on the network.

    `attachments` are the devices of ours that carry it, from the subscriber inwards, each device once; none when other
    people's network does.
    """

    service_id: ServiceId
    profile: SpeedProfile
    attachments: tuple[Attachment, ...] = ()
    present: bool = True
    """False when the service must be absent from every device."""

    def by_device(self) -> tuple[AttachedService, ...]:
        """Each device's part, in the order in which devices are changed.

        From the core outwards when the service is brought up, so that nothing flows before it is policed; from the
        subscriber inwards when it is taken down.
        """
        parts = [AttachedService(self.service_id, self.profile, a, self.present) for a in self.attachments]
        return tuple(reversed(parts) if self.present else parts)


@dataclass(frozen=True, slots=True)
class ObservedService:
    """What a device was read to have of one service. Absent services are `present=False` with no rates.

    `details` holds device words for people (v-ani name, alloc-id …); nothing decides by them.
    """

    service_id: ServiceId
    present: bool
    downstream_bps: int | None = None
    upstream_bps: int | None = None
    onu_serial: str | None = None
    pon_port: str | None = None
    interface: str | None = None
    subscriber_vlan: int | None = None
    details: dict[str, str] = field(default_factory=dict)
    driver_state: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What the same driver's `plan` needs of its own reading; opaque to everyone else and never stored."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change on one device. `rendered` is exactly what will be sent, shown by a dry run, secrets masked."""

    summary: str
    rendered: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps that lead from observed to desired; empty when the device already is as desired."""

    device_id: DeviceId
    service_id: ServiceId
    steps: tuple[Step, ...]
    diff: str
    """Unified text, before → after, for people."""

    @property
    def is_empty(self) -> bool:
        return not self.steps

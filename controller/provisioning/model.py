"""The words of provisioning: devices, services with their desired and last observed state, and verdicts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import CoaOutcome, Secret
from controller.domain.restriction import FREE, Measure, Restriction
from controller.domain.service import Attachment, DesiredService, ObservedService, Plan, SpeedProfile


class Standing(StrEnum):
    """How a service stands towards what is desired of it."""

    PENDING = "pending"
    """Desired, and not verified on its device since."""
    VERIFIED = "verified"
    """Read back and found as desired."""
    MISMATCH = "mismatch"
    """Applied, read back, and found different: a human must look."""
    DRIFT = "drift"
    """Was verified once, and has been changed behind our back."""
    FAILED = "failed"
    """The device refused, or could not be reached; `last_error` says which."""


@dataclass(frozen=True, slots=True)
class SnmpAccess:
    """How a device is polled. Version "2c" needs `community`; "3" needs user and keys (RFC 3414, RFC 3826)."""

    port: int = 161
    version: str = "2c"
    community: Secret | None = None
    user: str | None = None
    auth_protocol: str | None = None
    auth_key: Secret | None = None
    priv_protocol: str | None = None
    priv_key: Secret | None = None


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device as it is registered. `driver` is None for one that is only polled."""

    name: str
    host: str
    driver: str | None = None
    port: int = 830
    username: str = ""
    secret: Secret | None = None
    host_key_sha256: str | None = None
    snmp: SnmpAccess | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device as anybody may see it: without secrets."""

    device_id: DeviceId
    name: str
    host: str
    driver: str | None
    port: int
    username: str
    host_key_sha256: str | None
    snmp_version: str | None
    snmp_port: int | None
    created_at: datetime


GARDEN_ON_A_DEVICE = SpeedProfile("dunning-garden", 512_000, 512_000)
"""Enough to pay, on a device that cannot lead a subscriber anywhere else."""


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """A device that carries a service, and what it was last read to have. `driver_state` is never stored."""

    attachment: Attachment
    observed: ObservedService | None
    observed_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredService:
    """What is desired of a service, what was seen of it last, and how the two compare.

    `revision` counts the desired states; a verdict is stored only for the revision it was made for.
    """

    desired: DesiredService
    seen: tuple[StoredAttachment, ...]
    """One for each of `desired.attachments`, in their order."""
    revision: int
    desired_at: datetime
    standing: Standing
    verified_at: datetime | None
    differences: tuple[str, ...]
    """Each begins with the name of the device that shows it."""
    last_error: str | None
    is_bound: bool
    """Whether it holds its serial and VLANs; a service verified to be gone does not."""
    restriction: Restriction = FREE
    """What is taken of it on its devices until its account is settled."""
    restricting_since: datetime | None = None
    """Since when the devices were not seen yet to be as the restriction, or its end, wants them."""

    @property
    def enforced(self) -> DesiredService:
        """What its devices should have: what is desired, less what is taken. No device is a walled garden: a narrow
        speed stands for it."""
        if not self.desired.present:
            return self.desired
        match self.restriction.measure:
            case Measure.NONE:
                return self.desired
            case Measure.SUSPEND:
                return replace(self.desired, present=False)
            case Measure.THROTTLE | Measure.GARDEN:
                return replace(self.desired, profile=self.restriction.profile or GARDEN_ON_A_DEVICE)

    @property
    def device_ids(self) -> tuple[DeviceId, ...]:
        return tuple(attachment.device_id for attachment in self.desired.attachments)


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict of a converge. `plans` are those that were applied; empty ones changed nothing."""

    verified: bool
    at: datetime
    differences: tuple[str, ...]
    plans: tuple[Plan, ...]

    @property
    def changed(self) -> bool:
        """Whether any device was changed."""
        return any(not plan.is_empty for plan in self.plans)


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What a NAS answered when the speed of one live session was to change. An "ack" proves nothing yet."""

    service_id: ServiceId
    session_key: str
    profile_name: str
    requested_at: datetime
    outcome: CoaOutcome


@dataclass(frozen=True, slots=True)
class SessionVerification:
    """Whether live sessions are seen at the desired speed.

    "verified": each of them by a rate that its NAS reports; "class-echoed": of one there is only the Class of the
    change, returned by a NAS that reports no rate and whose policy takes that for enough; "mismatch": one was seen at
    another speed; "pending": of one nothing was seen yet, or nothing that suffices; "refused": the NAS of one refused
    the change or never answered, and no rate shows that it is so all the same;
    "no-session": there is none, and the next login brings the new speed. `details` has a sentence per session.
    """

    state: str
    details: tuple[str, ...]

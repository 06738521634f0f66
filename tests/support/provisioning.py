"""Fakes of the ports that provisioning uses, and a ProvisioningService around them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from controller.domain.clock import MovableClock
from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import CoaOutcome, DeviceEndpoint, Secret, ServiceDriver, SessionRate
from controller.domain.service import (
    AttachedService,
    DesiredService,
    ObservedService,
    OnuAttachment,
    Plan,
    SpeedProfile,
    Step,
)
from controller.domain.units import MBPS
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.model import NewDevice, SnmpAccess
from controller.provisioning.service import ProvisioningService
from controller.provisioning.settings import ProvisioningSettings
from controller.store.engine import Database
from controller.store.secrets import SecretBox, load_or_create

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
ACTOR = "user:anna"
HUNDRED = SpeedProfile("fibre-100", 100 * MBPS, 50 * MBPS)
THREE_HUNDRED = SpeedProfile("fibre-300", 300 * MBPS, 150 * MBPS)


def service_id(n: int) -> ServiceId:
    return ServiceId(f"{n:032x}")


class MemoryDevice:
    """ServiceDriver: a device of any kind that is a dict. `deaf` takes every change and does nothing."""

    def __init__(self) -> None:
        self.services: dict[str, AttachedService] = {}
        self.error: Exception | None = None
        self.deaf = False
        self.applied = 0
        self.observed = 0
        self.busy = 0
        self.most_busy = 0

    async def observe(self, device: DeviceEndpoint, service: AttachedService) -> ObservedService:
        self.observed += 1
        if self.error is not None:
            raise self.error
        has = self.services.get(service.service_id)
        if has is None:
            return ObservedService(service.service_id, present=False)
        where = has.attachment
        return ObservedService(
            service.service_id,
            present=True,
            downstream_bps=has.profile.downstream_bps,
            upstream_bps=has.profile.upstream_bps,
            onu_serial=where.onu_serial,
            pon_port=where.port if isinstance(where, OnuAttachment) else None,
            interface=None if isinstance(where, OnuAttachment) else where.port,
            subscriber_vlan=where.subscriber_vlan,
            details={"name": f"line-{service.service_id}"},
        )

    def plan(self, device: DeviceEndpoint, desired: AttachedService, observed: ObservedService) -> Plan:
        has = self.services.get(desired.service_id)
        same = has == desired if desired.present else has is None
        steps = () if same else (Step(f"put {desired.service_id}", "<rpc/>"),)
        return Plan(device.device_id, desired.service_id, steps, "" if same else "- old\n+ new\n")

    async def apply(self, device: DeviceEndpoint, desired: AttachedService, plan: Plan) -> None:
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        self.applied += 1
        if self.deaf:
            return
        if desired.present:
            self.services[desired.service_id] = desired
        else:
            self.services.pop(desired.service_id, None)


@dataclass
class Sessions:
    """SessionControl: live sessions by service, with what the NAS answers and what is seen of each afterwards."""

    live: dict[str, list[str]] = field(default_factory=dict)
    throttled: set[str] = field(default_factory=set)
    answers: dict[str, CoaOutcome] = field(default_factory=dict)
    seen: dict[str, SessionRate] = field(default_factory=dict)
    asked: list[tuple[str, SpeedProfile]] = field(default_factory=list)

    async def live_sessions(self, service_id: ServiceId) -> Sequence[str]:
        return self.live.get(service_id, [])

    async def sessions_on_plan(self, service_id: ServiceId) -> Sequence[str]:
        return [] if service_id in self.throttled else await self.live_sessions(service_id)

    async def change_speed(self, session_key: str, profile: SpeedProfile, *, actor: str = "") -> CoaOutcome:
        self.asked.append((session_key, profile))
        return self.answers.get(session_key, CoaOutcome("ack"))

    async def failures(self, service_id: ServiceId) -> Mapping[str, str]:
        """As the queue tells it: what is refused is not asked again."""
        live = self.live.get(service_id, [])
        return {key: told.detail for key in live if (told := self.answers.get(key)) and told.result == "nak"}

    async def observed_rate(self, session_key: str, since: datetime) -> SessionRate | None:
        rate = self.seen.get(session_key)
        return rate if rate is not None and rate.observed_at > since else None


@dataclass
class Provisioning:
    """A service with everything around it. `olt_id` is a registered OLT."""

    service: ProvisioningService
    registry: DeviceRegistry
    clock: MovableClock
    sessions: Sessions
    olt_id: DeviceId
    box: SecretBox

    def desired(
        self,
        n: int = 1,
        profile: SpeedProfile = HUNDRED,
        *,
        serial: str | None = None,
        vlan: int = 0,
        present: bool = True,
        pon_port: str = "pon-1",
    ) -> DesiredService:
        attachment = OnuAttachment(self.olt_id, pon_port, serial or f"LABO{n:08X}", vlan)
        return DesiredService(service_id(n), profile, (attachment,), present)


async def provisioning_on(
    database: Database,
    tmp_path: Path,
    driver: ServiceDriver,
    *,
    port: int = 830,
    secret: str = "olt-password",
    settings: ProvisioningSettings | None = None,
    registry: DeviceRegistry | None = None,
    router: ServiceDriver | None = None,
) -> Provisioning:
    clock = MovableClock(START)
    box = load_or_create(tmp_path / "headend.key")
    registry = registry or DeviceRegistry(database, clock, box, ("bbf-olt", "napalm-router"))
    sessions = Sessions()
    drivers = {"bbf-olt": driver} | ({"napalm-router": router} if router else {})
    service = ProvisioningService(database, clock, registry, drivers, sessions, settings or ProvisioningSettings())
    known = await registry.page(None, 1)
    olt_id = (
        known[0].device_id
        if known
        else await service.register_device(
            NewDevice(
                name="olt-1",
                host="127.0.0.1",
                driver="bbf-olt",
                port=port,
                username="headend",
                secret=Secret(secret),
                snmp=SnmpAccess(port=1161, community=Secret("public-but-secret")),
            ),
            actor=ACTOR,
        )
    )
    return Provisioning(service, registry, clock, sessions, olt_id, box)

"""A driver that talks to the lab's OLT, and services to put on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.domain.identity import DeviceId, ServiceId
from controller.domain.ports import DeviceEndpoint, Secret
from controller.domain.service import AttachedService, OnuAttachment, SpeedProfile
from controller.domain.units import MBPS
from drivers.bbf_olt.driver import BbfOltDriver
from drivers.bbf_olt.render import BbfOltSettings
from drivers.transport.netconf import NetconfSettings, NetconfTransport
from lab.olt.server import PASSWORD, USERNAME, OltServer

OLT_ID = DeviceId("0" * 31 + "1")
SERVICE_ID = ServiceId("0190" + "a" * 28)
OTHER_SERVICE_ID = ServiceId("0190" + "b" * 28)

HUNDRED = SpeedProfile("fibre-100", 100 * MBPS, 50 * MBPS)
THREE_HUNDRED = SpeedProfile("fibre-300", 300 * MBPS, 150 * MBPS)


@dataclass
class PinnedKeys:
    """HostKeyStore in memory."""

    keys: dict[str, str] = field(default_factory=dict)

    async def pin(self, device_id: DeviceId, host_key_sha256: str) -> str:
        return self.keys.setdefault(device_id, host_key_sha256)


def fibre(
    profile: SpeedProfile = HUNDRED,
    *,
    service_id: ServiceId = SERVICE_ID,
    serial: str = "LABO00000001",
    vlan: int = 100,
    pon_port: str = "pon-1",
    present: bool = True,
    olt_id: DeviceId = OLT_ID,
) -> AttachedService:
    return AttachedService(service_id, profile, OnuAttachment(olt_id, pon_port, serial, vlan), present)


def endpoint_of(server: OltServer, host_key: str | None = None) -> DeviceEndpoint:
    return DeviceEndpoint(OLT_ID, "olt-1", "bbf-olt", server.host, server.port, USERNAME, Secret(PASSWORD), host_key)


def driver_with(
    keys: PinnedKeys | None = None, *, confirm_timeout_s: int = 30, keep_idle_s: float = 0, **netconf: float
) -> tuple[BbfOltDriver, NetconfTransport]:
    """A driver; unlike in production each call opens a session of its own, so that transcripts read one by one."""
    settings = NetconfSettings(keep_idle_s=keep_idle_s, **netconf)
    transport = NetconfTransport(settings, keys or PinnedKeys())  # type: ignore[arg-type]
    return BbfOltDriver(transport, BbfOltSettings(confirm_timeout_s=confirm_timeout_s)), transport


async def put(driver: BbfOltDriver, device: DeviceEndpoint, desired: AttachedService) -> bool:
    """Observe, plan and apply; whether there was anything to change."""
    plan = driver.plan(device, desired, await driver.observe(device, desired))
    await driver.apply(device, desired, plan)
    return not plan.is_empty

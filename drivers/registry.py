"""Every driver by its name, as devices are registered with it: a literal table, read by `controller.app.wiring`."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.domain.ports import HostKeyStore, ServiceDriver
from drivers.bbf_olt.driver import BbfOltDriver
from drivers.bbf_olt.render import BbfOltSettings
from drivers.napalm_router.driver import NapalmRouter, NapalmRouterSettings
from drivers.transport.netconf import NetconfSettings, NetconfTransport

DRIVER_NAMES = ("bbf-olt", "napalm-router")
"""What a device may be registered with."""


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """Settings of all drivers."""

    netconf: NetconfSettings = field(default_factory=NetconfSettings)
    bbf_olt: BbfOltSettings = field(default_factory=BbfOltSettings)
    napalm_router: NapalmRouterSettings = field(default_factory=NapalmRouterSettings)


def service_drivers(
    settings: DriverSettings, netconf: NetconfTransport, host_keys: HostKeyStore
) -> dict[str, ServiceDriver]:
    """The drivers of this process. `netconf` is shared with collectors, and with it one session per device."""
    return {
        "bbf-olt": BbfOltDriver(netconf, settings.bbf_olt),
        "napalm-router": NapalmRouter(settings.napalm_router, host_keys),
    }

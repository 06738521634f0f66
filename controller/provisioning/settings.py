"""Settings of provisioning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProvisioningSettings:
    """All times in seconds."""

    vlan_first: int = 100
    """Lowest subscriber VLAN that is allocated; those below are kept for management and video."""

    vlan_last: int = 3999
    """Highest subscriber VLAN that is allocated; 4000 and above are kept for the operator's own use."""

    lease_s: float = 180.0
    """A device is held this long without a sign of life of the holder: longer than one driver call may take."""

    lease_holder: str = ""
    """Name under which devices are held: a process that starts again under it goes on with what it held when it died.
    Only where no two processes have one name at a time; empty takes a name that nobody else has."""

    lease_wait_s: float = 30.0
    """How long a task waits for a device that another process holds, before it says "later"."""

    lease_poll_s: float = 0.2
    """How often a waiting task looks whether the device is free."""

    check_interval_s: float = 600.0
    """Each service is compared with its device this often."""

    check_tick_s: float = 10.0
    """How often it is looked which services are due."""

    check_concurrency: int = 4
    """Groups of services on the same devices that are read at the same time by the drift check."""

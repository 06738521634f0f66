"""What provisioning refuses, and why.

RuleError
├── NotFound    UnknownDevice · UnknownService
├── Conflict    DeviceNameTaken · SerialBound · VlanTaken · NoFreeVlan · StillAttached
└── BadIntent   the desired service can be on no device
TemporaryDeviceError
└── DeviceLeased   another task or process is changing the device
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError, TemporaryDeviceError


class UnknownDevice(NotFound):
    code = "unknown-device"


class UnknownService(NotFound):
    code = "unknown-service"


class DeviceNameTaken(Conflict):
    code = "device-name-taken"


class SerialBound(Conflict):
    code = "serial-bound"


class VlanTaken(Conflict):
    code = "vlan-taken"


class NoFreeVlan(Conflict):
    code = "no-free-vlan"


class StillAttached(Conflict):
    code = "still-attached"


class BadIntent(RuleError):
    code = "bad-intent"


class DeviceLeased(TemporaryDeviceError):
    pass

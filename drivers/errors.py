"""What can go wrong with a device, split by what the caller will do about it.

TemporaryDeviceError            try again later
├── DeviceUnreachable           no TCP, no SSH, or the session broke off
├── DeviceTimeout               it did not answer in time
└── DeviceBusy                  somebody else holds a lock, or a commit is pending
PermanentDeviceError            a human must look
├── DeviceRefused               it understood and will not; the message carries its words
├── HostKeyMismatch             another machine answers at this address, or its key was changed
├── LoginRefused                user name or password are wrong
└── UnsuitableDevice            it lacks a capability or an object that the service needs
"""

from __future__ import annotations

from controller.domain.errors import PermanentDeviceError, TemporaryDeviceError


class DeviceUnreachable(TemporaryDeviceError):
    pass


class DeviceTimeout(TemporaryDeviceError):
    pass


class DeviceBusy(TemporaryDeviceError):
    pass


class DeviceRefused(PermanentDeviceError):
    pass


class HostKeyMismatch(PermanentDeviceError):
    pass


class LoginRefused(PermanentDeviceError):
    pass


class UnsuitableDevice(PermanentDeviceError):
    pass

"""What can go wrong while collecting.

TemporaryDeviceError
├── DeviceSilent         no answer: unreachable, or a wrong community (which is silence, RFC 3584 §5.2.1)
└── BrokerUnavailable    the MQTT broker refuses or is gone; tried again with back-off
PermanentDeviceError
└── DeviceRefusedKeys    wrong user or keys: a human must look
PeerError
└── MalformedAnswer      understood as broken: counted, dropped, no traceback
"""

from __future__ import annotations

from controller.domain.errors import PeerError, PermanentDeviceError, TemporaryDeviceError


class DeviceSilent(TemporaryDeviceError):
    """Nothing came back in time."""


class BrokerUnavailable(TemporaryDeviceError):
    """The broker cannot be used now; the message says why."""


class DeviceRefusedKeys(PermanentDeviceError):
    """The device does not know the user, or the keys are wrong."""


class MalformedAnswer(PeerError):
    """An answer or message that does not say what it should."""

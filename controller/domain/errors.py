"""What can go wrong, split by what the caller will do about it.

    HeadendError
    ├── PeerError               the other side broke the protocol: count it, drop it, no traceback
    ├── TemporaryDeviceError    unreachable, locked, busy: try again later
    ├── PermanentDeviceError    the device understood and will not: a human must look
    └── RuleError               understood and refused by one of our own rules
        ├── NotFound            no such object
        └── Conflict            the object is in a state that forbids this

Anything else that is raised is a bug and may end its task.
"""

from __future__ import annotations


class HeadendError(Exception):
    """Base of every error that Headend raises on purpose."""


class PeerError(HeadendError):
    """The peer broke the protocol. `reason` is a short stable word used as a metric label."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TemporaryDeviceError(HeadendError):
    """The device could not be reached or was busy; the same call may succeed later."""


class PermanentDeviceError(HeadendError):
    """The device refused, or does something else than it was told; repeating will not help."""


class RuleError(HeadendError):
    """A request was understood and refused. `code` is stable; the message says what to do."""

    code = "rule"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NotFound(RuleError):
    code = "not-found"


class Conflict(RuleError):
    code = "conflict"

"""What the queue of waiting bills refuses.

RuleError
├── NotFound   UnknownException
└── FourEyes   who released a bill, or started its run, cannot be the second person too
"""

from __future__ import annotations

from controller.domain.errors import NotFound, RuleError


class UnknownException(NotFound):
    code = "unknown-exception"


class FourEyes(RuleError):
    code = "four-eyes"

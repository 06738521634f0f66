"""What billing refuses.

RuleError
├── NotFound  UnknownCharge, UnknownBillRun
└── FutureBillRun   a run cannot be of an instant that has not come
"""

from __future__ import annotations

from controller.domain.errors import NotFound, RuleError


class UnknownCharge(NotFound):
    code = "unknown-charge"


class UnknownBillRun(NotFound):
    code = "unknown-bill-run"


class FutureBillRun(RuleError):
    code = "future-bill-run"

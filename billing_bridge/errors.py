"""What billing refuses.

RuleError
├── NotFound  UnknownCharge, UnknownBillRun, UnknownSuspense, UnbilledService
├── Conflict  Decided               somebody else has decided about this usage, or it has changed
├── FutureBillRun                   a run cannot be of an instant that has not come
└── NotForThis                      this cannot be done with usage held for that reason
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class UnknownCharge(NotFound):
    code = "unknown-charge"


class UnknownBillRun(NotFound):
    code = "unknown-bill-run"


class FutureBillRun(RuleError):
    code = "future-bill-run"


class UnknownSuspense(NotFound):
    code = "unknown-suspense"


class UnbilledService(NotFound):
    code = "unbilled-service"


class Decided(Conflict):
    code = "suspense-decided"


class NotForThis(RuleError):
    code = "suspense-action"

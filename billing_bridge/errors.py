"""What billing refuses.

RuleError
├── NotFound  UnknownCharge, UnknownBillRun, UnknownHold, UnknownSuspense, UnbilledService, UnknownSource,
│             UnknownDelivery, UnknownPrepaid
├── Conflict  Retired, SourceExists; Decided              somebody else has decided about this usage, or it has changed
│             Suspended                                   the service is kept from its customer, who owes something
├── FutureBillRun                   a run cannot be of an instant that has not come
├── Ahead                           usage cannot be complete for a time that has not come
├── NotTheSamePlan                  a price is corrected by another version of the same shape
├── NotPrepaid                      a plan by which nothing can be paid in advance, or a balance of another kind
├── PaidTwice                       what is used would be taken from a balance and stand on a bill
└── NotForThis                      this cannot be done with usage held for that reason
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class UnknownCharge(NotFound):
    code = "unknown-charge"


class UnknownBillRun(NotFound):
    code = "unknown-bill-run"


class UnknownHold(NotFound):
    code = "unknown-hold"


class FutureBillRun(RuleError):
    code = "future-bill-run"


class NotTheSamePlan(RuleError):
    code = "not-the-same-plan"


class UnknownSuspense(NotFound):
    code = "unknown-suspense"


class UnbilledService(NotFound):
    code = "unbilled-service"


class Decided(Conflict):
    code = "suspense-decided"


class NotForThis(RuleError):
    code = "suspense-action"


class UnknownSource(NotFound):
    code = "unknown-source"


class UnknownDelivery(NotFound):
    code = "unknown-delivery"


class SourceExists(Conflict):
    code = "source-exists"


class Retired(Conflict):
    code = "source-retired"


class Ahead(RuleError):
    code = "usage-ahead"


class UnknownPrepaid(NotFound):
    code = "unknown-prepaid"


class PaidTwice(RuleError):
    code = "paid-twice"


class NotPrepaid(RuleError):
    code = "not-prepaid"


class Suspended(Conflict):
    code = "service-suspended"


class NoAnchor(RuleError):
    code = "no-anchor"

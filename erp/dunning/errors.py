"""What dunning refuses.

RuleError
├── NotFound  UnknownPolicy, UnknownPause, UnknownDispute, UnknownPlan, UnknownNotice
├── Conflict  PolicyKnown          a segment changes its ladder once on a day
│             AlreadyEnded         the pause, dispute or plan is over
│             NoticeSettled        the notice went out, or was withdrawn
└── PolicyRefused                  a ladder that cannot be climbed
    DisputeRefused                 more than is open, or nothing
    PlanRefused                    instalments that are not what is owed
"""

from __future__ import annotations

from controller.domain.errors import Conflict, NotFound, RuleError


class UnknownPause(NotFound):
    code = "unknown-dunning-pause"


class UnknownDispute(NotFound):
    code = "unknown-dispute"


class UnknownPlan(NotFound):
    code = "unknown-payment-plan"


class UnknownNotice(NotFound):
    code = "unknown-notice"


class PolicyKnown(Conflict):
    code = "dunning-policy-known"


class AlreadyEnded(Conflict):
    code = "already-ended"


class NoticeSettled(Conflict):
    code = "notice-settled"


class PolicyRefused(RuleError):
    code = "dunning-policy"


class DisputeRefused(RuleError):
    code = "dispute-refused"


class PlanRefused(RuleError):
    code = "payment-plan-refused"

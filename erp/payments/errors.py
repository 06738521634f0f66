"""What the payments room refuses.

RuleError
├── NotFound  NoGateway, UnknownCardPayment, UnknownRefund, UnknownBankAccount, UnknownLine, UnknownMandate,
│             UnknownCollection, UnknownTill, UnknownShift
├── Conflict  WrongState           the thing has gone on: a refund that was sent is not approved again
├── FileRefused                    a bank file that is none, or does not add up
├── SignatureRefused               a webhook that nobody who has the secret sent, or an old one
├── NotAnEvent                     a signed body that is no event
├── NeedsAnother                   four eyes: whoever asked for a refund does not approve it
└── GatewayDeclined                the gateway understood and will not
GatewayUnsure                      it did not answer: the same request may be sent again, under the same key
"""

from __future__ import annotations

from controller.domain.errors import Conflict, HeadendError, NotFound, RuleError


class NoGateway(NotFound):
    code = "no-gateway"


class UnknownCardPayment(NotFound):
    code = "unknown-card-payment"


class UnknownRefund(NotFound):
    code = "unknown-refund"


class UnknownBankAccount(NotFound):
    code = "unknown-bank-account"


class UnknownLine(NotFound):
    code = "unknown-bank-line"


class UnknownMandate(NotFound):
    code = "unknown-mandate"


class UnknownCollection(NotFound):
    code = "unknown-collection"


class UnknownTill(NotFound):
    code = "unknown-till"


class UnknownShift(NotFound):
    code = "unknown-shift"


class FileRefused(RuleError):
    code = "bank-file"


class WrongState(Conflict):
    code = "wrong-state"


class SignatureRefused(RuleError):
    code = "signature"


class NotAnEvent(RuleError):
    code = "not-an-event"


class NeedsAnother(RuleError):
    code = "needs-another"


class GatewayDeclined(RuleError):
    """`code` is the gateway's own word for why, such as insufficient_funds."""

    code = "declined"


class GatewayUnsure(HeadendError):
    """Whether the request had an effect is not known. Repeating it under its key has it once."""

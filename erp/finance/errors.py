"""What finance refuses.

RuleError
├── NotFound  UnknownInvoice, UnknownPayment, UnknownInvoiceLine
├── Conflict  PaymentMismatch      the same reference, but another amount or account
└── WrongCurrency                  money of another currency than the account's
"""

from __future__ import annotations

from controller.domain.errors import Conflict, HeadendError, NotFound, RuleError


class UnknownInvoice(NotFound):
    code = "unknown-invoice"


class UnknownInvoiceLine(NotFound):
    code = "unknown-invoice-line"


class UnknownPayment(NotFound):
    code = "unknown-payment"


class PaymentMismatch(Conflict):
    code = "payment-mismatch"


class WrongCurrency(RuleError):
    code = "wrong-currency"


class DocumentAltered(HeadendError):
    """A stored document no longer has the digest it was issued with: somebody wrote to the database."""

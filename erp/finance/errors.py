"""What finance refuses.

RuleError
├── NotFound  UnknownInvoice, UnknownPayment, UnknownInvoiceLine, UnknownEntry, UnknownContract,
│             UnknownAllocation, UnknownDeposit, UnknownAdjustment
├── Conflict  PaymentMismatch      the same reference, but another amount or account
│             ReferenceTaken       the same reference, but another credit or adjustment
│             AccountExists        the code is taken
│             Settled              a reseller was paid for that day, or it was said before whose it is
│             PeriodClosed         the books are closed up to a later day
│             AlreadyReversed      an entry is reversed once
│             RateKnown            a class of tax changes once on a day
│             ContractMismatch     the reference or subscription is another contract's
│             AlreadyTakenBack     an allocation is taken back once
│             WriteOffStands       a loss that was booked is no money that could be matched anew or sent back
├── NotByHand                      a payment that is undone where it was told of
├── NotThatMuch                    more than is open, unapplied or left
├── NeedsApproval                  an entry that one person may not post alone
├── SameEyes                       who proposed an entry does not approve it
├── OwnReseller                    an account would have a share of what it is sold itself
├── LevyLoop                       a levy would be levied on itself
├── OverCredit                     more would be taken back than the line says
├── NoSuchAccount                  the chart has no such account, or it is a heading
├── ControlAccount                 only its subledger posts there
├── EntryRefused                   what would not be an entry: no two sides, no balance
├── OtherEntity                    money of one legal entity for a customer of another
└── WrongCurrency                  money of another currency than the account's
"""

from __future__ import annotations

from controller.domain.errors import Conflict, HeadendError, NotFound, RuleError


class UnknownInvoice(NotFound):
    code = "unknown-invoice"


class UnknownInvoiceLine(NotFound):
    code = "unknown-invoice-line"


class UnknownDeposit(NotFound):
    code = "unknown-deposit"


class UnknownAdjustment(NotFound):
    code = "unknown-adjustment"


class Settled(Conflict):
    code = "settled"


class OwnReseller(RuleError):
    code = "own-reseller"


class NotOverYet(RuleError):
    code = "not-over-yet"


class UnknownPayment(NotFound):
    code = "unknown-payment"


class UnknownEntry(NotFound):
    code = "unknown-entry"


class UnknownContract(NotFound):
    code = "unknown-contract"


class RateKnown(Conflict):
    code = "tax-rate-known"


class ContractMismatch(Conflict):
    code = "contract-mismatch"


class PaymentMismatch(Conflict):
    code = "payment-mismatch"


class ReferenceTaken(Conflict):
    code = "reference-taken"


class AccountExists(Conflict):
    code = "account-exists"


class PeriodClosed(Conflict):
    code = "period-closed"


class AlreadyReversed(Conflict):
    code = "already-reversed"


class AlreadyTakenBack(Conflict):
    code = "already-taken-back"


class WriteOffStands(Conflict):
    code = "write-off-stands"


class UnknownAllocation(NotFound):
    code = "unknown-allocation"


class NotByHand(RuleError):
    code = "not-by-hand"


class NotThatMuch(RuleError):
    code = "not-that-much"


class NoSuchAccount(RuleError):
    code = "no-such-account"


class ControlAccount(RuleError):
    code = "control-account"


class EntryRefused(RuleError):
    code = "entry-refused"


class WrongCurrency(RuleError):
    code = "wrong-currency"


class OtherEntity(RuleError):
    code = "other-entity"


class NeedsApproval(RuleError):
    code = "needs-approval"


class SameEyes(RuleError):
    code = "same-eyes"


class UnknownProposal(NotFound):
    code = "unknown-proposal"


class AlreadyDecided(Conflict):
    code = "already-decided"


class LevyLoop(RuleError):
    code = "levy-loop"


class OverCredit(RuleError):
    code = "over-credit"


class LevyUnavailable(HeadendError):
    """The service that computes levies does not answer, or answers what cannot be. Nothing was issued."""


class UnknownReceipt(NotFound):
    """No receipt has this id."""


class DocumentAltered(HeadendError):
    """A stored document no longer has the digest it was issued with: somebody wrote to the database."""

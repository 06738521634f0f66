"""What bank statements, direct debits and the cash desk are asked and answer over HTTP."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.domain.money import Money
from controller.http.endpoint import PageQuery
from controller.http.models import Currency, IdText, In, Instant, MoneyIn, MoneyOut, Name, Out
from erp.finance.books_answers import EntityIn
from erp.payments.answers import Reason
from erp.payments.bank.matching import Proposal
from erp.payments.bank.repository import BankLine, KeptStatement
from erp.payments.bank.service import Position
from erp.payments.cash_rows import Receipt, Shift, Till
from erp.payments.sepa.rows import Collection, Item, Mandate

Iban = Annotated[str, StringConstraints(min_length=15, max_length=42)]
Bic = Annotated[str, StringConstraints(max_length=11)]
Request = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]


LedgerCode = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,8}$")]


class BankAccountIn(EntityIn):
    """`name` is the holder; `creditor_id` is who we are for direct debits, and may be left empty."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=70, strip_whitespace=True)]
    iban: Iban
    bic: Bic = ""
    creditor_id: Annotated[str, StringConstraints(max_length=42)] = ""
    currency: Currency = "EUR"
    ledger_code: LedgerCode | None = None


class LedgerAccountIn(In):
    """The account of the ledger that stands for a bank account alone; made where it is not there. None: the shared."""

    ledger_code: LedgerCode | None


class BankAccountOut(Out):
    """`closing` is what the bank says last, `ledger` what the books say; `unidentified` what nobody matched."""

    bank_account_id: str
    entity_id: str
    name: str
    iban: str
    bic: str
    creditor_id: str
    currency: str
    ledger_code: str
    last_on: date | None
    closing: MoneyOut
    ledger: MoneyOut
    unidentified: MoneyOut
    open_lines: int

    @classmethod
    def of(cls, found: Position) -> BankAccountOut:
        account = found.account
        return cls(
            bank_account_id=account.bank_account_id,
            entity_id=account.entity_id,
            name=account.name,
            iban=account.iban,
            bic=account.bic,
            creditor_id=account.creditor_id,
            currency=account.currency,
            ledger_code=found.ledger_code,
            last_on=found.last_on,
            closing=MoneyOut.of(found.closing),
            ledger=MoneyOut.of(found.ledger),
            unidentified=MoneyOut.of(found.unidentified),
            open_lines=found.open_lines,
        )


class BankAccountsOut(Out):
    accounts: list[BankAccountOut]


class StatementOut(Out):
    """`note` says what is odd about it, such as a gap to the one before."""

    statement_id: str
    bank_account_id: str
    ident: str
    first_on: date
    last_on: date
    opening: MoneyOut
    closing: MoneyOut
    note: str
    lines: int
    open_lines: int

    @classmethod
    def of(cls, found: KeptStatement) -> StatementOut:
        money = {"opening": MoneyOut.of(found.opening), "closing": MoneyOut.of(found.closing)}
        return cls(**money, **{n: getattr(found, n) for n in cls.model_fields if n not in money})


class StatementsOut(Out):
    statements: list[StatementOut]


class LineOut(Out):
    """A movement; positive came in. `age_days` is how long an open one waits."""

    line_id: str
    bank_account_id: str
    statement_id: str
    booked_on: date
    value_on: date
    amount: MoneyOut
    kind: str
    party: str
    party_iban: str
    remittance: str
    reference: str
    end_to_end: str
    code: str
    return_reason: str
    state: str
    matched: str
    subject: str
    age_days: int

    @classmethod
    def of(cls, line: BankLine, now: datetime) -> LineOut:
        age = (now.date() - line.booked_on).days if line.state == "open" else 0
        own = {"amount": MoneyOut.of(line.amount), "age_days": max(0, age)}
        return cls(**own, **{n: getattr(line, n) for n in cls.model_fields if n not in own})


class ProposalOut(Out):
    """What a line may be; `score` from 0 to 100."""

    account_id: str
    name: str
    invoice_id: str | None
    number: str
    left: MoneyOut | None
    why: str
    score: int

    @classmethod
    def of(cls, found: Proposal) -> ProposalOut:
        left = None if found.left is None else MoneyOut.of(found.left)
        return cls(left=left, **{n: getattr(found, n) for n in cls.model_fields if n != "left"})


class LineDetailOut(LineOut):
    proposals: list[ProposalOut]


class LineQuery(PageQuery):
    state: Literal["open", "matched"] | None = None
    statement_id: IdText | None = None


class PartIn(In):
    invoice_id: IdText
    amount: MoneyIn


class MatchIn(In):
    """`invoices` says what is settled, the rest stays unapplied; without it the oldest open ones are."""

    account_id: IdText
    invoices: Annotated[list[PartIn], Field(max_length=200)] | None = None


class BookIn(In):
    code: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,8}$")]
    reason: Reason


class MandateIn(In):
    account_id: IdText
    reference: Annotated[str, StringConstraints(min_length=1, max_length=35)]
    scheme: Literal["CORE", "B2B"] = "CORE"
    recurrent: bool = True
    signed_on: date
    iban: Iban
    bic: Bic = ""
    debtor: Annotated[str, StringConstraints(min_length=1, max_length=70, strip_whitespace=True)]


class MandateOut(Out):
    mandate_id: str
    account_id: str
    reference: str
    scheme: str
    recurrent: bool
    signed_on: date
    iban: str
    bic: str
    debtor: str
    state: str
    collected: int
    last_on: date | None

    @classmethod
    def of(cls, made: Mandate) -> MandateOut:
        return cls(**{name: getattr(made, name) for name in cls.model_fields})


class EndMandateIn(In):
    """At once, or with `after_last_collection` by the next file, whose last debit by it says so (FNAL)."""

    reason: Reason
    after_last_collection: bool = False


class MandateQuery(PageQuery):
    account_id: IdText | None = None


class CollectIn(In):
    bank_account_id: IdText
    collect_on: date
    form: Literal["pain.008.001.08", "pain.008.001.02"] = "pain.008.001.08"


class CollectionOut(Out):
    """A direct debit file; `state` is made, sent or dropped."""

    collection_id: str
    bank_account_id: str
    message_id: str
    form: str
    collect_on: date
    items: int
    total: MoneyOut
    state: str
    made_at: Instant
    sent_at: Instant | None

    @classmethod
    def of(cls, made: Collection) -> CollectionOut:
        return cls(total=MoneyOut.of(made.total), **{n: getattr(made, n) for n in cls.model_fields if n != "total"})


class ItemOut(Out):
    """`state` is waiting, paid, rejected, returned or dropped; `reason` the bank's code."""

    item_id: str
    mandate_id: str
    sequence: str
    invoice_id: str
    account_id: str
    amount: MoneyOut
    state: str
    payment_id: str | None
    reason: str

    @classmethod
    def of(cls, item: Item, currency: str) -> ItemOut:
        amount = MoneyOut.of(Money(item.amount_minor, currency))
        return cls(amount=amount, **{n: getattr(item, n) for n in cls.model_fields if n != "amount"})


class CollectionDetailOut(CollectionOut):
    entries: list[ItemOut]


class ReportOut(Out):
    """How many items are rejected by it that were not before."""

    rejected: int


class TransferIn(In):
    bank_account_id: IdText
    execute_on: date


class TransferOut(Out):
    """`refused` are ids of approved refunds that are not in the file, because their money is gone."""

    file_id: str
    refused: list[str]


class TillIn(EntityIn):
    """The name stands in the numbers of its receipts; its currency is that of the legal entity."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,8}$")]


class TillOut(Out):
    """`holds` is what should be in it; `shift_id` the open shift."""

    till_id: str
    entity_id: str
    name: str
    holds: MoneyOut
    shift_id: str | None

    @classmethod
    def of(cls, found: Till) -> TillOut:
        return cls(
            till_id=found.till_id,
            entity_id=found.entity_id,
            name=found.name,
            holds=MoneyOut.of(found.holds),
            shift_id=found.shift_id,
        )


class TillsOut(Out):
    tills: list[TillOut]


class CountIn(In):
    counted: MoneyIn
    reason: Annotated[str, StringConstraints(max_length=300)] = ""


class ShiftOut(Out):
    shift_id: str
    till_id: str
    opened_at: Instant
    opened_by: str
    opening: MoneyOut
    closed_at: Instant | None
    closed_by: str | None
    expected: MoneyOut | None
    counted: MoneyOut | None
    difference: MoneyOut | None
    reason: str

    @classmethod
    def of(cls, found: Shift) -> ShiftOut:
        sums = ("opening", "expected", "counted", "difference")
        plain = {name: getattr(found, name) for name in cls.model_fields if name not in sums}
        money = {name: _money(getattr(found, name)) for name in sums}
        return cls(**plain, **money)


class ReceiptOut(Out):
    receipt_id: str
    till_id: str
    shift_id: str
    number: str
    kind: str
    amount: MoneyOut
    account_id: str | None
    payment_id: str | None
    refund_id: str | None
    note: str
    at: Instant
    actor: str

    @classmethod
    def of(cls, made: Receipt) -> ReceiptOut:
        return cls(amount=MoneyOut.of(made.amount), **{n: getattr(made, n) for n in cls.model_fields if n != "amount"})


class ShiftDetailOut(ShiftOut):
    receipts: list[ReceiptOut]


class CashPaymentIn(In):
    """The same `request` again is the same receipt."""

    account_id: IdText
    amount: MoneyIn
    request: Request
    invoices: Annotated[list[PartIn], Field(max_length=200)] | None = None


class PayOutIn(In):
    refund_id: IdText


class TransferCashIn(In):
    """Positive is from the bank into the till, negative to the bank."""

    amount: MoneyIn
    request: Request
    note: Name


def _money(amount: Money | None) -> MoneyOut | None:
    return None if amount is None else MoneyOut.of(amount)

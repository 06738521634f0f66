"""What the books are asked and answer over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import EntityId
from controller.domain.money import Money
from controller.http.endpoint import PageQuery
from controller.http.models import Currency, IdText, In, Instant, MoneyIn, MoneyOut, Out, ShortText
from erp.finance.chart import Account, Chart
from erp.finance.journal import AccountBalance, BookedPosting, Entry, PeriodChange, Posting
from erp.finance.ledger import Span
from erp.finance.receivables import Aged, OpenItem
from erp.finance.statements import BalanceSheet, IncomeStatement, Section

Code = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][0-9A-Za-z.-]{0,7}$")]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2199, 12, 31))]
Month = Annotated[str, StringConstraints(pattern=r"^(19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-(0[1-9]|1[0-2])$")]
"""2026-11."""
_ONE_DAY = timedelta(days=1)


class EntityQuery(BaseModel):
    """Whose books; the first legal entity's where it is not said."""

    entity_id: IdText | None = None

    model_config = ConfigDict(extra="forbid")

    @property
    def entity(self) -> EntityId | None:
        return EntityId(self.entity_id) if self.entity_id else None


class SpanQuery(EntityQuery):
    """Booked on `since` or later, and on `as_of` or earlier."""

    since: Day | None = None
    as_of: Day | None = None
    currency: Currency | None = None

    def span(self, entity_id: EntityId | None = None) -> Span:
        until = None if self.as_of is None else self.as_of + _ONE_DAY
        return Span(entity_id or self.entity, self.since, until, self.currency)


class EntriesQuery(PageQuery, SpanQuery):
    pass


class AsOfQuery(EntityQuery):
    """At the end of the day `as_of`, by default today."""

    as_of: Day | None = None


class AgeingQuery(PageQuery, AsOfQuery):
    pass


class IncomeQuery(EntityQuery):
    """The days from `since` to `as_of`, both counted; by default this year until today."""

    since: Day | None = None
    as_of: Day | None = None

    def days(self, today: date) -> tuple[date, date]:
        last = self.as_of or today
        first = self.since or last.replace(month=1, day=1)
        if first > last:
            raise RuleError(f"{first} is after {last}", code="span")
        return first, last


class ExportQuery(SpanQuery):
    format: Literal["beancount", "ledger", "csv"] = "beancount"


class AccountIn(In):
    """A new account. `parent` is the code of a heading of the same kind."""

    code: Code
    name: Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
    kind: Literal["asset", "liability", "equity", "revenue", "expense"]
    parent: Code | None = None


class AccountOut(Out):
    """`heading` accounts are added up, not posted to; `control` ones only their subledger posts to."""

    code: str
    name: str
    kind: str
    parent: str | None
    role: str | None
    control: str | None
    heading: bool

    @classmethod
    def of(cls, account: Account, chart: Chart) -> AccountOut:
        return cls(
            code=account.code,
            name=account.name,
            kind=account.kind,
            parent=account.parent,
            role=account.role,
            control=account.control,
            heading=account.code in chart.headings,
        )


class ChartOut(Out):
    accounts: list[AccountOut]


class PostingIn(In):
    """A positive amount is a debit, a negative one a credit."""

    code: Code
    amount: MoneyIn

    def posting(self) -> Posting:
        return Posting(self.code, self.amount.money())


class EntryIn(In):
    """An entry by hand. The same reference and content again is the same entry."""

    reference: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    booked_on: Day | None = None
    postings: Annotated[list[PostingIn], Field(min_length=2, max_length=200)]
    entity_id: IdText | None = None


class ReversalIn(In):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    booked_on: Day | None = None


class PostingOut(Out):
    """A positive amount is a debit, a negative one a credit."""

    code: str
    name: str
    amount: MoneyOut


class EntryOut(Out):
    """`source` is the document as "kind:id"; `regards_on` a day of the period it is about, if that is another."""

    entry_id: str
    entity_id: str
    posted_at: Instant
    booked_on: date
    regards_on: date | None
    description: str
    source: str
    postings: list[PostingOut]

    @classmethod
    def of(cls, entry: Entry) -> EntryOut:
        return cls(
            entry_id=entry.entry_id,
            entity_id=entry.entity_id,
            posted_at=entry.posted_at,
            booked_on=entry.booked_on,
            regards_on=entry.regards_on,
            description=entry.description,
            source=entry.source,
            postings=[PostingOut(code=p.code, name=p.name, amount=MoneyOut.of(p.amount)) for p in entry.postings],
        )


class BookedPostingOut(Out):
    """A posting in the list of its account."""

    entry_id: str
    line: int
    booked_on: date
    regards_on: date | None
    description: str
    source: str
    amount: MoneyOut

    @classmethod
    def of(cls, found: BookedPosting) -> BookedPostingOut:
        return cls(
            entry_id=found.entry_id,
            line=found.line,
            booked_on=found.booked_on,
            regards_on=found.regards_on,
            description=found.description,
            source=found.source,
            amount=MoneyOut.of(found.amount),
        )


class AccountBalanceOut(Out):
    entity_id: str
    code: str
    name: str
    kind: str
    debit: MoneyOut
    credit: MoneyOut
    balance: MoneyOut

    @classmethod
    def of(cls, found: AccountBalance) -> AccountBalanceOut:
        return cls(
            entity_id=found.entity_id,
            code=found.code,
            name=found.name,
            kind=found.kind,
            debit=MoneyOut.of(found.debit),
            credit=MoneyOut.of(found.credit),
            balance=MoneyOut.of(found.balance),
        )


class TrialBalanceOut(Out):
    """`totals` are the sums of all balances per currency: zero, or the books are broken."""

    accounts: list[AccountBalanceOut]
    totals: list[MoneyOut]

    @classmethod
    def of(cls, found: Sequence[AccountBalance]) -> TrialBalanceOut:
        totals: dict[str, Money] = {}
        for account in found:
            currency = account.balance.currency
            totals[currency] = totals.get(currency, Money.zero(currency)) + account.balance
        return cls(
            accounts=[AccountBalanceOut.of(account) for account in found],
            totals=[MoneyOut.of(m) for m in totals.values()],
        )


class StatementRowOut(Out):
    """`depth` is how many headings stand above."""

    code: str
    name: str
    depth: int
    heading: bool
    amount: MoneyOut


class SectionOut(Out):
    kind: str
    rows: list[StatementRowOut]
    total: MoneyOut

    @classmethod
    def of(cls, found: Section) -> SectionOut:
        rows = [
            StatementRowOut(code=r.code, name=r.name, depth=r.depth, heading=r.heading, amount=MoneyOut.of(r.amount))
            for r in found.rows
        ]
        return cls(kind=found.kind, rows=rows, total=MoneyOut.of(found.total))


class IncomeOut(Out):
    """Profit and loss in one currency."""

    currency: str
    revenue: SectionOut
    expense: SectionOut
    result: MoneyOut

    @classmethod
    def of(cls, found: IncomeStatement) -> IncomeOut:
        return cls(
            currency=found.currency,
            revenue=SectionOut.of(found.revenue),
            expense=SectionOut.of(found.expense),
            result=MoneyOut.of(found.result),
        )


class IncomeStatementsOut(Out):
    since: date
    as_of: date
    statements: list[IncomeOut]


class BalanceSheetOut(Out):
    """One currency. The results of earlier years and of this one stand beside equity; `difference` is zero."""

    currency: str
    assets: SectionOut
    liabilities: SectionOut
    equity: SectionOut
    earlier_results: MoneyOut
    result_of_the_year: MoneyOut
    difference: MoneyOut

    @classmethod
    def of(cls, found: BalanceSheet) -> BalanceSheetOut:
        return cls(
            currency=found.currency,
            assets=SectionOut.of(found.assets),
            liabilities=SectionOut.of(found.liabilities),
            equity=SectionOut.of(found.equity),
            earlier_results=MoneyOut.of(found.earlier),
            result_of_the_year=MoneyOut.of(found.current),
            difference=MoneyOut.of(found.difference),
        )


class BalanceSheetsOut(Out):
    as_of: date
    statements: list[BalanceSheetOut]


class AgedOut(Out):
    """What an account owes by the days since it was due, and its credits that settle nothing yet (negative)."""

    account_id: str
    not_due: MoneyOut
    days_1_30: MoneyOut
    days_31_60: MoneyOut
    days_61_90: MoneyOut
    days_over_90: MoneyOut
    unapplied: MoneyOut
    total: MoneyOut

    @classmethod
    def of(cls, found: Aged) -> AgedOut:
        not_due, first, second, third, more = (MoneyOut.of(m) for m in found.buckets)
        return cls(
            account_id=found.account_id,
            not_due=not_due,
            days_1_30=first,
            days_31_60=second,
            days_61_90=third,
            days_over_90=more,
            unapplied=MoneyOut.of(found.unapplied),
            total=MoneyOut.of(found.total),
        )


class AgedTotalOut(AgedOut):
    """`ledger` is the balance of the receivables account: `total`, or the subledger is broken."""

    ledger: MoneyOut


class AgedTotalsOut(Out):
    as_of: date
    totals: list[AgedTotalOut]


class OpenItemOut(Out):
    """An invoice, a credit note or a payment. Credits are negative."""

    kind: str
    item_id: str
    number: str
    on: date
    due_on: date | None
    days_over: int
    amount: MoneyOut
    open: MoneyOut

    @classmethod
    def of(cls, found: OpenItem, as_of: date) -> OpenItemOut:
        return cls(
            kind=found.kind,
            item_id=found.item_id,
            number=found.number,
            on=found.on,
            due_on=found.due_on,
            days_over=found.days_over(as_of),
            amount=MoneyOut.of(found.amount),
            open=MoneyOut.of(found.open),
        )


class OpenItemsOut(Out):
    as_of: date
    items: list[OpenItemOut]


class PeriodIn(In):
    entity_id: IdText | None = None
    reason: ShortText = ""


class ReopenIn(In):
    entity_id: IdText | None = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class PeriodChangeOut(Out):
    closed_until: date
    at: Instant
    actor: str
    reason: str

    @classmethod
    def of(cls, found: PeriodChange) -> PeriodChangeOut:
        return cls(closed_until=found.closed_until, at=found.at, actor=found.actor, reason=found.reason)


class PeriodsOut(Out):
    """Nothing is booked before `closed_until`; null while nothing was closed."""

    closed_until: date | None
    changes: list[PeriodChangeOut]


def month_of(text: str) -> tuple[date, date]:
    """[first day, first day of the next month) of "2026-11"."""
    first = date(int(text[:4]), int(text[5:]), 1)
    return first, (first + timedelta(days=32)).replace(day=1)

"""What the books are asked over HTTP, and accounts, entries and periods as they answer. Statements are beside."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.domain.errors import RuleError
from controller.domain.identity import EntityId
from controller.http.endpoint import PageQuery
from controller.http.models import Currency, IdText, In, Instant, MoneyIn, MoneyOut, Out, ShortText
from erp.finance.chart import Account, Chart
from erp.finance.journal import BookedPosting, Entry, PeriodChange, Posting
from erp.finance.ledger import Span

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


class EntityIn(In):
    """The same, said in a body."""

    entity_id: IdText | None = None

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


class EntryIn(EntityIn):
    """An entry by hand. The same reference and content again is the same entry."""

    reference: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    description: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    booked_on: Day | None = None
    postings: Annotated[list[PostingIn], Field(min_length=2, max_length=200)]


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


class PeriodIn(EntityIn):
    reason: ShortText = ""


class ReopenIn(EntityIn):
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

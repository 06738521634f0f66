"""The books of a legal entity: its accounts, entries made by hand, closed periods, statements and ageing.

Documents post themselves (`service`, `revenue`); here is what an accountant does, and what everybody may read. Nothing
is read from anywhere but the postings, nothing is ever changed, and every change of the books is audited.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, local_date
from controller.domain.identity import EntityId, new_id
from controller.store import audit
from controller.store.engine import Database
from erp.crm.model import Entity
from erp.crm.service import CrmService
from erp.finance import ledger, receivables, statements
from erp.finance.chart import KINDS, RECEIVABLES, Account, Chart
from erp.finance.errors import (
    AccountExists,
    AlreadyReversed,
    ControlAccount,
    EntryRefused,
    NeedsApproval,
    NoSuchAccount,
    PeriodClosed,
    UnknownEntry,
)
from erp.finance.journal import AccountBalance, BookedPosting, Entry, PeriodChange, Posting
from erp.finance.ledger import EVERYTHING, Span
from erp.finance.receivables import Aged, OpenItem
from erp.finance.revenue import recognise
from erp.finance.statements import BalanceSheet, CashFlow, IncomeStatement

_DAY = timedelta(days=1)
FOUR_EYES_ABOVE = Decimal(10_000)
"""Major units of any currency: what one person may post alone, by hand."""


class BooksService:
    """`entity_id` is everywhere the legal entity whose books are meant; None means the first."""

    def __init__(
        self, database: Database, clock: Clock, crm: CrmService, *, four_eyes_above: Decimal = FOUR_EYES_ABOVE
    ) -> None:
        self._database = database
        self._clock = clock
        self._crm = crm
        self._four_eyes_above = four_eyes_above

    def is_above_limit(self, postings: Sequence[Posting]) -> bool:
        """Whether the debits of an entry by hand need a second person, in any of its currencies."""
        debits: dict[str, Decimal] = {}
        for posting in postings:
            currency = posting.amount.currency
            debits[currency] = debits.get(currency, Decimal(0)) + max(posting.amount.amount, Decimal(0))
        return any(sum_ > self._four_eyes_above for sum_ in debits.values())

    async def require_valid(
        self, postings: Sequence[Posting], booked_on: date | None, entity_id: EntityId | None = None
    ) -> None:
        """Refuse what `post` would refuse, as things stand. Raises what it does, but NeedsApproval."""
        entity = await self.entity(entity_id)
        _require_balance(postings)
        async with self._database.read() as conn:
            chart = await ledger.chart(conn, entity.entity_id)
            for posting in postings:
                _require_postable(chart, posting.code)
            await _require_open(conn, entity.entity_id, booked_on or await self.today(entity.entity_id))

    @property
    def database(self) -> Database:
        """For what is read piece by piece."""
        return self._database

    async def entity(self, entity_id: EntityId | None = None) -> Entity:
        """Raises NoEntity."""
        return await self._crm.entity(entity_id)

    async def today(self, entity_id: EntityId | None = None) -> date:
        """The day in the entity's zone."""
        return local_date(self._clock.now(), (await self.entity(entity_id)).zone_info)

    # Accounts

    async def chart(self, entity_id: EntityId | None = None) -> Chart:
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            return await ledger.chart(conn, entity.entity_id)

    async def add_account(self, made: Account, *, actor: str, entity_id: EntityId | None = None) -> Account:
        """Raises AccountExists, NoSuchAccount for its heading, EntryRefused for a kind that its heading is not."""
        entity = await self.entity(entity_id)
        now = self._clock.now()
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            chart = await ledger.ensure_chart(conn, entity.entity_id)
            if made.code in chart.accounts:
                raise AccountExists(f"account {made.code} is there already: {chart.account(made.code).name}")
            await self._require_place(conn, entity.entity_id, chart, made)
            await ledger.add_account(conn, entity.entity_id, made)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="ledger-account.add",
                subject=f"ledger-account:{entity.entity_id}/{made.code}",
                after={"name": made.name, "kind": made.kind, "parent": made.parent},
            )
        return made

    async def _require_place(self, conn: AsyncConnection, entity_id: EntityId, chart: Chart, made: Account) -> None:
        """Below a heading of its kind, and not below an account that was posted to."""
        if made.kind not in KINDS:
            raise EntryRefused(f"an account is one of {', '.join(KINDS)}")
        if made.parent is None:
            return
        above = chart.account(made.parent)
        if above.kind != made.kind:
            raise EntryRefused(f"{above.code} {above.name} is an account of kind {above.kind}")
        if above.code not in chart.headings and (
            above.role or await ledger.postings(conn, above.code, Span(entity_id), None, 1)
        ):
            raise EntryRefused(f"{above.code} {above.name} is posted to: it cannot become a heading")

    # Entries

    async def entries(
        self,
        span: Span = EVERYTHING,
        *,
        after: tuple[int, str] | None = None,
        limit: int,
    ) -> list[Entry]:
        """Newest first."""
        async with self._database.read() as conn:
            return await ledger.entries(conn, after, limit, span)

    async def entry(self, entry_id: str) -> Entry:
        """Raises UnknownEntry."""
        async with self._database.read() as conn:
            return await _entry(conn, entry_id)

    async def postings(
        self, code: str, span: Span, *, after: tuple[int, str, int] | None = None, limit: int
    ) -> list[BookedPosting]:
        """Of one account, the last booked first."""
        async with self._database.read() as conn:
            return await ledger.postings(conn, code, span, after, limit)

    async def post(
        self,
        *,
        reference: str,
        description: str,
        postings: Sequence[Posting],
        booked_on: date | None,
        actor: str,
        entity_id: EntityId | None = None,
        approved: bool = False,
    ) -> Entry:
        """An entry by hand; the same reference and content again is the same entry.

        Above the limit it needs a second person (`approved`: see proposals). Raises EntryRefused, NoSuchAccount,
        ControlAccount, PeriodClosed, NeedsApproval.
        """
        entity = await self.entity(entity_id)
        now, source = self._clock.now(), f"manual:{reference}"
        today = local_date(now, entity.zone_info)
        day = booked_on or today
        if day > today:
            raise EntryRefused(f"{day} has not come yet: an entry is booked today ({today}) or earlier")
        _require_balance(postings)
        if not approved and self.is_above_limit(postings):
            raise NeedsApproval(f"above {self._four_eyes_above} of any currency an entry is proposed, and approved")
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            chart = await ledger.ensure_chart(conn, entity.entity_id)
            for posting in postings:
                _require_postable(chart, posting.code)
            known = await ledger.find_entry(conn, source=source)
            if known is not None:
                return _same(known, entity.entity_id, description, postings, booked_on)
            await _require_open(conn, entity.entity_id, day)
            made = Entry(new_id(now), entity.entity_id, now, day, description, source, tuple(postings))
            await ledger.post(conn, [made])
            await _audit(conn, made, "journal-entry.post", actor)
            return await _entry(conn, made.entry_id)

    async def reverse(
        self, entry_id: str, *, reason: str, booked_on: date | None, actor: str, approved: bool = False
    ) -> Entry:
        """The opposite of an entry that was made by hand; once. Documents are reversed by documents.

        Above the limit it needs a second person (`approved`: see proposals). Raises UnknownEntry, EntryRefused,
        AlreadyReversed, PeriodClosed, NeedsApproval.
        """
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            made = await self._reversal(conn, entry_id, booked_on)
            if not approved and self.is_above_limit(made.postings):
                raise NeedsApproval(
                    f"above {self._four_eyes_above} of any currency a reversal is proposed "
                    "(POST /entry-proposals/reversals), and approved by somebody else"
                )
            await ledger.post(conn, [made])
            await _audit(conn, made, "journal-entry.reverse", actor, reason)
            return await _entry(conn, made.entry_id)

    async def reversal(self, entry_id: str, booked_on: date | None) -> Entry:
        """What `reverse` would post, as things stand. Raises what it does, but NeedsApproval."""
        async with self._database.read() as conn:
            return await self._reversal(conn, entry_id, booked_on)

    async def reversed_by(self, entry_id: str) -> Entry | None:
        """The entry that took this one back."""
        async with self._database.read() as conn:
            return await ledger.find_entry(conn, source=reversal_source(entry_id))

    async def _reversal(self, conn: AsyncConnection, entry_id: str, booked_on: date | None) -> Entry:
        now = self._clock.now()
        found = await _entry(conn, entry_id)
        if not found.source.startswith("manual:"):
            raise EntryRefused(f"{found.source} posts itself: a credit note, or its like, corrects it")
        source = reversal_source(entry_id)
        if await ledger.find_entry(conn, source=source) is not None:
            raise AlreadyReversed(f"entry {entry_id} has been reversed")
        entity = await self._crm.entity(found.entity_id)
        day = booked_on or local_date(now, entity.zone_info)
        if not found.booked_on <= day <= local_date(now, entity.zone_info):
            raise EntryRefused("a reversal is booked between the day of its entry and today")
        await _require_open(conn, found.entity_id, day)
        return Entry(
            new_id(now),
            found.entity_id,
            now,
            day,
            f"Reversal: {found.description}"[:200],
            source,
            tuple(Posting(p.code, -p.amount) for p in found.postings),
            found.booked_on,
        )

    # Periods

    async def closed_until(self, entity_id: EntityId | None = None) -> date | None:
        """Nothing is booked before this day."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            return await ledger.closed_until(conn, entity.entity_id)

    async def period_changes(self, entity_id: EntityId | None = None, *, limit: int = 100) -> list[PeriodChange]:
        """Closings and reopenings, newest first."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            return await ledger.period_changes(conn, entity.entity_id, limit)

    async def close(self, until: date, *, actor: str, reason: str = "", entity_id: EntityId | None = None) -> None:
        """Refuse from now on whatever is booked before `until`, a first of a month; what is due until then is posted.

        Raises PeriodClosed, EntryRefused.
        """
        entity = await self.entity(entity_id)
        now = self._clock.now()
        if until > local_date(now, entity.zone_info):
            raise EntryRefused("a period is closed when it is over")
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            closed = await ledger.closed_until(conn, entity.entity_id)
            if closed is not None and closed >= until:
                raise PeriodClosed(f"the books are closed until {closed} already")
            await recognise(conn, entity.entity_id, until - _DAY, at=now, actor=actor)
            await self._change_period(conn, entity.entity_id, closed, until, "close", reason, actor)

    async def reopen(self, since: date, *, actor: str, reason: str, entity_id: EntityId | None = None) -> None:
        """Allow again what is booked on or after `since`. Raises EntryRefused where that is allowed already."""
        entity = await self.entity(entity_id)
        async with self._database.begin() as conn:
            await ledger.lock_books(conn)
            closed = await ledger.closed_until(conn, entity.entity_id)
            if closed is None or closed <= since:
                raise EntryRefused(f"nothing since {since} is closed")
            await self._change_period(conn, entity.entity_id, closed, since, "reopen", reason, actor)

    async def _change_period(
        self,
        conn: AsyncConnection,
        entity_id: EntityId,
        before: date | None,
        until: date,
        verb: str,
        reason: str,
        actor: str,
    ) -> None:
        now = self._clock.now()
        await ledger.change_period(conn, entity_id, until, at=now, actor=actor, reason=reason or verb)
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=f"period.{verb}",
            subject=f"books:{entity_id}",
            before={"closed_until": before},
            after={"closed_until": until},
            reason=reason or None,
        )

    # Statements

    async def trial_balance(self, span: Span = EVERYTHING) -> list[AccountBalance]:
        """Debits, credits and balance of every account that was posted to."""
        async with self._database.read() as conn:
            return await ledger.balances(conn, span)

    async def income(self, since: date, last: date, entity_id: EntityId | None = None) -> list[IncomeStatement]:
        """Of what was booked from one day to another, both counted, by currency."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            chart = await ledger.chart(conn, entity.entity_id)
            posted = await ledger.balances(conn, Span(entity.entity_id, since, last + _DAY))
        return statements.income_statements(chart, posted)

    async def balance_sheet(self, as_of: date, entity_id: EntityId | None = None) -> list[BalanceSheet]:
        """At the end of a day, by currency."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            chart = await ledger.chart(conn, entity.entity_id)
            earlier = await ledger.balances(conn, Span(entity.entity_id, until=as_of.replace(month=1, day=1)))
            posted = await ledger.balances(conn, Span(entity.entity_id, until=as_of + _DAY))
        return statements.balance_sheets(chart, earlier, posted)

    async def cash_flow(self, since: date, last: date, entity_id: EntityId | None = None) -> list[CashFlow]:
        """What came into bank and cash and what went, from one day to another, both counted, by currency."""
        entity = await self.entity(entity_id)
        span = Span(entity.entity_id, since, last + _DAY)
        async with self._database.read() as conn:
            chart = await ledger.chart(conn, entity.entity_id)
            cash = chart.money()
            before = await ledger.balances(conn, Span(entity.entity_id, until=since))
            after = await ledger.balances(conn, Span(entity.entity_id, until=last + _DAY))
            others = await ledger.other_sides(conn, cash, span)
        return statements.cash_flows(chart, cash, before, after, others)

    # Receivables

    async def ageing(
        self,
        as_of: date,
        *,
        after: tuple[str, str] | None = None,
        limit: int,
        entity_id: EntityId | None = None,
    ) -> list[Aged]:
        """What each account owes at the end of a day, by age."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            return await receivables.ageing(conn, entity.entity_id, as_of, after, limit)

    async def aged_totals(self, as_of: date, entity_id: EntityId | None = None) -> list[tuple[Aged, AccountBalance]]:
        """What everybody owes, by currency, and beside it what the receivables account amounts to: the same."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            chart = await ledger.chart(conn, entity.entity_id)
            account = chart.account(chart.code(RECEIVABLES))
            aged = {a.currency: a for a in await receivables.totals(conn, entity.entity_id, as_of)}
            posted = {
                b.balance.currency: b
                for b in await ledger.balances(conn, Span(entity.entity_id, until=as_of + _DAY))
                if b.code == account.code
            }
        return [
            (
                aged.get(currency) or receivables.nothing(currency),
                posted.get(currency) or AccountBalance.zero(entity.entity_id, account, currency),
            )
            for currency in sorted({*aged, *posted})
        ]

    async def open_items(self, account_id: str, as_of: date, entity_id: EntityId | None = None) -> Sequence[OpenItem]:
        """What an account's ageing is made of."""
        entity = await self.entity(entity_id)
        async with self._database.read() as conn:
            return await receivables.open_items(conn, entity.entity_id, as_of, account_id)


def reversal_source(entry_id: str) -> str:
    """The source of the entry that takes another back: there is one at most."""
    return f"reversal:{entry_id}"


async def _entry(conn: AsyncConnection, entry_id: str) -> Entry:
    found = await ledger.find_entry(conn, entry_id=entry_id)
    if found is None:
        raise UnknownEntry(f"no journal entry {entry_id}")
    return found


def _require_balance(postings: Sequence[Posting]) -> None:
    if len(postings) < 2 or not all(p.amount for p in postings):
        raise EntryRefused("an entry has two postings or more, none of them of nothing")
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.amount.currency] = sums.get(posting.amount.currency, 0) + posting.amount.minor
    off = [f"{minor} minor units of {currency}" for currency, minor in sorted(sums.items()) if minor]
    if off:
        raise EntryRefused(f"debits and credits differ by {', '.join(off)}")


def _require_postable(chart: Chart, code: str) -> None:
    account = chart.account(code)
    if code in chart.headings:
        raise NoSuchAccount(f"{code} {account.name} is a heading: post to an account below it")
    if account.control is not None:
        raise ControlAccount(f"{code} {account.name} is the sum of {account.control}: only their documents post there")


async def _require_open(conn: AsyncConnection, entity_id: EntityId, day: date) -> None:
    closed = await ledger.closed_until(conn, entity_id)
    if closed is not None and day < closed:
        raise PeriodClosed(f"the books are closed until {closed}: book on that day or later, or reopen the period")


def _same(
    known: Entry, entity_id: EntityId, description: str, postings: Sequence[Posting], booked_on: date | None
) -> Entry:
    told = [(p.code, p.amount) for p in postings]
    as_before = known.entity_id == entity_id and known.description == description
    if as_before and [(p.code, p.amount) for p in known.postings] == told and booked_on in (None, known.booked_on):
        return known
    raise EntryRefused(f"{known.source} is an entry that says something else", code="reference-taken")


async def _audit(conn: AsyncConnection, made: Entry, action: str, actor: str, reason: str | None = None) -> None:
    await audit.record(
        conn,
        now=made.posted_at,
        actor=actor,
        action=action,
        subject=f"journal-entry:{made.entry_id}",
        after={
            "booked_on": made.booked_on,
            "description": made.description,
            "postings": [f"{p.code} {p.amount}" for p in made.postings],
        },
        reason=reason,
    )

"""Rows of the ledger: charts of accounts, journal entries, postings, closed periods, and what accounts amount to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Row, Select, case, func, insert, literal, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from controller.domain.money import Money
from controller.store.many import insert_all
from erp.finance.chart import Account, Chart, default_accounts
from erp.finance.journal import AccountBalance, BookedPosting, Entry, PeriodChange, Posting
from erp.finance.journal_tables import account, journal_entry, period_change, posting

_BOOKS_LOCK = 0x4845_4144_0010


@dataclass(frozen=True, slots=True)
class Span:
    """Which postings: of an entity (None: of all), booked on [since, until), in one currency or in any."""

    entity_id: EntityId | None = None
    since: date | None = None
    until: date | None = None
    currency: str | None = None


EVERYTHING = Span()


async def lock_books(conn: AsyncConnection) -> None:
    """One writer of the books at a time: whoever matches credits with invoices sees what the others matched."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BOOKS_LOCK})


async def share_books(conn: AsyncConnection) -> None:
    """For who issues documents of accounts that he has locked: with others who do the same, and with nobody else."""
    if conn.dialect.name == "postgresql":
        await conn.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": _BOOKS_LOCK})


async def ensure_chart(conn: AsyncConnection, entity_id: EntityId) -> Chart:
    """The chart of an entity; it begins with the default accounts, and gets those that a new version adds."""
    found = await _accounts(conn, entity_id)
    lacking = [a for a in default_accounts() if a.code not in found.accounts]
    if not lacking:
        return found
    await conn.execute(upsert(conn)(account).on_conflict_do_nothing(), [_account_row(entity_id, a) for a in lacking])
    return await _accounts(conn, entity_id)


async def chart(conn: AsyncConnection, entity_id: EntityId) -> Chart:
    """The chart of an entity, which is the default one as long as nothing was posted."""
    found = await _accounts(conn, entity_id)
    return found if len(found) else Chart(default_accounts())


async def add_account(conn: AsyncConnection, entity_id: EntityId, made: Account) -> None:
    await conn.execute(insert(account).values(_account_row(entity_id, made)))


async def set_role(conn: AsyncConnection, entity_id: EntityId, code: str | None, role: str) -> None:
    """The account with this code plays the role from now on, and no other does; None: no account does."""
    of_entity = account.c.entity_id == entity_id
    await conn.execute(update(account).where(of_entity, account.c.role == role).values(role=None))
    if code is not None:
        await conn.execute(update(account).where(of_entity, account.c.code == code).values(role=role))


async def post(conn: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Write entries. The database refuses a closed period at once, and at COMMIT whatever does not balance."""
    if not entries:
        return
    heads = [
        {
            "entry_id": e.entry_id,
            "entity_id": e.entity_id,
            "posted_at": e.posted_at,
            "booked_on": e.booked_on,
            "regards_on": e.regards_on,
            "description": e.description,
            "source": e.source,
            "postings": len(e.postings),
        }
        for e in entries
    ]
    rows = [
        {
            "entry_id": e.entry_id,
            "line": n,
            "entity_id": e.entity_id,
            "booked_on": e.booked_on,
            "code": p.code,
            "currency": p.amount.currency,
            "amount_minor": p.amount.minor,
        }
        for e in entries
        for n, p in enumerate(e.postings, 1)
    ]
    await insert_all(conn, journal_entry, heads)
    await insert_all(conn, posting, rows)


async def find_entry(conn: AsyncConnection, *, entry_id: str = "", source: str = "") -> Entry | None:
    """By its id, or by the document it posts."""
    wanted = journal_entry.c.entry_id == entry_id if entry_id else journal_entry.c.source == source
    found = await _with_postings(conn, (await conn.execute(select(journal_entry).where(wanted))).all())
    return found[0] if found else None


async def entries(conn: AsyncConnection, after: tuple[int, str] | None, limit: int, span: Span = Span()) -> list[Entry]:
    """Newest first; `after` is (posted_at in microseconds, id) of the last one seen."""
    query = _booked(select(journal_entry), journal_entry.c, span)
    query = query.order_by(journal_entry.c.posted_at.desc(), journal_entry.c.entry_id.desc())
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(journal_entry.c.posted_at, journal_entry.c.entry_id) < last)
    return await _with_postings(conn, (await conn.execute(query.limit(limit))).all())


async def in_order(conn: AsyncConnection, span: Span, *, at_a_time: int = 1000) -> AsyncIterator[list[Entry]]:
    """Every entry by the day it was booked on, some at a time."""
    key = tuple_(journal_entry.c.booked_on, journal_entry.c.entry_id)
    query = _booked(select(journal_entry), journal_entry.c, span).order_by(*key.clauses).limit(at_a_time)
    last: Entry | None = None
    while True:
        page = query if last is None else query.where(key > tuple_(literal(last.booked_on), last.entry_id))
        found = await _with_postings(conn, (await conn.execute(page)).all())
        if not found:
            return
        yield found
        last = found[-1]


async def postings(
    conn: AsyncConnection, code: str, span: Span, after: tuple[int, str, int] | None, limit: int
) -> list[BookedPosting]:
    """Of one account, the last booked first; `after` is (ordinal of the day, entry, line) of the last one seen."""
    key = (posting.c.booked_on, posting.c.entry_id, posting.c.line)
    query = (
        select(posting, journal_entry.c.description, journal_entry.c.source, journal_entry.c.regards_on)
        .join(journal_entry, journal_entry.c.entry_id == posting.c.entry_id)
        .where(posting.c.code == code)
        .order_by(*(column.desc() for column in key))
        .limit(limit)
    )
    query = _booked(query, posting.c, span)
    if span.currency is not None:
        query = query.where(posting.c.currency == span.currency)
    if after is not None:
        day = date.fromordinal(min(max(after[0], 1), date.max.toordinal()))
        query = query.where(tuple_(*key) < tuple_(literal(day), after[1], after[2]))
    return [
        BookedPosting(
            row.entry_id,
            row.line,
            row.booked_on,
            row.regards_on,
            row.description,
            row.source,
            Money(row.amount_minor, row.currency),
        )
        for row in await conn.execute(query)
    ]


async def balances(conn: AsyncConnection, span: Span = Span()) -> list[AccountBalance]:
    """Every account that was posted to in `span`, by entity, currency and code."""
    amount = posting.c.amount_minor
    keys = (posting.c.entity_id, posting.c.code, posting.c.currency)
    query = _booked(
        select(
            *keys,
            func.sum(case((amount > 0, amount), else_=0)).label("debit"),
            func.sum(case((amount < 0, -amount), else_=0)).label("credit"),
        ),
        posting.c,
        span,
    ).group_by(*keys)
    if span.currency is not None:
        query = query.where(posting.c.currency == span.currency)
    sums = query.subquery()
    named = (
        select(sums, account.c.name, account.c.kind)
        .join(account, (account.c.entity_id == sums.c.entity_id) & (account.c.code == sums.c.code))
        .order_by(sums.c.entity_id, sums.c.currency, sums.c.code)
    )
    return [
        AccountBalance(
            EntityId(row.entity_id),
            row.code,
            row.name,
            row.kind,
            Money(int(row.debit), row.currency),
            Money(int(row.credit), row.currency),
        )
        for row in await conn.execute(named)
    ]


async def other_sides(conn: AsyncConnection, codes: Collection[str], span: Span) -> list[AccountBalance]:
    """What the entries of `span` that moved one of the accounts `codes` posted to all others, in the same currency."""
    mine = posting.alias("mine")
    touches = (
        select(mine.c.entry_id)
        .where(mine.c.entry_id == posting.c.entry_id, mine.c.currency == posting.c.currency)
        .where(mine.c.code.in_(sorted(codes)))
        .exists()
    )
    amount = posting.c.amount_minor
    keys = (posting.c.entity_id, posting.c.code, posting.c.currency)
    query = (
        select(
            *keys,
            account.c.name,
            account.c.kind,
            func.sum(case((amount > 0, amount), else_=0)).label("debit"),
            func.sum(case((amount < 0, -amount), else_=0)).label("credit"),
        )
        .join(account, (account.c.entity_id == posting.c.entity_id) & (account.c.code == posting.c.code))
        .where(posting.c.code.not_in(sorted(codes)), touches)
        .group_by(*keys, account.c.name, account.c.kind)
    )
    return [
        AccountBalance(
            EntityId(row.entity_id),
            row.code,
            row.name,
            row.kind,
            Money(int(row.debit), row.currency),
            Money(int(row.credit), row.currency),
        )
        for row in await conn.execute(_booked(query, posting.c, span))
    ]


async def closed_until(conn: AsyncConnection, entity_id: EntityId) -> date | None:
    """Nothing is booked before this day; None where nothing was closed yet."""
    query = select(period_change.c.closed_until).where(period_change.c.entity_id == entity_id)
    found: date | None = await conn.scalar(query.order_by(period_change.c.change_id.desc()).limit(1))
    return found


async def change_period(
    conn: AsyncConnection, entity_id: EntityId, until: date, *, at: datetime, actor: str, reason: str
) -> None:
    made = {"entity_id": entity_id, "closed_until": until, "at": at, "actor": actor, "reason": reason}
    await conn.execute(insert(period_change).values(made))


async def period_changes(conn: AsyncConnection, entity_id: EntityId, limit: int) -> list[PeriodChange]:
    """Closings and reopenings, newest first."""
    query = select(period_change).where(period_change.c.entity_id == entity_id)
    rows = await conn.execute(query.order_by(period_change.c.change_id.desc()).limit(limit))
    return [PeriodChange(row.closed_until, row.at, row.actor, row.reason) for row in rows]


def _booked(query: Select[Any], columns: Any, span: Span) -> Select[Any]:
    if span.entity_id is not None:
        query = query.where(columns.entity_id == span.entity_id)
    if span.since is not None:
        query = query.where(columns.booked_on >= span.since)
    if span.until is not None:
        query = query.where(columns.booked_on < span.until)
    return query


async def _with_postings(conn: AsyncConnection, heads: Sequence[Row[Any]]) -> list[Entry]:
    found: dict[str, list[Posting]] = {h.entry_id: [] for h in heads}
    query = (
        select(posting, account.c.name)
        .join(account, (account.c.entity_id == posting.c.entity_id) & (account.c.code == posting.c.code))
        .where(posting.c.entry_id.in_(list(found)))
        .order_by(posting.c.entry_id, posting.c.line)
    )
    for row in await conn.execute(query):
        found[row.entry_id].append(Posting(row.code, Money(row.amount_minor, row.currency), row.name))
    return [
        Entry(
            h.entry_id,
            EntityId(h.entity_id),
            h.posted_at,
            h.booked_on,
            h.description,
            h.source,
            tuple(found[h.entry_id]),
            h.regards_on,
        )
        for h in heads
    ]


async def _accounts(conn: AsyncConnection, entity_id: EntityId) -> Chart:
    query = select(account).where(account.c.entity_id == entity_id)
    return Chart(
        Account(row.code, row.name, row.kind, row.parent, row.role, row.control) for row in await conn.execute(query)
    )


def _account_row(entity_id: EntityId, made: Account) -> dict[str, Any]:
    return {
        "entity_id": entity_id,
        "code": made.code,
        "name": made.name,
        "kind": made.kind,
        "parent": made.parent,
        "role": made.role,
        "control": made.control,
    }


def upsert(conn: AsyncConnection) -> Any:
    """`insert` of the connection's dialect, which knows ON CONFLICT."""
    return pg_insert if conn.dialect.name == "postgresql" else sqlite_insert

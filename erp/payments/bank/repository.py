"""Rows of bank accounts, statements and their lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, and_, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from controller.domain.money import Money
from erp.crm.tables import account as crm_account
from erp.crm.tables import customer
from erp.finance.payment_tables import allocation, payment
from erp.finance.tables import invoice
from erp.payments.bank.matching import OpenInvoice
from erp.payments.tables import bank_account, bank_file, bank_line, mandate, statement

NEW, OPEN, MATCHED = "new", "open", "matched"
"""A line is new until it was looked at, which follows its import a few lines at a time."""


@dataclass(frozen=True, slots=True)
class BankAccount:
    """An account of ours. `creditor_id` is empty where it collects no direct debits."""

    bank_account_id: str
    entity_id: EntityId
    name: str
    iban: str
    bic: str
    currency: str
    creditor_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BankLine:
    """A movement as it is kept; `matched` and `subject` say with what it was matched."""

    line_id: str
    bank_account_id: str
    statement_id: str
    position: int
    booked_on: date
    value_on: date
    amount: Money
    kind: str
    end_to_end: str
    reference: str
    batch: str
    bank_ref: str
    code: str
    return_reason: str
    remittance: str
    party: str
    party_iban: str
    state: str
    matched: str
    subject: str
    matches: int
    changed_at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class KeptStatement:
    statement_id: str
    bank_account_id: str
    file_id: str
    ident: str
    first_on: date
    last_on: date
    opening: Money
    closing: Money
    note: str
    lines: int
    open_lines: int


async def add_account(conn: AsyncConnection, made: BankAccount, actor: str) -> None:
    await conn.execute(
        insert(bank_account).values(
            bank_account_id=made.bank_account_id,
            entity_id=made.entity_id,
            name=made.name,
            iban=made.iban,
            bic=made.bic,
            currency=made.currency,
            creditor_id=made.creditor_id,
            created_at=made.created_at,
            actor=actor,
        )
    )


async def accounts(
    conn: AsyncConnection, *, bank_account_id: str | None = None, iban: str | None = None
) -> list[BankAccount]:
    query = select(bank_account).order_by(bank_account.c.bank_account_id)
    if bank_account_id is not None:
        query = query.where(bank_account.c.bank_account_id == bank_account_id)
    if iban is not None:
        query = query.where(bank_account.c.iban == iban)
    return [
        BankAccount(
            row.bank_account_id,
            EntityId(row.entity_id),
            row.name,
            row.iban,
            row.bic,
            row.currency,
            row.creditor_id,
            row.created_at,
        )
        for row in await conn.execute(query)
    ]


async def find_file(conn: AsyncConnection, sha256: bytes) -> Row[Any] | None:
    return (await conn.execute(select(bank_file).where(bank_file.c.sha256 == sha256))).one_or_none()


async def add_file(conn: AsyncConnection, values: Mapping[str, Any]) -> None:
    await conn.execute(insert(bank_file).values(values))


async def notices(conn: AsyncConnection, since: datetime) -> list[bytes]:
    """What notifications said that came since then, oldest first."""
    query = select(bank_file.c.content).where(bank_file.c.content.is_not(None), bank_file.c.received_at >= since)
    return list(await conn.scalars(query.order_by(bank_file.c.received_at, bank_file.c.file_id)))


async def open_untold(conn: AsyncConnection, bank_account_id: str, bank_ref: str) -> list[BankLine]:
    """What is open and was told without its transactions: sums, and entries of an amount alone."""
    said = (bank_line.c.end_to_end, bank_line.c.reference, bank_line.c.party, bank_line.c.party_iban)
    bare = and_(bank_line.c.kind == "movement", bank_line.c.part == 1, *(column == "" for column in said))
    query = select(bank_line).where(
        bank_line.c.bank_account_id == bank_account_id,
        bank_line.c.bank_ref == bank_ref,
        or_(bank_line.c.kind == "batch", bare),
        bank_line.c.state != MATCHED,
    )
    return [_line(row) for row in await conn.execute(query)]


async def charge_of(conn: AsyncConnection, of: BankLine) -> Money:
    """What the bank kept beside this line, in the same entry: positive, or zero."""
    query = select(func.coalesce(func.sum(bank_line.c.amount_minor), 0)).where(
        bank_line.c.statement_id == of.statement_id, bank_line.c.position == of.position, bank_line.c.kind == "charge"
    )
    return Money(-int(await conn.scalar(query) or 0), of.amount.currency)


async def add_lines(conn: AsyncConnection, lines: Sequence[Mapping[str, Any]]) -> None:
    await conn.execute(insert(bank_line), lines)


async def find_statement(conn: AsyncConnection, bank_account_id: str, ident: str, last_on: date) -> Row[Any] | None:
    query = select(statement).where(
        statement.c.bank_account_id == bank_account_id, statement.c.ident == ident, statement.c.last_on == last_on
    )
    return (await conn.execute(query)).one_or_none()


async def closing_before(conn: AsyncConnection, bank_account_id: str, first_on: date) -> int | None:
    """The closing balance of the last statement that ended before this day."""
    query = select(statement.c.closing_minor).where(
        statement.c.bank_account_id == bank_account_id, statement.c.last_on < first_on
    )
    last = statement.c.last_on.desc(), statement.c.statement_id.desc()
    found: int | None = await conn.scalar(query.order_by(*last).limit(1))
    return found


async def seen_refs(conn: AsyncConnection, bank_account_id: str, refs: Sequence[str]) -> set[tuple[str, date, int]]:
    """(the bank's reference, day, amount) of lines that are known already."""
    found: set[tuple[str, date, int]] = set()
    for start in range(0, len(refs), 500):
        query = select(bank_line.c.bank_ref, bank_line.c.booked_on, bank_line.c.amount_minor).where(
            bank_line.c.bank_account_id == bank_account_id, bank_line.c.bank_ref.in_(refs[start : start + 500])
        )
        found |= {(ref, day, minor) for ref, day, minor in await conn.execute(query)}
    return found


async def overlapping(
    conn: AsyncConnection, bank_account_id: str, first_on: date, last_on: date
) -> dict[str, tuple[int, int]]:
    """Opening and closing balance of the statements that have a day in common with these."""
    query = select(statement.c.statement_id, statement.c.opening_minor, statement.c.closing_minor).where(
        statement.c.bank_account_id == bank_account_id, statement.c.first_on <= last_on, statement.c.last_on >= first_on
    )
    return {row.statement_id: (row.opening_minor, row.closing_minor) for row in await conn.execute(query)}


async def told_without_ref(conn: AsyncConnection, statement_ids: Sequence[str]) -> set[tuple[date, int, str, str]]:
    """(day, amount, end-to-end id, text) of lines of statements to which the bank gave no reference."""
    what = bank_line.c.booked_on, bank_line.c.amount_minor, bank_line.c.end_to_end, bank_line.c.remittance
    query = select(*what).where(bank_line.c.statement_id.in_(statement_ids), bank_line.c.bank_ref == "")
    return {(day, minor, end_to_end, said) for day, minor, end_to_end, said in await conn.execute(query)}


async def add_statement(conn: AsyncConnection, values: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
    await conn.execute(insert(statement).values(values))
    if lines:
        await conn.execute(insert(bank_line), lines)


async def statements(conn: AsyncConnection, bank_account_id: str | None, limit: int) -> list[KeptStatement]:
    """The latest first."""
    count = select(
        bank_line.c.statement_id,
        func.count().label("lines"),
        func.count().filter(bank_line.c.state != MATCHED).label("open"),
    )
    counted = count.group_by(bank_line.c.statement_id).subquery()
    query = (
        select(statement, bank_account.c.currency, counted.c.lines, counted.c.open)
        .join(bank_account, bank_account.c.bank_account_id == statement.c.bank_account_id)
        .outerjoin(counted, counted.c.statement_id == statement.c.statement_id)
        .order_by(statement.c.last_on.desc(), statement.c.statement_id.desc())
        .limit(limit)
    )
    if bank_account_id is not None:
        query = query.where(statement.c.bank_account_id == bank_account_id)
    return [
        KeptStatement(
            row.statement_id,
            row.bank_account_id,
            row.file_id,
            row.ident,
            row.first_on,
            row.last_on,
            Money(row.opening_minor, row.currency),
            Money(row.closing_minor, row.currency),
            row.note,
            row.lines or 0,
            row.open or 0,
        )
        for row in await conn.execute(query)
    ]


async def lines(
    conn: AsyncConnection,
    *,
    line_id: str | None = None,
    statement_id: str | None = None,
    state: str | None = None,
    after: tuple[date, str] | None = None,
    limit: int = 1_000_000,
) -> list[BankLine]:
    """Oldest first; `after` is (day, id) of the last one seen. New ones are among the open ones."""
    query = select(bank_line).order_by(bank_line.c.booked_on, bank_line.c.line_id).limit(limit)
    if line_id is not None:
        query = query.where(bank_line.c.line_id == line_id)
    if statement_id is not None:
        query = query.where(bank_line.c.statement_id == statement_id)
    if state == OPEN:
        query = query.where(bank_line.c.state != MATCHED)
    elif state is not None:
        query = query.where(bank_line.c.state == state)
    if after is not None:
        query = query.where(tuple_(bank_line.c.booked_on, bank_line.c.line_id) > tuple_(*after))
    return [_line(row) for row in await conn.execute(query)]


async def set_match(
    conn: AsyncConnection, line_id: str, state: str, matched: str, subject: str, now: datetime, actor: str
) -> None:
    """Each match counts one more, so that what is booked for it has a name of its own."""
    more = 1 if state == MATCHED else 0
    await conn.execute(
        update(bank_line)
        .where(bank_line.c.line_id == line_id)
        .values(
            state=state,
            matched=matched,
            subject=subject[:160],
            matches=bank_line.c.matches + more,
            changed_at=now,
            actor=actor,
        )
    )


async def look_again(conn: AsyncConnection, amount: Money) -> None:
    """Lines of this amount that nobody has identified are new again: something was told that may be them."""
    where = bank_line.c.state == OPEN, bank_line.c.amount_minor == amount.minor, bank_line.c.currency == amount.currency
    await conn.execute(update(bank_line).where(*where).values(state=NEW))


async def open_invoices(conn: AsyncConnection, entity_id: str, currency: str) -> list[OpenInvoice]:
    """Of an entity in one currency, oldest first."""
    settled = (
        select(allocation.c.invoice_id, func.sum(allocation.c.amount_minor).label("minor"))
        .group_by(allocation.c.invoice_id)
        .subquery()
    )
    left = invoice.c.total_minor - func.coalesce(settled.c.minor, 0)
    query = (
        select(invoice.c.invoice_id, invoice.c.number, invoice.c.account_id, customer.c.name, left.label("left"))
        .join(crm_account, crm_account.c.account_id == invoice.c.account_id)
        .join(customer, customer.c.customer_id == crm_account.c.customer_id)
        .outerjoin(settled, settled.c.invoice_id == invoice.c.invoice_id)
        .where(invoice.c.entity_id == entity_id, invoice.c.currency == currency, left > 0)
        .order_by(invoice.c.issued_at, invoice.c.invoice_id)
    )
    return [
        OpenInvoice(row.invoice_id, row.number, row.account_id, row.name, Money(int(row.left), currency))
        for row in await conn.execute(query)
    ]


async def accounts_by_iban(conn: AsyncConnection, ibans: Sequence[str]) -> dict[str, str]:
    """Which account paid from an IBAN before, or has given a mandate for it."""
    wanted = [iban for iban in dict.fromkeys(ibans) if iban]
    found: dict[str, str] = {}
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        given = select(mandate.c.iban, mandate.c.account_id).where(mandate.c.iban.in_(part))
        found |= {row.iban: row.account_id for row in await conn.execute(given)}
        paid = (
            select(bank_line.c.party_iban, payment.c.account_id)
            .join(payment, payment.c.payment_id == bank_line.c.subject)
            .where(bank_line.c.party_iban.in_(part), bank_line.c.matched == "payment")
            .order_by(bank_line.c.changed_at)
        )
        found |= {row.party_iban: row.account_id for row in await conn.execute(paid)}
    return found


def _line(row: Row[Any]) -> BankLine:
    return BankLine(
        row.line_id,
        row.bank_account_id,
        row.statement_id,
        row.position,
        row.booked_on,
        row.value_on,
        Money(row.amount_minor, row.currency),
        row.kind,
        row.end_to_end,
        row.reference,
        row.batch,
        row.bank_ref,
        row.code,
        row.return_reason,
        row.remittance,
        row.party,
        row.party_iban,
        row.state,
        row.matched,
        row.subject,
        row.matches,
        row.changed_at,
        row.actor,
    )

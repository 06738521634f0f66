"""What was written of a bill run, added up by the database and not by who wrote it: documents, lines, journal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import AccountId, BillRunId, InvoiceId
from controller.domain.money import Money
from controller.store.many import one_of
from erp.finance.chart import LEVIES, OUTPUT_TAX, RECEIVABLES
from erp.finance.journal_tables import account, posting
from erp.finance.tables import invoice, invoice_line, series


@dataclass(frozen=True, slots=True)
class Written:
    """Of one currency, in minor units, credit notes below zero. `revenue` is all that is neither owed nor tax."""

    currency: str
    documents: int
    net: int
    tax: int
    total: int
    charges: int = 0
    lines: int = 0
    agreed: int = 0
    line_net: int = 0
    line_tax: int = 0
    receivable: int = 0
    taxes: int = 0
    revenue: int = 0

    @property
    def agrees(self) -> bool:
        """Σ lines + tax = total = journal."""
        return (
            (self.line_net, self.line_tax) == (self.net, self.tax)
            and self.net + self.tax == self.total == self.receivable
            and (self.revenue, self.taxes) == (-self.net, -self.tax)
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """A series that the run took numbers of: its own, and all that were ever taken."""

    entity_id: str
    series: str
    documents: int
    first: int
    last: int
    ever: int
    highest: int
    last_number: int

    @property
    def complete(self) -> bool:
        """From 1 to the last number given each is on one document."""
        return self.ever == self.highest == self.last_number


@dataclass(frozen=True, slots=True)
class RunProof:
    written: tuple[Written, ...]
    numbers: tuple[Numbers, ...]


Digest = tuple[AccountId, str, bytes]
"""Account, currency, and of what a document said before it had a number."""


@dataclass(frozen=True, slots=True)
class IssuedDraft:
    """A document of a run, by the digest of what was known before it had a number."""

    account_id: AccountId
    invoice_id: InvoiceId
    number: str
    net: Money
    tax: Money
    draft_sha256: bytes


async def of_run(conn: AsyncConnection, bill_run_id: BillRunId) -> RunProof:
    found: dict[str, dict[str, int]] = {}
    for query, names in (
        (_documents(bill_run_id), ("documents", "net", "tax", "total")),
        (_lines(bill_run_id), ("charges", "lines", "agreed", "line_net", "line_tax")),
        (_journal(bill_run_id), ("receivable", "taxes", "revenue")),
    ):
        for currency, *sums in await conn.execute(query):
            found.setdefault(currency, {}).update(zip(names, map(int, sums), strict=True))
    written = tuple(Written(currency, **sums) for currency, sums in sorted(found.items()))
    return RunProof(written, tuple([await _numbers(conn, *key) for key in await conn.execute(_series(bill_run_id))]))


async def digests(conn: AsyncConnection, bill_run_id: BillRunId, at_a_time: int) -> AsyncIterator[Sequence[Digest]]:
    """So many documents at a time, in order of account and currency, as they come from the database."""
    query = select(invoice.c.account_id, invoice.c.currency, invoice.c.draft_sha256)
    query = query.where(invoice.c.bill_run_id == bill_run_id)
    rows = await conn.stream(query.order_by(invoice.c.account_id, invoice.c.currency))
    async for some in rows.partitions(at_a_time):
        yield [tuple(row) for row in some]


async def documents_of(
    conn: AsyncConnection, bill_run_id: BillRunId, accounts: Sequence[str] | None
) -> list[IssuedDraft]:
    query = _issued().where(invoice.c.bill_run_id == bill_run_id)
    if accounts is not None:
        query = query.where(one_of(conn, invoice.c.account_id, sorted(accounts)))
    return [_issued_draft(row) for row in await conn.execute(query)]


def _documents(bill_run_id: BillRunId) -> Select[Any]:
    sums = (func.sum(c) for c in (invoice.c.net_minor, invoice.c.tax_minor, invoice.c.total_minor))
    query = select(invoice.c.currency, func.count(), *sums).where(invoice.c.bill_run_id == bill_run_id)
    return query.group_by(invoice.c.currency)


def _lines(bill_run_id: BillRunId) -> Select[Any]:
    line = invoice_line.c
    sums = (func.sum(c) for c in (line.agreed_minor, line.net_minor, line.tax_minor))
    query = select(invoice.c.currency, func.count().filter(line.part == 1), func.count(), *sums).select_from(invoice)
    query = query.join(invoice_line, line.invoice_id == invoice.c.invoice_id)
    return query.where(invoice.c.bill_run_id == bill_run_id).group_by(invoice.c.currency)


def _journal(bill_run_id: BillRunId) -> Select[Any]:
    amount, role = posting.c.amount_minor, func.coalesce(account.c.role, "")
    taxes = (OUTPUT_TAX, LEVIES)
    query = (
        select(
            posting.c.currency,
            func.sum(case((role == RECEIVABLES, amount), else_=0)),
            func.sum(case((role.in_(taxes), amount), else_=0)),
            func.sum(case((role.in_((RECEIVABLES, *taxes)), 0), else_=amount)),
        )
        .select_from(invoice)
        .join(posting, posting.c.entry_id == invoice.c.entry_id)
        .join(account, (account.c.entity_id == posting.c.entity_id) & (account.c.code == posting.c.code))
    )
    return query.where(invoice.c.bill_run_id == bill_run_id).group_by(posting.c.currency)


def _series(bill_run_id: BillRunId) -> Select[Any]:
    key = (invoice.c.entity_id, invoice.c.series)
    of_run = invoice.c.bill_run_id == bill_run_id
    query = select(*key, func.count(), func.min(invoice.c.sequence), func.max(invoice.c.sequence)).where(of_run)
    return query.group_by(*key).order_by(*key)


async def _numbers(conn: AsyncConnection, entity_id: str, name: str, documents: int, first: int, last: int) -> Numbers:
    own = (invoice.c.entity_id == entity_id, invoice.c.series == name)
    ever, highest = (await conn.execute(select(func.count(), func.max(invoice.c.sequence)).where(*own))).one()
    given = select(series.c.last_number).where(series.c.entity_id == entity_id, series.c.series == name)
    last_number = await conn.scalar(given)
    return Numbers(entity_id, name, documents, first, last, int(ever), int(highest), int(last_number or 0))


def _issued() -> Select[Any]:
    columns = ("account_id", "currency", "invoice_id", "number", "net_minor", "tax_minor", "draft_sha256")
    return select(*(invoice.c[name] for name in columns)).order_by(invoice.c.account_id, invoice.c.currency)


def _issued_draft(row: Row[Any]) -> IssuedDraft:
    return IssuedDraft(
        AccountId(row.account_id),
        InvoiceId(row.invoice_id),
        row.number,
        Money(row.net_minor, row.currency),
        Money(row.tax_minor, row.currency),
        row.draft_sha256,
    )

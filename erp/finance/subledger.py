"""What the rows of a subledger come to, for accounts that only the program's own documents post to.

Each is added up by the database, in the snapshot that the reader has opened, and says what its account of the ledger
must amount to: minor units by currency, positive for debit. What people book by hand to such an account is no row of
its subledger, and is added up apart. Rows and postings of a document are one transaction, so that the two agree in
every snapshot, at any moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, exists, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from erp.crm.tables import account as billing_account
from erp.crm.tables import customer
from erp.finance import contracts
from erp.finance.chart import (
    BAD_DEBTS,
    CONTRACT_ASSETS,
    DEFERRED,
    DEPOSITS,
    LEVIES,
    OUTPUT_TAX,
    PAYABLES,
    Chart,
)
from erp.finance.contract_tables import contract, contract_movement
from erp.finance.journal_tables import journal_entry, posting
from erp.finance.payment_tables import deposit, deposit_release, payment_reversal, receipt
from erp.finance.resale_tables import commission
from erp.finance.tables import invoice, invoice_line, line_levy

Minor = Mapping[str, int]
"""Minor units by currency."""
Sums = Callable[[AsyncConnection, EntityId, Chart], Awaitable[Minor]]
ByCode = Mapping[tuple[str, str], int]
"""Minor units by (account, currency)."""
ByHand = Callable[[AsyncConnection, EntityId], Awaitable[ByCode]]

_MONTH = timedelta(days=31)
_PAYMENT, _REVERSAL = "payment:", "reversal:"
"""How the sources of entries begin that a payment, or a loss, posts, and what took it back."""


@dataclass(frozen=True, slots=True)
class Subledger:
    """`name` is what it is compared under, `role` that of its account, `rows` what it is made of, in words.

    `look` says where its rows are seen. `posted` is what of the account is meant, where that is not all of it.
    """

    name: str
    role: str
    rows: str
    look: str
    sums: Sums
    posted: Sums | None = None


async def summed(conn: AsyncConnection, *queries: Select[Any]) -> dict[str, int]:
    """Rows of (currency, minor), added up over all queries."""
    found: dict[str, int] = defaultdict(int)
    for query in queries:
        for currency, minor in await conn.execute(query):
            found[currency] += int(minor or 0)
    return dict(found)


def turned(found: Minor) -> dict[str, int]:
    """The other side: what a liability of so much is in the ledger."""
    return {currency: -minor for currency, minor in found.items()}


def together(parts: Iterable[Minor]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for part in parts:
        for currency, minor in part.items():
            found[currency] += minor
    return dict(found)


async def posted_on(conn: AsyncConnection, entity_id: EntityId, codes: Sequence[str]) -> dict[str, int]:
    """What accounts amount to together; answered by the index of postings alone."""
    query = select(posting.c.currency, func.sum(posting.c.amount_minor)).where(
        posting.c.entity_id == entity_id, posting.c.code.in_(codes)
    )
    return await summed(conn, query.group_by(posting.c.currency))


async def by_hand(conn: AsyncConnection, entity_id: EntityId) -> dict[tuple[str, str], int]:
    """What entries that people made, and those that took them back, come to on each account."""
    manual, back = journal_entry.alias("manual"), journal_entry.alias("back")
    # As the index of these entries has it: they are few, and the journal is long.
    made = literal_column("substr(manual.source, 1, 7)") == literal_column("'manual:'")
    mine = select(manual.c.entry_id).where(manual.c.entity_id == entity_id, made)
    reversed_ = (
        select(back.c.entry_id)
        .select_from(manual)
        .join(back, back.c.source == literal_column("'reversal:'").concat(manual.c.entry_id))
        .where(manual.c.entity_id == entity_id, made)
    )
    found: dict[tuple[str, str], int] = defaultdict(int)
    for entries in (mine, reversed_):
        query = (
            select(posting.c.code, posting.c.currency, func.sum(posting.c.amount_minor))
            .where(posting.c.entry_id.in_(entries))
            .group_by(posting.c.code, posting.c.currency)
        )
        for code, currency, minor in await conn.execute(query):
            found[code, currency] += int(minor)
    return dict(found)


async def _deferred(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    """What lines of documents are to earn later, and what contracts were billed ahead of what they earned."""
    return turned(together([await contracts.unearned(conn, entity_id), await _positions(conn, entity_id, ahead=1)]))


async def _contract_assets(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    return await _positions(conn, entity_id, ahead=-1)


async def _positions(conn: AsyncConnection, entity_id: EntityId, *, ahead: int) -> dict[str, int]:
    """Contracts that are billed ahead of what they earned (1), or behind (-1): by how much, above zero."""
    moved = func.sum(contract_movement.c.billed_minor - contract_movement.c.earned_minor) * ahead
    each = (
        select(contract_movement.c.contract_id, moved.label("minor"))
        .group_by(contract_movement.c.contract_id)
        .subquery()
    )
    query = (
        select(contract.c.currency, func.sum(case((each.c.minor > 0, each.c.minor), else_=0)))
        .select_from(each)
        .join(contract, contract.c.contract_id == each.c.contract_id)
        .where(contract.c.entity_id == entity_id)
        .group_by(contract.c.currency)
    )
    return await summed(conn, query)


async def _deposits(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    query = (
        select(deposit.c.currency, func.sum(deposit.c.amount_minor))
        .outerjoin(deposit_release, deposit_release.c.deposit_id == deposit.c.deposit_id)
        .where(deposit.c.entity_id == entity_id, deposit_release.c.deposit_id.is_(None))
        .group_by(deposit.c.currency)
    )
    return turned(await summed(conn, query))


async def _output_tax(conn: AsyncConnection, entity_id: EntityId, chart: Chart) -> Minor:
    """Of documents what is no levy, of receipts of prepaid credit, less what losses gave back."""
    documents = together([piece async for piece in _by_month(conn, entity_id, _taxes)])
    receipts = select(receipt.c.currency, func.sum(receipt.c.tax_minor)).where(receipt.c.entity_id == entity_id)
    vat = [documents, turned(await _levied(conn, entity_id)), await summed(conn, receipts.group_by(receipt.c.currency))]
    return together([turned(together(vat)), await _relieved(conn, entity_id, chart)])


async def _levies(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    return turned(await _levied(conn, entity_id))


async def _levied(conn: AsyncConnection, entity_id: EntityId) -> dict[str, int]:
    """Nothing is read where no line ever bore one."""
    query = (
        select(invoice.c.currency, func.sum(line_levy.c.tax_minor))
        .select_from(line_levy)
        .join(invoice_line, invoice_line.c.line_id == line_levy.c.line_id)
        .join(invoice, invoice.c.invoice_id == invoice_line.c.invoice_id)
        .where(invoice.c.entity_id == entity_id)
        .group_by(invoice.c.currency)
    )
    return await summed(conn, query)


async def _relieved(conn: AsyncConnection, entity_id: EntityId, chart: Chart) -> dict[str, int]:
    """Tax of what was written off, or was and is owed again: it stands in the entry of the loss alone."""
    loss, tax, source = posting.alias("loss"), posting.alias("tax"), journal_entry.c.source
    taken_back = exists().where(payment_reversal.c.reversal_id == func.substr(source, len(_REVERSAL) + 1))
    query = (
        select(tax.c.currency, func.sum(tax.c.amount_minor))
        .select_from(loss)
        .join(journal_entry, journal_entry.c.entry_id == loss.c.entry_id)
        .join(tax, tax.c.entry_id == loss.c.entry_id)
        .where(
            loss.c.entity_id == entity_id,
            loss.c.code == chart.code(BAD_DEBTS),
            or_(func.substr(source, 1, len(_PAYMENT)) == _PAYMENT, taken_back),
            tax.c.code == chart.code(OUTPUT_TAX),
        )
        .group_by(tax.c.currency)
    )
    return await summed(conn, query)


def _taxes(entity_id: EntityId, since: datetime, until: datetime) -> Select[Any]:
    return (
        select(invoice.c.currency, func.sum(invoice.c.tax_minor))
        .where(invoice.c.entity_id == entity_id, invoice.c.issued_at >= since, invoice.c.issued_at < until)
        .group_by(invoice.c.currency)
    )


async def _by_month(
    conn: AsyncConnection, entity_id: EntityId, query: Callable[[EntityId, datetime, datetime], Select[Any]]
) -> AsyncIterator[dict[str, int]]:
    """Documents of some weeks at a time: of all at once would be one statement of many minutes in a large ledger."""
    first = await conn.scalar(select(func.min(invoice.c.issued_at)))
    last = await conn.scalar(select(func.max(invoice.c.issued_at)))
    at = first
    while at is not None and at <= last:
        yield await summed(conn, query(entity_id, at, at + _MONTH))
        at += _MONTH


async def _commissions(conn: AsyncConnection, entity_id: EntityId, _chart: Chart) -> Minor:
    query = (
        select(commission.c.currency, func.sum(commission.c.share_minor))
        .join(billing_account, billing_account.c.account_id == commission.c.reseller_id)
        .join(customer, customer.c.customer_id == billing_account.c.customer_id)
        .where(customer.c.entity_id == entity_id, commission.c.entry_id.is_not(None))
        .group_by(commission.c.currency)
    )
    return turned(await summed(conn, query))


SUBLEDGERS = (
    Subledger(
        "deferred-revenue", DEFERRED, "what lines and contracts that were billed ahead are still to earn",
        "headend finance revenue", _deferred,
    ),
    Subledger(
        "contract-assets", CONTRACT_ASSETS, "what contracts earned and did not bill yet",
        "the contracts of /revenue-contracts", _contract_assets,
    ),
    Subledger("deposits", DEPOSITS, "deposits that are held", "GET /deposits", _deposits),
    Subledger(
        "output-tax", OUTPUT_TAX, "tax of documents and of receipts of prepaid credit, less that of losses",
        "GET /invoices by month, and the write-offs", _output_tax,
    ),
    Subledger("levies", LEVIES, "levies on the lines of documents", "GET /levies", _levies),
    Subledger(
        "commissions", PAYABLES, "commissions of resellers that were settled", "headend resale", _commissions
    ),
)  # fmt: skip
"""Those of finance itself; receivables are compared by day, from their open items."""

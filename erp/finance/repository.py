"""Rows of documents: invoices with their lines, series of numbers, the papers themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Case,
    Row,
    ScalarSelect,
    Select,
    case,
    func,
    insert,
    literal,
    not_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.charge import Charge
from controller.domain.identity import (
    AccountId,
    BillRunId,
    ChargeId,
    CustomerId,
    EntityId,
    InvoiceId,
    InvoiceLineId,
)
from controller.domain.money import Money
from controller.store.many import insert_all, insert_rows, one_of
from erp.finance.ledger import upsert
from erp.finance.model import Invoice, InvoiceLine, Open, Total, Wanted
from erp.finance.payment_tables import allocation, payment, payment_reversal, reservation
from erp.finance.tables import document, invoice, invoice_line, line_levy, series


async def take_numbers(conn: AsyncConnection, entity_id: EntityId, name: str, count: int) -> int:
    """Take `count` consecutive numbers of a series; returns the first.

    The row stays locked until the transaction ends, and a rollback gives the numbers back: no gap, no duplicate.
    """
    fresh = upsert(conn)(series).values(entity_id=entity_id, series=name, last_number=0)
    await conn.execute(fresh.on_conflict_do_nothing())
    last = await conn.scalar(
        update(series)
        .where(series.c.entity_id == entity_id, series.c.series == name)
        .values(last_number=series.c.last_number + count)
        .returning(series.c.last_number)
    )
    assert last is not None
    return int(last) - count + 1


async def add_invoices(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    await insert_all(conn, invoice, rows)


async def add_lines(conn: AsyncConnection, columns: Sequence[str], lines: Sequence[tuple[Any, ...]]) -> None:
    """Before or after their documents, but in the same transaction; lines of credits after them."""
    await insert_rows(conn, invoice_line, columns, lines)


async def add_levies(conn: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        await conn.execute(insert(line_levy), rows)


async def invoiced_accounts(
    conn: AsyncConnection, bill_run_id: BillRunId, accounts: Iterable[str]
) -> set[tuple[str, str]]:
    """(account, currency) of these accounts that already have their document of this run."""
    query = select(invoice.c.account_id, invoice.c.currency).where(
        invoice.c.bill_run_id == bill_run_id, one_of(conn, invoice.c.account_id, sorted(set(accounts)))
    )
    return {(row.account_id, row.currency) for row in await conn.execute(query)}


async def get_invoice(conn: AsyncConnection, invoice_id: InvoiceId) -> Invoice | None:
    row = (await conn.execute(_invoices().where(invoice.c.invoice_id == invoice_id))).one_or_none()
    return _invoice(row) if row else None


async def of_charge(conn: AsyncConnection, charge_id: str) -> Invoice | None:
    """The document on which a charge stands: all its parts are on one."""
    on = select(invoice_line.c.invoice_id).where(invoice_line.c.charge_id == charge_id)
    row = (await conn.execute(_invoices().where(invoice.c.invoice_id.in_(on)))).one_or_none()
    return _invoice(row) if row else None


async def page(
    conn: AsyncConnection, wanted: Wanted, today: date, after: tuple[int, str] | None, limit: int
) -> list[Invoice]:
    """Newest first; `after` is (issued_at in microseconds, id) of the last one seen."""
    query = _wanted(wanted, today).order_by(invoice.c.issued_at.desc(), invoice.c.invoice_id.desc()).limit(limit)
    if after is not None:
        last = tuple_(literal(after[0], BigInteger), after[1])
        query = query.where(tuple_(invoice.c.issued_at, invoice.c.invoice_id) < last)
    return [_invoice(row) for row in await conn.execute(query)]


async def totals(conn: AsyncConnection, wanted: Wanted, today: date) -> list[Total]:
    """Of each currency, what was invoiced and what of it is open."""
    found = _wanted(wanted, today).subquery()
    still = found.c.total_minor - found.c.allocated_minor
    query = select(
        found.c.currency, func.count(), func.sum(found.c.total_minor), func.sum(case((still > 0, still), else_=0))
    )
    rows = await conn.execute(query.group_by(found.c.currency).order_by(found.c.currency))
    return [Total(count, Money(int(over), name), Money(int(left), name)) for name, count, over, left in rows]


def _wanted(wanted: Wanted, today: date) -> Select[Any]:
    query = _invoices()
    still_open = invoice.c.total_minor > _allocated()
    unapplied = invoice.c.total_minor + _used() < 0
    if wanted.account_ids:
        query = query.where(invoice.c.account_id.in_(wanted.account_ids))
    if wanted.bill_run_id is not None:
        query = query.where(invoice.c.bill_run_id == wanted.bill_run_id)
    if wanted.number:
        query = query.where(invoice.c.number.icontains(wanted.number, autoescape=True))
    match wanted.state:
        case "open":
            query = query.where(still_open)
        case "overdue":
            query = query.where(still_open, invoice.c.due_on < today)
        case "unapplied":
            query = query.where(unapplied)
        case "paid":
            query = query.where(not_(still_open), not_(unapplied))
    return query


async def lines(conn: AsyncConnection, invoice_id: InvoiceId) -> list[InvoiceLine]:
    query = select(invoice_line, invoice.c.currency).join(invoice, invoice.c.invoice_id == invoice_line.c.invoice_id)
    query = query.where(invoice_line.c.invoice_id == invoice_id).order_by(invoice_line.c.position)
    return [_line(row) for row in await conn.execute(query)]


async def numbers_of(conn: AsyncConnection, charges: Sequence[Charge]) -> list[str]:
    """Numbers of the documents that first billed what these charges correct, oldest first."""
    wanted = {(c.subscription_id, c.kind.value) for c in charges}
    line, since = invoice_line.c, min(c.first_on for c in charges)
    query = (
        select(invoice.c.number, line.subscription_id, line.kind, line.first_on, line.until_on)
        .join(invoice, invoice.c.invoice_id == line.invoice_id)
        .where(line.subscription_id.in_(sorted({i for i, _ in wanted})), ~line.adjustment, line.until_on > since)
        .order_by(invoice.c.issued_at, invoice.c.invoice_id)
    )
    found: dict[str, None] = {}
    for row in await conn.execute(query):
        about = [c for c in charges if (c.subscription_id, c.kind.value) == (row.subscription_id, row.kind)]
        if any(row.first_on < c.until_on and c.first_on < row.until_on for c in about):
            found[row.number] = None
    return list(found)


async def find_of_run(conn: AsyncConnection, bill_run_id: BillRunId) -> Invoice | None:
    """The one document of a run that makes one."""
    row = (await conn.execute(_invoices().where(invoice.c.bill_run_id == bill_run_id))).one_or_none()
    return _invoice(row) if row else None


async def get_line(conn: AsyncConnection, line_id: InvoiceLineId) -> InvoiceLine | None:
    query = select(invoice_line, invoice.c.currency).join(invoice, invoice.c.invoice_id == invoice_line.c.invoice_id)
    row = (await conn.execute(query.where(invoice_line.c.line_id == line_id))).one_or_none()
    return _line(row) if row else None


async def content(conn: AsyncConnection, invoice_id: InvoiceId) -> tuple[str, bytes] | None:
    """What the paper says, as it was written, and the digest it was issued with."""
    query = select(invoice.c.content, invoice.c.content_sha256).where(invoice.c.invoice_id == invoice_id)
    row = (await conn.execute(query)).one_or_none()
    return (row.content, row.content_sha256) if row else None


async def get_document(conn: AsyncConnection, invoice_id: InvoiceId) -> tuple[bytes, bytes] | None:
    """(PDF, digest) as first handed out."""
    row = (await conn.execute(select(document).where(document.c.invoice_id == invoice_id))).one_or_none()
    return (row.pdf, row.sha256) if row else None


async def add_document(conn: AsyncConnection, invoice_id: InvoiceId, sha256: bytes, pdf: bytes, now: datetime) -> None:
    await conn.execute(insert(document).values(invoice_id=invoice_id, sha256=sha256, pdf=pdf, rendered_at=now))


async def open_items(
    conn: AsyncConnection, account_ids: Iterable[str], currency: str
) -> dict[str, tuple[list[Open], list[Open]]]:
    """Per account: invoices not settled, and credits with a remainder, oldest first. Keys are "kind:id".

    What of a payment waits to go back is no credit.
    """
    ids = sorted(set(account_ids))
    found: dict[str, tuple[list[Open], list[Open]]] = {i: ([], []) for i in ids}
    # Of each document or payment by itself: sums by key would be of all that was ever settled, for each batch of a run.
    spent = _sum(allocation.c.amount_minor, allocation.c.invoice_id == invoice.c.invoice_id) - _sum(
        allocation.c.amount_minor, allocation.c.credit_note_id == invoice.c.invoice_id
    )
    documents = (
        select(invoice.c.account_id, invoice.c.invoice_id, (invoice.c.total_minor - spent).label("left"))
        .where(one_of(conn, invoice.c.account_id, ids), invoice.c.currency == currency)
        .where(invoice.c.total_minor != spent)
        .order_by(invoice.c.issued_at, invoice.c.invoice_id)
    )
    for row in await conn.execute(documents):
        invoices, credits = found[row.account_id]
        if row.left > 0:
            invoices.append(Open(f"invoice:{row.invoice_id}", int(row.left)))
        else:
            credits.append(Open(f"credit-note:{row.invoice_id}", -int(row.left)))
    used = _sum(allocation.c.amount_minor, allocation.c.payment_id == payment.c.payment_id)
    gone_back = _sum(payment_reversal.c.amount_minor, payment_reversal.c.payment_id == payment.c.payment_id)
    held = _sum(reservation.c.amount_minor, reservation.c.payment_id == payment.c.payment_id)
    left = payment.c.amount_minor - used - gone_back - held
    payments = (
        select(payment.c.account_id, payment.c.payment_id, left.label("left"))
        .where(one_of(conn, payment.c.account_id, ids), payment.c.currency == currency, left > 0)
        .order_by(payment.c.recorded_at, payment.c.payment_id)
    )
    for row in await conn.execute(payments):
        found[row.account_id][1].append(Open(f"payment:{row.payment_id}", int(row.left)))
    return found


async def add_allocations(
    conn: AsyncConnection, matched: Sequence[tuple[str, str, int]], now: datetime, applied_on: date
) -> None:
    """(invoice, credit, minor units), keys as in `open_items`."""
    rows = []
    for invoice_key, credit_key, minor in matched:
        kind, _, credit_id = credit_key.partition(":")
        rows.append(
            {
                "invoice_id": invoice_key.partition(":")[2],
                "payment_id": credit_id if kind == "payment" else None,
                "credit_note_id": credit_id if kind == "credit-note" else None,
                "amount_minor": minor,
                "at": now,
                "applied_on": applied_on,
            }
        )
    if rows:
        await conn.execute(insert(allocation), rows)


def _sum(amount: Any, wanted: Any) -> Any:
    """What the rows come to that belong to a row of the query around it."""
    return select(func.coalesce(func.sum(amount), 0)).where(wanted).scalar_subquery()


def _invoices() -> Select[Any]:
    columns = [c for c in invoice.c if c.name != "content"]
    return select(*columns, _allocated().label("allocated_minor"), _used().label("used_minor"))


def _used() -> Case[int]:
    """What of a credit note settles others, in minor units."""
    used = select(func.coalesce(func.sum(allocation.c.amount_minor), 0))
    used = used.where(allocation.c.credit_note_id == invoice.c.invoice_id).correlate(invoice)
    return case((invoice.c.total_minor < 0, used.scalar_subquery()), else_=0)


def _allocated() -> ScalarSelect[Any]:
    """What of an invoice is settled, in minor units."""
    settled = select(func.coalesce(func.sum(allocation.c.amount_minor), 0))
    return settled.where(allocation.c.invoice_id == invoice.c.invoice_id).correlate(invoice).scalar_subquery()


def _invoice(row: Row[Any]) -> Invoice:
    return Invoice(
        invoice_id=InvoiceId(row.invoice_id),
        entity_id=EntityId(row.entity_id),
        number=row.number,
        kind=row.kind,
        account_id=AccountId(row.account_id),
        customer_id=CustomerId(row.customer_id),
        bill_run_id=BillRunId(row.bill_run_id),
        issued_at=row.issued_at,
        issued_on=row.issued_on,
        due_on=row.due_on,
        net=Money(row.net_minor, row.currency),
        tax=Money(row.tax_minor, row.currency),
        total=Money(row.total_minor, row.currency),
        allocated_minor=int(row.allocated_minor),
        content_sha256=row.content_sha256,
        used_minor=int(row.used_minor),
    )


def _line(row: Row[Any]) -> InvoiceLine:
    return InvoiceLine(
        line_id=InvoiceLineId(row.line_id),
        invoice_id=InvoiceId(row.invoice_id),
        position=row.position,
        charge_id=ChargeId(row.charge_id),
        subscription_id=row.subscription_id,
        service_id=row.service_id,
        version_id=row.version_id,
        kind=row.kind,
        item=row.item,
        description=row.description,
        first_on=row.first_on,
        until_on=row.until_on,
        quantity=row.quantity,
        unit=row.unit,
        unit_price=row.unit_price,
        net=Money(row.net_minor, row.currency),
        tax_percent=row.tax_percent,
        tax=Money(row.tax_minor, row.currency),
        adjustment=row.adjustment,
        part=row.part,
        exemption=row.exemption,
        exemption_code=row.exemption_code,
        tax_category=row.tax_category,
        tax_included=row.tax_included,
        agreed_minor=row.agreed_minor,
        credits_line_id=row.credits_line_id,
    )


def parse_content(text: str) -> dict[str, Any]:
    """The stored content of a document."""
    parsed: dict[str, Any] = json.loads(text)
    return parsed

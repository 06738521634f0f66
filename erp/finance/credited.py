"""Rows of what was credited of lines, and of what of those credits was taken back: what of a line is left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import InvoiceId
from controller.domain.money import Money
from erp.finance import repository
from erp.finance.crediting import Creditable
from erp.finance.model import Levy
from erp.finance.tables import invoice, invoice_line, line_levy


async def creditable(conn: AsyncConnection, invoice_id: InvoiceId) -> list[Creditable]:
    """The lines of a document, with what of each was credited before and stands."""
    found = await repository.lines(conn, invoice_id)
    ids = [line.line_id for line in found]
    levies, roots = await _levies(conn, ids), await _roots(conn, ids)
    times: dict[str, int] = {}
    gone: dict[str, tuple[int, int, int]] = {}
    for line_id, count, some_net, some_tax, some_agreed in map(tuple, await _credited(conn, ids)):
        times[line_id] = times.get(line_id, 0) + count
        net, tax, agreed = gone.get(line_id, (0, 0, 0))
        gone[line_id] = (net + int(some_net), tax + int(some_tax), agreed + int(some_agreed))
    made = []
    for line in found:
        currency = line.net.currency
        back_net, back_tax, back_agreed = [Money(minor, currency) for minor in gone.get(line.line_id, (0, 0, 0))]
        own = tuple(levies.get((line.line_id, currency), ()))
        count = times.get(line.line_id, 0)
        made.append(Creditable(line, back_net, back_tax, back_agreed, count, own, roots.get(line.line_id, "")))
    return made


async def _credited(conn: AsyncConnection, line_ids: Sequence[str]) -> list[Row[Any]]:
    """(line, credits, net, tax, agreed) of credits of lines, and apart of what took those back."""
    credit, back = invoice_line.alias("credit"), invoice_line.alias("back")

    def sums(count: Any, of: Any) -> Select[Any]:
        amounts = [func.sum(of.c[name]) for name in ("net_minor", "tax_minor", "agreed_minor")]
        return select(credit.c.credits_line_id, count, *amounts)

    wanted, by = credit.c.credits_line_id.in_(line_ids), credit.c.credits_line_id
    direct = sums(func.count(), credit).where(wanted).group_by(by)
    undone = sums(literal(0), back).join_from(credit, back, back.c.credits_line_id == credit.c.line_id)
    return [*await conn.execute(direct), *await conn.execute(undone.where(wanted).group_by(by))]


async def taking_back(conn: AsyncConnection, invoice_id: InvoiceId) -> set[InvoiceId]:
    """Documents with a line that takes back one of this document."""
    back, own = invoice_line.alias("back"), invoice_line.alias("own")
    query = select(back.c.invoice_id).join(own, own.c.line_id == back.c.credits_line_id)
    return {InvoiceId(i) for i in await conn.scalars(query.where(own.c.invoice_id == invoice_id))}


async def taken_back(conn: AsyncConnection, notes: Collection[InvoiceId]) -> dict[InvoiceId, tuple[Money, InvoiceId]]:
    """Of credit notes what was taken back of each, with its tax, and the last document that did.

    That stays so: what takes back a credit is not credited itself.
    """
    back, own = invoice_line.alias("back"), invoice_line.alias("own")
    columns = (invoice.c.invoice_id, invoice.c.total_minor, invoice.c.currency, invoice.c.issued_at)
    query = (
        select(own.c.invoice_id.label("note_id"), *columns)
        .select_from(own)
        .join(back, back.c.credits_line_id == own.c.line_id)
        .join(invoice, invoice.c.invoice_id == back.c.invoice_id)
        .where(own.c.invoice_id.in_(sorted(notes)))
        .order_by(invoice.c.issued_at, invoice.c.invoice_id)
        .distinct()
    )
    found: dict[InvoiceId, tuple[Money, InvoiceId]] = {}
    for row in await conn.execute(query):
        before, _ = found.get(InvoiceId(row.note_id), (Money.zero(row.currency), None))
        found[InvoiceId(row.note_id)] = before + Money(row.total_minor, row.currency), InvoiceId(row.invoice_id)
    return found


async def _roots(conn: AsyncConnection, line_ids: Sequence[str]) -> dict[str, str]:
    """Of lines that take back a credit, the number of the document whose line was credited."""
    back, credit, first = invoice_line.alias("back"), invoice_line.alias("credit"), invoice_line.alias("first")
    query = (
        select(back.c.line_id, invoice.c.number)
        .join(credit, credit.c.line_id == back.c.credits_line_id)
        .join(first, first.c.line_id == credit.c.credits_line_id)
        .join(invoice, invoice.c.invoice_id == first.c.invoice_id)
    )
    return {row.line_id: row.number for row in await conn.execute(query.where(back.c.line_id.in_(line_ids)))}


async def _levies(conn: AsyncConnection, line_ids: Sequence[str]) -> dict[tuple[str, str], list[tuple[Levy, Money]]]:
    """(line, currency) → each levy of it, and what of that was credited."""
    own = select(line_levy, invoice.c.currency).join(invoice_line, invoice_line.c.line_id == line_levy.c.line_id)
    own = own.join(invoice, invoice.c.invoice_id == invoice_line.c.invoice_id)
    credit, undoing = invoice_line.alias("credit"), invoice_line.alias("undoing")
    direct = select(credit.c.credits_line_id, line_levy.c.code, line_levy.c.tax_minor).join(
        line_levy, line_levy.c.line_id == credit.c.line_id
    )
    undone = (
        select(credit.c.credits_line_id, line_levy.c.code, line_levy.c.tax_minor)
        .join(undoing, undoing.c.credits_line_id == credit.c.line_id)
        .join(line_levy, line_levy.c.line_id == undoing.c.line_id)
    )
    gone: dict[tuple[str, str], int] = {}
    for query in (direct, undone):
        for line_id, code, minor in await conn.execute(query.where(credit.c.credits_line_id.in_(line_ids))):
            gone[line_id, code] = gone.get((line_id, code), 0) + minor
    found: dict[tuple[str, str], list[tuple[Levy, Money]]] = {}
    for row in await conn.execute(own.where(line_levy.c.line_id.in_(line_ids)).order_by(line_levy.c.code)):
        tax, base = Money(row.tax_minor, row.currency), Money(row.base_minor, row.currency)
        levy = Levy(0, row.code, row.name, row.authority, tax, base, row.rate)
        before = Money(gone.get((row.line_id, row.code), 0), row.currency)
        found.setdefault((row.line_id, row.currency), []).append((levy, before))
    return found

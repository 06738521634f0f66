"""Streams the books as text, out of one look at the database, whatever their size."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import date, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.engine import Database
from erp.crm.model import Entity
from erp.finance import export as text
from erp.finance import ledger
from erp.finance.chart import Chart
from erp.finance.ledger import Span


async def export(database: Database, entity: Entity, form: str, span: Span) -> AsyncIterator[str]:
    """The text in pieces, each ended by a line break. `form` is beancount, ledger or csv."""
    async with database.read() as conn:
        chart = await ledger.chart(conn, entity.entity_id)
        async for piece in _WRITERS[form](conn, entity, chart, span):
            yield piece


async def _beancount(conn: AsyncConnection, entity: Entity, chart: Chart, span: Span) -> AsyncIterator[str]:
    first = last = None
    async for entries in ledger.in_order(conn, span):
        if first is None:
            first = entries[0].booked_on
            yield _lines(text.beancount_head(chart, entity.name, entity.currency, first))
        last = entries[-1].booked_on
        yield _lines(text.beancount(chart, entries))
    if first is None or last is None:
        yield _lines(text.beancount_head(chart, entity.name, entity.currency, date(1970, 1, 1)))
        return
    yield _lines(text.beancount_tail(chart, await ledger.balances(conn, span), last + timedelta(days=1)))


async def _ledger(conn: AsyncConnection, entity: Entity, chart: Chart, span: Span) -> AsyncIterator[str]:
    yield _lines(
        text.ledger_head(chart, [entity.currency, *(b.balance.currency for b in await ledger.balances(conn, span))])
    )
    async for entries in ledger.in_order(conn, span):
        yield _lines(text.ledger(chart, entries))


async def _csv(conn: AsyncConnection, _entity: Entity, chart: Chart, span: Span) -> AsyncIterator[str]:
    yield text.csv_row(*text.CSV_FIELDS) + "\r\n"
    async for entries in ledger.in_order(conn, span):
        yield "".join(f"{line}\r\n" for line in text.csv_lines(chart, entries))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


_WRITERS = {"beancount": _beancount, "ledger": _ledger, "csv": _csv}

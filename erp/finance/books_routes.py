"""The books over HTTP: accounts, entries, periods, statements, ageing and their export."""

from __future__ import annotations

import re
from datetime import date

from starlette.responses import Response, StreamingResponse

from controller.domain.errors import RuleError
from controller.domain.identity import EntityId
from controller.http.endpoint import Call, Endpoint, Page
from controller.http.models import MoneyOut
from controller.store.metadata import to_micros
from erp.finance.books import BooksService
from erp.finance.books_answers import (
    AccountIn,
    AccountOut,
    AgeingQuery,
    AsOfQuery,
    BookedPostingOut,
    ChartOut,
    EntityQuery,
    EntriesQuery,
    EntryIn,
    EntryOut,
    ExportQuery,
    IncomeQuery,
    PeriodChangeOut,
    PeriodIn,
    PeriodsOut,
    ReopenIn,
    ReversalIn,
    SpanQuery,
    month_of,
)
from erp.finance.chart import Account
from erp.finance.exporting import export
from erp.finance.statement_answers import (
    AgedOut,
    AgedTotalOut,
    AgedTotalsOut,
    BalanceSheetOut,
    BalanceSheetsOut,
    CashFlowOut,
    CashFlowsOut,
    IncomeOut,
    IncomeStatementsOut,
    OpenItemOut,
    OpenItemsOut,
    TrialBalanceOut,
)

_READ, _WRITE = "finance:read", "finance:write"
_MONTH = re.compile(r"(19[7-9]\d|20\d\d|21\d\d)-(0[1-9]|1[0-2])")
_TYPES = {"csv": "text/csv; charset=utf-8"}


def endpoints(books: BooksService) -> list[Endpoint]:
    return [
        *_accounts(books),
        *_entries(books),
        *_by_hand(books),
        *_statements(books),
        *_receivables(books),
        *_periods(books),
    ]


def _accounts(books: BooksService) -> list[Endpoint]:
    async def chart(call: Call) -> ChartOut:
        found = await books.chart(call.query_as(EntityQuery).entity)
        return ChartOut(accounts=[AccountOut.of(a, found) for a in found.accounts.values()])

    async def add(call: Call) -> AccountOut:
        body = call.body_as(AccountIn)
        entity_id = call.query_as(EntityQuery).entity
        made = Account(body.code, body.name, body.kind, body.parent)
        await books.add_account(made, actor=call.actor, entity_id=entity_id)
        return AccountOut.of(made, await books.chart(entity_id))

    async def postings(call: Call) -> Page:
        query = call.query_as(EntriesQuery)
        code = call.path["code"]
        entity = await books.entity(query.entity)
        (await books.chart(entity.entity_id)).account(code)
        found = await books.postings(
            code, query.span(entity.entity_id), after=query.last_key(int, str, int), limit=query.rows
        )
        return Page.of(found, query, lambda p: (p.booked_on.toordinal(), p.entry_id, p.line), BookedPostingOut.of)

    return [
        Endpoint("GET", "/ledger-accounts", _READ, chart, "The chart of accounts", query=EntityQuery, returns=ChartOut),
        Endpoint("POST", "/ledger-accounts", _WRITE, add, "Add an account to the chart", query=EntityQuery,
                 body=AccountIn, returns=AccountOut, status=201),
        Endpoint("GET", "/ledger-accounts/{code}/postings", _READ, postings,
                 "What was posted to an account, the last booked first", query=EntriesQuery, returns=BookedPostingOut,
                 paged=True),
    ]  # fmt: skip


def _entries(books: BooksService) -> list[Endpoint]:
    async def entries(call: Call) -> Page:
        query = call.query_as(EntriesQuery)
        entity = await books.entity(query.entity)
        found = await books.entries(query.span(entity.entity_id), after=query.last_key(int, str), limit=query.rows)
        return Page.of(found, query, lambda e: (to_micros(e.posted_at), e.entry_id), EntryOut.of)

    async def entry(call: Call) -> EntryOut:
        return EntryOut.of(await books.entry(call.path["entry_id"]))

    async def exported(call: Call) -> Response:
        query = call.query_as(ExportQuery)
        entity = await books.entity(query.entity)
        name = f"books-{entity.entity_id[-6:]}.{query.format}"
        return StreamingResponse(
            export(books.database, entity, query.format, query.span(entity.entity_id)),
            media_type=_TYPES.get(query.format, "text/plain; charset=utf-8"),
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    return [
        Endpoint("GET", "/journal-entries", _READ, entries, "The journal, newest first", query=EntriesQuery,
                 returns=EntryOut, paged=True),
        Endpoint("GET", "/journal-entries/{entry_id}", _READ, entry, "One entry with its postings", returns=EntryOut),
        Endpoint("GET", "/ledger-export", _READ, exported,
                 "Every entry, as text for beancount, ledger or a spreadsheet", query=ExportQuery,
                 media_type="text/plain", also=("text/csv",)),
    ]  # fmt: skip


def _by_hand(books: BooksService) -> list[Endpoint]:
    async def post(call: Call) -> EntryOut:
        body = call.body_as(EntryIn)
        made = await books.post(
            reference=body.reference,
            description=body.description,
            postings=[p.posting() for p in body.postings],
            booked_on=body.booked_on,
            actor=call.actor,
            entity_id=body.entity,
        )
        return EntryOut.of(made)

    async def reverse(call: Call) -> EntryOut:
        body = call.body_as(ReversalIn)
        return EntryOut.of(
            await books.reverse(call.path["entry_id"], reason=body.reason, booked_on=body.booked_on, actor=call.actor)
        )

    return [
        Endpoint("POST", "/journal-entries", _WRITE, post, "Book an entry by hand", body=EntryIn, returns=EntryOut,
                 status=201),
        Endpoint("POST", "/journal-entries/{entry_id}/reversal", _WRITE, reverse,
                 "Reverse an entry that was made by hand", body=ReversalIn, returns=EntryOut, status=201),
    ]  # fmt: skip


def _statements(books: BooksService) -> list[Endpoint]:
    async def trial_balance(call: Call) -> TrialBalanceOut:
        query = call.query_as(SpanQuery)
        entity = await books.entity(query.entity)
        return TrialBalanceOut.of(await books.trial_balance(query.span(entity.entity_id)))

    async def income(call: Call) -> IncomeStatementsOut:
        query = call.query_as(IncomeQuery)
        first, last = query.days(await books.today(query.entity))
        found = await books.income(first, last, query.entity)
        return IncomeStatementsOut(since=first, as_of=last, statements=[IncomeOut.of(s) for s in found])

    async def balance_sheet(call: Call) -> BalanceSheetsOut:
        query = call.query_as(AsOfQuery)
        day = await _day(books, query)
        found = await books.balance_sheet(day, query.entity)
        return BalanceSheetsOut(as_of=day, statements=[BalanceSheetOut.of(s) for s in found])

    async def cash_flow(call: Call) -> CashFlowsOut:
        query = call.query_as(IncomeQuery)
        first, last = query.days(await books.today(query.entity))
        found = await books.cash_flow(first, last, query.entity)
        return CashFlowsOut(since=first, as_of=last, statements=[CashFlowOut.of(s) for s in found])

    return [
        Endpoint("GET", "/cash-flow", _READ, cash_flow,
                 "What came into bank and cash on any days and what went, by what it was for", query=IncomeQuery,
                 returns=CashFlowsOut),
        Endpoint("GET", "/trial-balance", _READ, trial_balance, "Debits, credits and balance of every account",
                 query=SpanQuery, returns=TrialBalanceOut),
        Endpoint("GET", "/income-statement", _READ, income, "Profit and loss of any days, from postings",
                 query=IncomeQuery, returns=IncomeStatementsOut),
        Endpoint("GET", "/balance-sheet", _READ, balance_sheet,
                 "Assets, liabilities and equity at the end of any day, from postings", query=AsOfQuery,
                 returns=BalanceSheetsOut),
    ]  # fmt: skip


def _receivables(books: BooksService) -> list[Endpoint]:
    async def ageing(call: Call) -> Page:
        query = call.query_as(AgeingQuery)
        found = await books.ageing(
            await _day(books, query), after=query.last_key(str, str), limit=query.rows, entity_id=query.entity
        )
        return Page.of(found, query, lambda a: (a.account_id, a.currency), AgedOut.of)

    async def totals(call: Call) -> AgedTotalsOut:
        query = call.query_as(AsOfQuery)
        day = await _day(books, query)
        found = await books.aged_totals(day, query.entity)
        rows = [
            AgedTotalOut(**AgedOut.of(aged).model_dump(), ledger=MoneyOut.of(posted.balance)) for aged, posted in found
        ]
        return AgedTotalsOut(as_of=day, totals=rows)

    async def items(call: Call) -> OpenItemsOut:
        query = call.query_as(AsOfQuery)
        day = await _day(books, query)
        found = await books.open_items(call.path["account_id"], day, query.entity)
        return OpenItemsOut(as_of=day, items=[OpenItemOut.of(i, day) for i in found])

    return [
        Endpoint("GET", "/receivables", _READ, ageing, "What each account owed at the end of any day, by age",
                 query=AgeingQuery, returns=AgedOut, paged=True),
        Endpoint("GET", "/receivables-totals", _READ, totals,
                 "What everybody owed at the end of any day, and the ledger's account beside it", query=AsOfQuery,
                 returns=AgedTotalsOut),
        Endpoint("GET", "/receivables/{account_id}", _READ, items, "The open items of an account at the end of any day",
                 query=AsOfQuery, returns=OpenItemsOut),
    ]  # fmt: skip


def _periods(books: BooksService) -> list[Endpoint]:
    async def periods(call: Call) -> PeriodsOut:
        return await _state(call.query_as(EntityQuery).entity)

    async def close(call: Call) -> PeriodsOut:
        body = call.body_as(PeriodIn)
        _, until = _month(call)
        await books.close(until, actor=call.actor, reason=body.reason, entity_id=body.entity)
        return await _state(body.entity)

    async def reopen(call: Call) -> PeriodsOut:
        body = call.body_as(ReopenIn)
        since, _ = _month(call)
        await books.reopen(since, actor=call.actor, reason=body.reason, entity_id=body.entity)
        return await _state(body.entity)

    async def _state(entity_id: EntityId | None) -> PeriodsOut:
        changes = await books.period_changes(entity_id)
        return PeriodsOut(
            closed_until=await books.closed_until(entity_id), changes=[PeriodChangeOut.of(c) for c in changes]
        )

    return [
        Endpoint("GET", "/ledger-periods", _READ, periods,
                 "Up to which day the books are closed, and who closed and reopened them", query=EntityQuery,
                 returns=PeriodsOut),
        Endpoint("POST", "/ledger-periods/{month}/close", _WRITE, close,
                 "Close a month (2026-10) and every one before it", body=PeriodIn, returns=PeriodsOut),
        Endpoint("POST", "/ledger-periods/{month}/reopen", _WRITE, reopen, "Reopen a month and every one after it",
                 body=ReopenIn, returns=PeriodsOut),
    ]  # fmt: skip


async def _day(books: BooksService, query: AsOfQuery) -> date:
    return query.as_of or await books.today(query.entity)


def _month(call: Call) -> tuple[date, date]:
    text = call.path["month"]
    if not _MONTH.fullmatch(text):
        raise RuleError(f"{text[:20]!r} is no month, such as 2026-10", code="month")
    return month_of(text)

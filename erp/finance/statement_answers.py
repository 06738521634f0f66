"""Trial balance, statements and receivables as the books answer them over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from controller.domain.money import Money
from controller.http.models import MoneyOut, Out
from erp.finance.journal import AccountBalance
from erp.finance.receivables import Aged, OpenItem
from erp.finance.statements import BalanceSheet, CashFlow, IncomeStatement, Row, Section


class AccountBalanceOut(Out):
    entity_id: str
    code: str
    name: str
    kind: str
    debit: MoneyOut
    credit: MoneyOut
    balance: MoneyOut

    @classmethod
    def of(cls, found: AccountBalance) -> AccountBalanceOut:
        return cls(
            entity_id=found.entity_id,
            code=found.code,
            name=found.name,
            kind=found.kind,
            debit=MoneyOut.of(found.debit),
            credit=MoneyOut.of(found.credit),
            balance=MoneyOut.of(found.balance),
        )


class TrialBalanceOut(Out):
    """`totals` are the sums of all balances per currency: zero, or the books are broken."""

    accounts: list[AccountBalanceOut]
    totals: list[MoneyOut]

    @classmethod
    def of(cls, found: Sequence[AccountBalance]) -> TrialBalanceOut:
        totals: dict[str, Money] = {}
        for account in found:
            currency = account.balance.currency
            totals[currency] = totals.get(currency, Money.zero(currency)) + account.balance
        return cls(
            accounts=[AccountBalanceOut.of(account) for account in found],
            totals=[MoneyOut.of(m) for m in totals.values()],
        )


class StatementRowOut(Out):
    """`depth` is how many headings stand above."""

    code: str
    name: str
    depth: int
    heading: bool
    amount: MoneyOut


class SectionOut(Out):
    kind: str
    rows: list[StatementRowOut]
    total: MoneyOut

    @classmethod
    def of(cls, found: Section) -> SectionOut:
        rows = [
            StatementRowOut(code=r.code, name=r.name, depth=r.depth, heading=r.heading, amount=MoneyOut.of(r.amount))
            for r in found.rows
        ]
        return cls(kind=found.kind, rows=rows, total=MoneyOut.of(found.total))


class IncomeOut(Out):
    """Profit and loss in one currency."""

    currency: str
    revenue: SectionOut
    expense: SectionOut
    result: MoneyOut

    @classmethod
    def of(cls, found: IncomeStatement) -> IncomeOut:
        return cls(
            currency=found.currency,
            revenue=SectionOut.of(found.revenue),
            expense=SectionOut.of(found.expense),
            result=MoneyOut.of(found.result),
        )


class IncomeStatementsOut(Out):
    since: date
    as_of: date
    statements: list[IncomeOut]


class BalanceSheetOut(Out):
    """One currency. The results of earlier years and of this one stand beside equity; `difference` is zero."""

    currency: str
    assets: SectionOut
    liabilities: SectionOut
    equity: SectionOut
    earlier_results: MoneyOut
    result_of_the_year: MoneyOut
    difference: MoneyOut

    @classmethod
    def of(cls, found: BalanceSheet) -> BalanceSheetOut:
        return cls(
            currency=found.currency,
            assets=SectionOut.of(found.assets),
            liabilities=SectionOut.of(found.liabilities),
            equity=SectionOut.of(found.equity),
            earlier_results=MoneyOut.of(found.earlier),
            result_of_the_year=MoneyOut.of(found.current),
            difference=MoneyOut.of(found.difference),
        )


class BalanceSheetsOut(Out):
    as_of: date
    statements: list[BalanceSheetOut]


class AgedOut(Out):
    """What an account owes by the days since it was due, and its credits that settle nothing yet (negative)."""

    account_id: str
    not_due: MoneyOut
    days_1_30: MoneyOut
    days_31_60: MoneyOut
    days_61_90: MoneyOut
    days_over_90: MoneyOut
    unapplied: MoneyOut
    total: MoneyOut

    @classmethod
    def of(cls, found: Aged) -> AgedOut:
        not_due, first, second, third, more = (MoneyOut.of(m) for m in found.buckets)
        return cls(
            account_id=found.account_id,
            not_due=not_due,
            days_1_30=first,
            days_31_60=second,
            days_61_90=third,
            days_over_90=more,
            unapplied=MoneyOut.of(found.unapplied),
            total=MoneyOut.of(found.total),
        )


class AgedTotalOut(AgedOut):
    """`ledger` is the balance of the receivables account: `total`, or the subledger is broken."""

    ledger: MoneyOut


class AgedTotalsOut(Out):
    as_of: date
    totals: list[AgedTotalOut]


class OpenItemOut(Out):
    """An invoice, a credit note or a payment. Credits are negative."""

    kind: str
    item_id: str
    number: str
    on: date
    due_on: date | None
    days_over: int
    amount: MoneyOut
    open: MoneyOut

    @classmethod
    def of(cls, found: OpenItem, as_of: date) -> OpenItemOut:
        return cls(
            kind=found.kind,
            item_id=found.item_id,
            number=found.number,
            on=found.on,
            due_on=found.due_on,
            days_over=found.days_over(as_of),
            amount=MoneyOut.of(found.amount),
            open=MoneyOut.of(found.open),
        )


class OpenItemsOut(Out):
    as_of: date
    items: list[OpenItemOut]


class CashRowOut(Out):
    """The other side of what moved cash: positive came in, negative went out."""

    code: str
    name: str
    amount: MoneyOut

    @classmethod
    def of(cls, found: Row) -> CashRowOut:
        return cls(code=found.code, name=found.name, amount=MoneyOut.of(found.amount))


class CashFlowOut(Out):
    """One currency, by the direct method. `difference` is zero, or the books are broken."""

    currency: str
    opening: MoneyOut
    operating: list[CashRowOut]
    investing: list[CashRowOut]
    financing: list[CashRowOut]
    change: MoneyOut
    closing: MoneyOut
    difference: MoneyOut

    @classmethod
    def of(cls, found: CashFlow) -> CashFlowOut:
        return cls(
            currency=found.currency,
            opening=MoneyOut.of(found.opening),
            operating=[CashRowOut.of(r) for r in found.operating],
            investing=[CashRowOut.of(r) for r in found.investing],
            financing=[CashRowOut.of(r) for r in found.financing],
            change=MoneyOut.of(found.change),
            closing=MoneyOut.of(found.closing),
            difference=MoneyOut.of(found.difference),
        )


class CashFlowsOut(Out):
    since: date
    as_of: date
    statements: list[CashFlowOut]

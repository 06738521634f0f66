"""Profit and loss, and balance sheet, out of what accounts amount to and nothing else. Pure.

    profit and loss  [since, until)    revenue − expense = result
    cash flow        [since, until)    cash before + what came − what went = cash after, by what it was for
    balance sheet    before `until`    assets = liabilities + equity + results not yet carried to equity

Nothing is closed into equity at the end of a year: the balance sheet adds the results of earlier years and of this one
up by itself, so that a statement of any past day is what it was when that day ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.domain.money import Money
from erp.finance.chart import Account, Chart
from erp.finance.journal import AccountBalance

Minor = Mapping[tuple[str, str], int]
"""(currency, code) → what was posted, debit positive."""


@dataclass(frozen=True, slots=True)
class Row:
    """An account or a heading in a statement. `amount` is positive where the account grew the way its kind grows."""

    code: str
    name: str
    depth: int
    heading: bool
    amount: Money


@dataclass(frozen=True, slots=True)
class Section:
    """All of one kind. `total` counts each posted account once."""

    kind: str
    rows: tuple[Row, ...]
    total: Money


@dataclass(frozen=True, slots=True)
class IncomeStatement:
    currency: str
    revenue: Section
    expense: Section

    @property
    def result(self) -> Money:
        return self.revenue.total - self.expense.total


@dataclass(frozen=True, slots=True)
class BalanceSheet:
    """`earlier` and `current` are the results of the years before and of the year of the day, up to it."""

    currency: str
    assets: Section
    liabilities: Section
    equity: Section
    earlier: Money
    current: Money

    @property
    def difference(self) -> Money:
        """Zero, or the books are broken."""
        others = self.liabilities.total + self.equity.total + self.earlier + self.current
        return self.assets.total - others


@dataclass(frozen=True, slots=True)
class CashFlow:
    """The direct method: what entries that moved cash had on their other side. Positive came in, negative went out."""

    currency: str
    opening: Money
    operating: tuple[Row, ...]
    investing: tuple[Row, ...]
    financing: tuple[Row, ...]
    closing: Money

    @property
    def change(self) -> Money:
        return sum((r.amount for r in (*self.operating, *self.investing, *self.financing)), Money.zero(self.currency))

    @property
    def difference(self) -> Money:
        """Zero, or the books are broken."""
        return self.closing - self.opening - self.change


_FIXED_ASSETS = "0"
"""Heading of what is bought to be kept."""


def cash_flows(
    chart: Chart,
    cash: Collection[str],
    before: Iterable[AccountBalance],
    after: Iterable[AccountBalance],
    others: Iterable[AccountBalance],
) -> list[CashFlow]:
    """One for each currency. `others` are the other sides of the entries that moved the accounts `cash`."""
    opening, closing, moved = _by_currency(before), _by_currency(after), _by_currency(others)

    def held(minor: Minor, currency: str) -> Money:
        return Money(sum(m for (c, code), m in minor.items() if c == currency and code in cash), currency)

    def rows(currency: str, activity: str) -> tuple[Row, ...]:
        return tuple(
            Row(code, chart.account(code).name, 0, False, Money(-minor, currency))
            for (c, code), minor in sorted(moved.items())
            if c == currency and minor and _activity(chart, code) == activity
        )

    currencies = sorted({c for c, code in {**opening, **closing} if code in cash} | {c for c, _ in moved})
    return [
        CashFlow(
            currency,
            held(opening, currency),
            rows(currency, "operating"),
            rows(currency, "investing"),
            rows(currency, "financing"),
            held(closing, currency),
        )
        for currency in currencies
    ]


def _activity(chart: Chart, code: str) -> str:
    """IAS 7: equity is financing, fixed assets are investing, everything else is operating."""
    account = chart.account(code)
    if account.kind == "equity":
        return "financing"
    return "investing" if chart.path(code)[0].code == _FIXED_ASSETS else "operating"


def income_statements(chart: Chart, posted: Iterable[AccountBalance]) -> list[IncomeStatement]:
    """One for each currency that was posted in."""
    minor = _by_currency(posted)
    return [
        IncomeStatement(
            currency, section(chart, "revenue", currency, minor), section(chart, "expense", currency, minor)
        )
        for currency in _currencies(minor)
    ]


def balance_sheets(
    chart: Chart, before_this_year: Iterable[AccountBalance], until_now: Iterable[AccountBalance]
) -> list[BalanceSheet]:
    """One for each currency. `until_now` is all there is, `before_this_year` what of it is of earlier years."""
    earlier, minor = _by_currency(before_this_year), _by_currency(until_now)
    sheets = []
    for currency in _currencies(minor):
        carried, result = _result(chart, currency, earlier), _result(chart, currency, minor)
        sheets.append(
            BalanceSheet(
                currency,
                section(chart, "asset", currency, minor),
                section(chart, "liability", currency, minor),
                section(chart, "equity", currency, minor),
                carried,
                result - carried,
            )
        )
    return sheets


def section(chart: Chart, kind: str, currency: str, minor: Minor) -> Section:
    """The tree of one kind, headings added up; what was never posted to is left out."""
    sign = 1 if kind in ("asset", "expense") else -1
    own = {code: sign * amount for (c, code), amount in minor.items() if c == currency}
    wanted = [a for a in chart.accounts.values() if a.kind == kind]
    used = {above.code for a in wanted if a.code in own for above in chart.path(a.code)}
    tree = _tree([a for a in wanted if a.code in used])
    rows = tuple(
        Row(
            account.code,
            account.name,
            depth,
            account.code in chart.headings,
            Money(_sum_below(chart, account, own), currency),
        )
        for account, depth in tree
    )
    return Section(kind, rows, Money(sum(own.get(a.code, 0) for a in wanted), currency))


def _tree(accounts: Sequence[Account]) -> list[tuple[Account, int]]:
    """Each account below its heading, in order of codes, with its depth."""
    known = {a.code for a in accounts}
    below: dict[str | None, list[Account]] = {}
    for account in accounts:
        below.setdefault(account.parent if account.parent in known else None, []).append(account)
    found: list[tuple[Account, int]] = []

    def walk(parent: str | None, depth: int) -> None:
        for account in sorted(below.get(parent, ()), key=lambda a: a.code):
            found.append((account, depth))
            walk(account.code, depth + 1)

    walk(None, 0)
    return found


def _sum_below(chart: Chart, top: Account, own: Mapping[str, int]) -> int:
    return sum(amount for code, amount in own.items() if top in chart.path(code))


def _result(chart: Chart, currency: str, minor: Minor) -> Money:
    revenue, expense = section(chart, "revenue", currency, minor), section(chart, "expense", currency, minor)
    return revenue.total - expense.total


def _by_currency(posted: Iterable[AccountBalance]) -> Minor:
    found: dict[tuple[str, str], int] = {}
    for line in posted:
        key = (line.balance.currency, line.code)
        found[key] = found.get(key, 0) + line.balance.minor
    return found


def _currencies(minor: Minor) -> list[str]:
    return sorted({currency for currency, _ in minor})

"""The books as text of other accounting programs: beancount, ledger and CSV. Pure: entries in, lines out.

Every posting is written, none is summed; at the end beancount is told what each account must amount to, so that a file
that lost a line does not pass `bean-check`. Text of customers is written as text: neither a quote nor a line break nor
a spreadsheet formula gets out of its field.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from controller.domain.money import Money
from erp.finance.chart import Chart
from erp.finance.journal import AccountBalance, Entry

_ROOT = {
    "asset": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "revenue": "Income",
    "expense": "Expenses",
}
CSV_FIELDS = (
    "entry_id", "line", "booked_on", "regards_on", "posted_at", "description", "source", "code", "account", "kind",
    "currency", "debit", "credit",
)  # fmt: skip


def beancount_head(chart: Chart, title: str, currency: str, first_on: date) -> Iterator[str]:
    """Options, and every account opened on the day of the first entry."""
    yield f'option "title" {_quoted(title)}'
    yield f'option "operating_currency" "{currency}"'
    yield ""
    for code in chart.accounts:
        if code not in chart.headings:
            yield f"{first_on} open {account_name(chart, code)}"


def beancount(chart: Chart, entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield ""
        yield f"{entry.booked_on} * {_quoted(entry.description)}"
        yield f'  entry: "{entry.entry_id}"'
        yield f"  source: {_quoted(entry.source)}"
        if entry.regards_on is not None:
            yield f"  regards: {entry.regards_on}"
        for posting in entry.postings:
            yield f"  {account_name(chart, posting.code)}  {_amount(posting.amount)}"


def beancount_tail(chart: Chart, balances: Sequence[AccountBalance], until: date) -> Iterator[str]:
    """What each account amounts to at the beginning of `until`, the day after the last."""
    yield ""
    for line in balances:
        yield f"{until} balance {account_name(chart, line.code)}  {_amount(line.balance)}"


def ledger_head(chart: Chart, currencies: Iterable[str]) -> Iterator[str]:
    """Declarations, for who runs ledger with --pedantic."""
    for currency in sorted(set(currencies)):
        yield f"commodity {currency}"
    yield from ("tag source", "tag regards")
    for code in chart.accounts:
        if code not in chart.headings:
            yield f"account {account_name(chart, code)}"


def ledger(chart: Chart, entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield ""
        yield f"{entry.booked_on:%Y/%m/%d} * ({entry.entry_id}) {_plain(entry.description)}"
        yield f"    ; source: {_plain(entry.source)}"
        if entry.regards_on is not None:
            yield f"    ; regards: {entry.regards_on}"
        for posting in entry.postings:
            yield f"    {account_name(chart, posting.code)}  {_amount(posting.amount)}"


def csv_lines(chart: Chart, entries: Iterable[Entry]) -> Iterator[str]:
    """A row for each posting, without the head (CSV_FIELDS)."""
    for entry in entries:
        for number, posting in enumerate(entry.postings, 1):
            debit, credit = max(0, posting.amount.minor), max(0, -posting.amount.minor)
            account = chart.account(posting.code)
            yield csv_row(
                entry.entry_id,
                number,
                entry.booked_on,
                entry.regards_on or "",
                entry.posted_at.isoformat(),
                entry.description,
                entry.source,
                posting.code,
                account.name,
                account.kind,
                posting.amount.currency,
                Money(debit, posting.amount.currency).amount,
                Money(credit, posting.amount.currency).amount,
            )


def csv_row(*cells: object) -> str:
    """One line of RFC 4180 without its end. An apostrophe goes before what a spreadsheet would compute."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"'{cell}" if _is_formula(cell) else cell for cell in cells])
    return out.getvalue()


def _is_formula(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def account_name(chart: Chart, code: str) -> str:
    """Income:4-Revenue:4400-Revenue-recurring-fees: unique by its code, of letters that both programs take."""
    path = chart.path(code)
    return ":".join([_ROOT[path[-1].kind], *(f"{a.code}-{_word(a.name)}" for a in path)])


def _word(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-") or "account"


def _amount(money: Money) -> str:
    return f"{money.amount} {money.currency}"


def _plain(text: str) -> str:
    """One line; two blanks or a semicolon would begin a note in ledger."""
    shown = "".join(" " if unicodedata.category(c).startswith(("C", "Z")) else c for c in text)
    return re.sub(r"\s+", " ", shown).replace(";", ",").strip() or "-"


def _quoted(text: str) -> str:
    return '"' + _plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'

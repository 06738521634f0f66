"""The exported books are read by the programs they are for, and these find what our trial balance says."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from controller.domain.money import Money
from erp.finance.exporting import export
from erp.finance.journal import Posting
from erp.finance.ledger import Span
from tests.support.finance import Books

HOSTILE = '=1+1 "quoted" \\ ; tag:  x\nnext: line\té 漢'


async def written(books: Books, form: str) -> str:
    """A payment with a reference out of hell, an invoice, and yen, which have no minor unit."""
    account = await books.account()
    await books.issue(account, "30.00", "-12.34")
    await books.pay(account, "80.00", HOSTILE[:30])
    await books.books.post(
        reference="yen",
        description=HOSTILE,
        postings=[Posting("1800", Money(5000, "JPY")), Posting("2900", Money(-5000, "JPY"))],
        booked_on=None,
        actor="user:test",
    )
    entity = await books.crm.entity()
    return "".join([piece async for piece in export(books.database, entity, form, Span(entity.entity_id))])


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)


def bean_check(path: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "beancount.scripts.check", path)


async def test_bean_check_accepts_the_export_and_misses_every_line_that_is_gone(books: Books, tmp_path: Path) -> None:
    text = await written(books, "beancount")
    path = tmp_path / "books.beancount"
    path.write_text(text)
    checked = bean_check(path)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    path.write_text(text.replace("  80.00 EUR", "  81.00 EUR").replace("  -80.00 EUR", "  -81.00 EUR"))
    assert "Balance failed" in bean_check(path).stderr


async def test_ledger_adds_up_what_our_trial_balance_says(books: Books, tmp_path: Path) -> None:
    if shutil.which("ledger") is None:
        pytest.skip("ledger is not installed: apt-get install ledger")
    path = tmp_path / "books.ledger"
    path.write_text(await written(books, "ledger"))
    found = run("ledger", "--pedantic", "-f", path, "--flat", "--format", "%(account)|%(amount)\n", "balance")
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    theirs = {}
    for line in found.stdout.splitlines():
        account, _, amount = line.partition("|")
        if account.count(":") == 2:
            theirs[account.rpartition(":")[2].partition("-")[0]] = amount
    ours = {b.code: str(b.balance) for b in await books.books.trial_balance() if b.balance and b.code != "1800"}
    assert {code: theirs[code] for code in ours} == ours


async def test_csv_holds_every_posting_and_no_formula(books: Books) -> None:
    rows = list(csv.DictReader(io.StringIO(await written(books, "csv"))))
    for currency, postings in (("EUR", 5), ("JPY", 2)):
        mine = [r for r in rows if r["currency"] == currency]
        assert len(mine) == postings
        assert sum(Decimal(r["debit"]) - Decimal(r["credit"]) for r in mine) == 0
    assert {r["description"][:3] for r in rows if r["source"] == "manual:yen"} == {"'=1"}

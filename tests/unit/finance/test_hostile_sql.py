"""Whoever has a session on the database cannot rewrite the books: every table of documents and money refuses it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from controller.app.schema import metadata
from controller.domain.identity import BillRunId, new_id
from controller.store.engine import Database
from erp.finance.levies import LevyRule
from tests.support.finance import NOW, Books

OPEN = {"finance_account", "finance_series", "finance_zero", "finance_balance", "finance_adjustment_due"}
"""The chart grows, series count, two are SQLite's own check, kept by triggers, and what is due is no document yet."""
FROZEN = sorted(name for name in metadata.tables if name.startswith("finance_") and name not in OPEN)


async def attempt(database: Database, statement: str) -> str:
    """What the database says; "" where it lets it pass."""
    try:
        async with database.begin() as conn:
            await conn.execute(text(statement))
    except DBAPIError as error:
        return str(error.orig)
    return ""


@pytest.mark.parametrize("name", FROZEN)
async def test_no_table_of_money_can_be_rewritten(database: Database, name: str) -> None:
    if database.is_sqlite:  # its triggers are for each row: that they are there is all that an empty table can show
        query = f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{name}'"
        async with database.read() as conn:
            found = set(await conn.scalars(text(query)))
        assert {f"{name}_no_{verb}" for verb in ("update", "delete", "replace")} <= found
        return
    column = metadata.tables[name].columns[0].name
    for statement in (
        f"UPDATE {name} SET {column} = {column}",
        f"DELETE FROM {name}",
        f"TRUNCATE {name} CASCADE",
    ):
        assert "never changed or deleted" in await attempt(database, statement), statement


async def test_a_session_that_tries_everything_leaves_the_books_as_they_were(books: Books) -> None:
    account = await books.account()
    rule = LevyRule(code="fusf", name="USF", authority="FCC", area="", since=NOW.date(), per_line=Decimal(1))
    await books.tax.add_levy_rule(rule, actor="user:anna")
    (made,) = await books.finance.issue(BillRunId(new_id(NOW)), [books.charge(account)])
    await books.pay(account, "36.70", "t1")
    (line,) = await books.finance.lines(made)
    before = await books.finance.content(made)
    for statement in (
        f"UPDATE finance_invoice SET total_minor = 1, net_minor = 1, tax_minor = 0 WHERE invoice_id = '{made}'",
        f"UPDATE finance_invoice SET content = '{{}}' WHERE invoice_id = '{made}'",
        f"UPDATE finance_invoice_line SET agreed_minor = 1 WHERE line_id = '{line.line_id}'",
        f"UPDATE finance_invoice_line SET credits_line_id = line_id WHERE line_id = '{line.line_id}'",
        f"DELETE FROM finance_line_levy WHERE line_id = '{line.line_id}'",
        "UPDATE finance_levy_rule SET per_line = '0'",
        "UPDATE finance_payment SET amount_minor = 1",
        "DELETE FROM finance_allocation",
        "UPDATE finance_posting SET amount_minor = -amount_minor",
        "UPDATE finance_posting SET code = '4400'",
        "UPDATE finance_journal_entry SET booked_on = '2020-01-01'",
        "DELETE FROM finance_journal_entry",
        f"INSERT INTO finance_invoice SELECT * FROM finance_invoice WHERE invoice_id = '{made}'",
    ):
        assert await attempt(books.database, statement), statement
    assert await books.finance.content(made) == before
    assert {b.code: b.balance.minor for b in await books.books.trial_balance() if b.balance} == {
        "1800": 3670, "4400": -3000, "3806": -570, "3810": -100,
    }  # fmt: skip

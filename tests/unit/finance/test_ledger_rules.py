"""What the database itself refuses, on SQLite and on PostgreSQL: unbalanced entries, and changes of posted rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.identity import EntityId
from controller.store.engine import Database
from erp.finance import ledger
from erp.finance.journal_tables import balance, journal_entry, posting

ENTITY = EntityId("e" * 32)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def write(conn: AsyncConnection, entry_id: str, *amounts: int, announced: int | None = None) -> None:
    await ledger.ensure_chart(conn, ENTITY)
    await conn.execute(
        insert(journal_entry).values(
            entry_id=entry_id,
            entity_id=ENTITY,
            posted_at=NOW,
            booked_on=date(2026, 11, 1),
            description="test",
            source=f"test:{entry_id}",
            postings=len(amounts) if announced is None else announced,
        )
    )
    for n, amount in enumerate(amounts, 1):
        await conn.execute(insert(posting).values(line(entry_id, n, amount)))


def line(entry_id: str, n: int, amount: int, currency: str = "EUR") -> dict[str, Any]:
    return {
        "entry_id": entry_id,
        "line": n,
        "entity_id": ENTITY,
        "booked_on": date(2026, 11, 1),
        "code": "1200",
        "currency": currency,
        "amount_minor": amount,
    }


async def entries(database: Database) -> list[str]:
    async with database.read() as conn:
        return list(await conn.scalars(select(journal_entry.c.entry_id)))


async def test_balanced_entry_is_committed(database: Database) -> None:
    async with database.begin() as conn:
        await write(conn, "a", 119, -100, -19)
    assert await entries(database) == ["a"]


async def test_unbalanced_entry_is_refused_at_commit(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await write(conn, "a", 119, -100)
    assert await entries(database) == []


async def test_entry_that_balances_only_across_currencies_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await write(conn, "a", 100, announced=2)
            await conn.execute(insert(posting).values(line("a", 2, -100, "USD")))
    assert await entries(database) == []


async def test_entry_without_its_postings_is_refused(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await write(conn, "a", announced=2)
    assert await entries(database) == []


async def test_balanced_postings_cannot_be_added_to_an_entry_later(database: Database) -> None:
    async with database.begin() as conn:
        await write(conn, "a", 100, -100)
    with pytest.raises(IntegrityError):
        async with database.begin() as conn:
            await conn.execute(insert(posting).values(line("a", 3, 50)))
            await conn.execute(insert(posting).values(line("a", 4, -50)))


async def test_postings_cannot_be_added_to_an_entry_that_the_transaction_does_not_see(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time, who sees what is there")
    async with database.engine.connect() as old:
        await old.execution_options(isolation_level="REPEATABLE READ")
        await old.execute(select(journal_entry))
        async with database.begin() as conn:
            await write(conn, "a", 100, -100)
        with pytest.raises(IntegrityError):
            await old.execute(insert(posting).values(line("a", 3, 7)))
        await old.rollback()


async def test_posted_rows_are_neither_changed_nor_deleted(database: Database) -> None:
    async with database.begin() as conn:
        await write(conn, "a", 100, -100)
    for statement in (
        "UPDATE finance_posting SET amount_minor = 1",
        "DELETE FROM finance_posting",
        "UPDATE finance_journal_entry SET description = 'x'",
        "DELETE FROM finance_journal_entry",
    ):
        with pytest.raises(DBAPIError, match="never changed or deleted"):
            async with database.begin() as conn:
                await conn.execute(text(statement))


async def test_sqlite_replace_does_not_pass_for_an_insert(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("REPLACE is SQLite's")
    async with database.begin() as conn:
        await write(conn, "a", 100, -100)
    with pytest.raises(IntegrityError, match="never changed or deleted"):
        async with database.begin() as conn:
            await conn.execute(insert(posting).prefix_with("OR REPLACE").values(line("a", 1, 70)))


async def test_sqlite_balance_cannot_be_written_by_hand(database: Database) -> None:
    if not database.is_sqlite:
        pytest.skip("the balance table serves SQLite")
    with pytest.raises(DBAPIError, match="kept by triggers only"):
        async with database.begin() as conn:
            await write(conn, "a", 100, announced=2)
            await conn.execute(balance.update().values(amount=0))
    with pytest.raises(DBAPIError, match="kept by triggers only"):
        async with database.begin() as conn:
            await write(conn, "b", 100, announced=2)
            await conn.execute(balance.delete())


@pytest.mark.parametrize("first", ["finance_journal_entry", "finance_posting"])
async def test_sqlite_takes_no_postings_from_a_connection_without_foreign_keys(database: Database, first: str) -> None:
    """Whoever opens the file with another program has them off; COMMIT would take what does not balance."""
    if not database.is_sqlite:
        pytest.skip("foreign keys cannot be off on PostgreSQL")
    async with database.begin() as conn:
        await write(conn, "a", 100, -100)
    with closing(sqlite3.connect(str(database.url.database))) as other:
        columns = ", ".join(row[1] for row in other.execute(f"PRAGMA table_info({first})"))
        copied = columns.replace("entry_id", "'b'").replace("source", "'test:b'")
        with pytest.raises(sqlite3.IntegrityError, match="PRAGMA foreign_keys=ON first"):
            other.execute(f"INSERT INTO {first} ({columns}) SELECT {copied} FROM {first} LIMIT 1")
        other.rollback()
        other.execute("PRAGMA foreign_keys=ON")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            other.execute(f"INSERT INTO {first} ({columns}) SELECT {copied} FROM {first} LIMIT 1")
            other.commit()
    assert await entries(database) == ["a"]


async def test_truncate_is_refused_on_postgresql(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises(DBAPIError, match="never changed or deleted"):
        async with database.begin() as conn:
            await conn.execute(text("TRUNCATE finance_posting, finance_journal_entry CASCADE"))

"""Many rows in few statements: whatever a value looks like, it comes back as it went in, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DataError

from billing_bridge.tables import suspense, usage_interval
from collectors.tables import session
from controller.store.engine import Database
from controller.store.many import by_keys, insert_rows, one_of, replacing

T0 = datetime(2026, 5, 1, 12, 30, 15, 123_456, tzinfo=UTC)
SUSPENSE = ("reason", "state", "username", "nas_id", "since", "until", "upstream_octets", "downstream_octets",
            "record_ids", "entered_at")  # fmt: skip
INTERVAL = tuple(column.name for column in usage_interval.columns)
SESSION = tuple(column.name for column in session.columns)


@pytest.mark.parametrize("username", ["plain", "NULL", "", ' "{a,b}\\" ', "tab\tand\nline", "ä\N{SNOWMAN}", "%s ? :x"])
async def test_text_comes_back_as_it_went_in(database: Database, username: str) -> None:
    row = ("reason", "open", username, "nas", T0, T0 + timedelta(hours=1), 2**62, 0, "1,2", T0)
    async with database.begin() as conn:
        await insert_rows(conn, suspense, SUSPENSE, [row])
    async with database.read() as conn:
        stored = (await conn.execute(select(*(suspense.c[name] for name in SUSPENSE)))).one()
    assert tuple(stored) == row


@pytest.mark.parametrize("count", [0, 1, 7, 8, 49, 459, 1000])
async def test_every_row_arrives_however_many_there_are(database: Database, count: int) -> None:
    rows = [
        (n, f"service {n}", date(2026, 5, 1), "key", T0, T0, T0, n, -n, "7", bool(n % 2), None)
        for n in range(1, count + 1)
    ]
    async with database.begin() as conn:
        await insert_rows(conn, usage_interval, INTERVAL, rows)
    async with database.read() as conn:
        stored = (await conn.execute(select(usage_interval).order_by(usage_interval.c.interval_id))).all()
    assert [tuple(row) for row in stored] == rows


async def test_a_text_that_is_too_long_for_its_column_is_refused_and_not_cut(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite's columns hold texts of any length")
    row = ("reason", "x" * 65, "anna", "nas", T0, T0 + timedelta(hours=1), 1, 0, "1", T0)
    with pytest.raises(DataError, match="too long"):
        async with database.begin() as conn:
            await insert_rows(conn, suspense, SUSPENSE, [row])


async def test_a_row_takes_the_place_of_the_one_with_its_key_and_is_found_by_it(database: Database) -> None:
    first = [(f"key {n}", None, "nas", n, 0, 0, T0, 1, T0) for n in range(500)]
    second = [(f"key {n}", "service", "nas", n, 5, 6, T0, 2, T0) for n in range(250, 750)]
    async with database.begin() as conn:
        for rows in (first, second):
            await insert_rows(conn, session, SESSION, rows, replacing(session, SESSION))
    wanted = ["key 0", "key 300", "key 749", "key 750", '"', "\\"]
    async with database.read() as conn:
        found = (await conn.execute(select(session).where(one_of(conn, session.c.session_key, wanted)))).all()
        assert not (await conn.execute(select(session).where(one_of(conn, session.c.session_key, [])))).all()
    assert sorted(tuple(row) for row in found) == sorted([first[0], second[50], second[499]])


async def test_a_transaction_that_reads_by_keys_leaves_the_next_one_alone(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite plans each statement for itself")
    async with database.begin() as conn:
        await by_keys(conn)
        assert (await conn.execute(text("SHOW enable_seqscan"))).scalar_one() == "off"
    async with database.begin() as conn:
        assert (await conn.execute(text("SHOW enable_seqscan"))).scalar_one() == "on"

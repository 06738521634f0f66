"""The append-only usage log: every accounting packet once, with its digest, in group commits that form a hash chain.

    store_usage_record   one row per packet, ids ascending
    store_usage_link     one row per group commit and writer: which ids, and the link over their digests

Rows and links are never changed; triggers refuse UPDATE and DELETE on both databases. A caller adds its own rows (the
session table) in the same transaction through `also`. Reading is `controller.store.usage_reader`'s business.

On PostgreSQL several writers commit at once. Each draws its ids and its transaction id under one short lock, so ids
and transaction ids ascend together; a reader that knows the oldest running transaction then knows below which id
nothing can still appear. The lock is not held while the disk is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import DDL, BigInteger, Column, Integer, LargeBinary, String, Table, event

from controller.domain.usage import UsageRecord
from controller.store.bulk import Bulk, Row, open_bulk
from controller.store.engine import Database
from controller.store.metadata import BigId, Id, metadata, to_micros
from controller.store.usage_chain import FIRST_PREVIOUS, Fields, link_digest, record_digest

T = TypeVar("T")

usage_records = Table(
    "store_usage_record",
    metadata,
    Column("record_id", BigId, primary_key=True, autoincrement=True),
    Column("kind", String(8), nullable=False),
    Column("session_key", Id, nullable=False),
    Column("nas_id", Id, nullable=False),
    # Opaque and up to 253 octets (RFC 2865 §5): ids cut to fit a column collide.
    Column("acct_session_id", LargeBinary(253), nullable=False),
    Column("username", String(253), nullable=False),
    Column("service_id", Id),
    Column("event_us", BigInteger, nullable=False),
    Column("received_us", BigInteger, nullable=False),
    Column("session_time_s", BigInteger),
    Column("upstream_octets", BigInteger),
    Column("downstream_octets", BigInteger),
    Column("packet_sha256", LargeBinary(32), nullable=False),
    Column("record_sha256", LargeBinary(32), nullable=False),
)

usage_links = Table(
    "store_usage_link",
    metadata,
    Column("writer", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("first_record_id", BigInteger, nullable=False, unique=True),
    Column("last_record_id", BigInteger, nullable=False, unique=True),
    Column("records", Integer, nullable=False),
    Column("previous", LargeBinary(32), nullable=False),
    Column("link", LargeBinary(32), nullable=False),
    Column("committed_us", BigInteger, nullable=False, index=True),
    # The writing transaction on PostgreSQL, for the watermark; NULL on SQLite, where writers wait for each other.
    Column("transaction_id", BigInteger),
)

RECORD_COLUMNS = tuple(column.name for column in usage_records.columns)
LINK_COLUMNS = tuple(column.name for column in usage_links.columns)

_SEQUENCE = "store_usage_record_record_id_seq"
_ORDER_LOCK = 0x4845_4144_0003


def _refuse_changes(table: Table) -> None:
    """Let the database itself refuse UPDATE and DELETE, whoever asks."""
    message = "the usage log is append-only"
    for verb in ("UPDATE", "DELETE"):
        event.listen(
            table,
            "after_create",
            DDL(  # type: ignore[no-untyped-call]
                f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name}"
                f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
            ).execute_if(dialect="sqlite"),
        )
    for statement in (
        f"CREATE OR REPLACE FUNCTION store_usage_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{message}'; END $$",
        f"CREATE TRIGGER {table.name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name}"
        " FOR EACH STATEMENT EXECUTE FUNCTION store_usage_refuse()",
    ):
        event.listen(table, "after_create", DDL(statement).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]


_refuse_changes(usage_records)
_refuse_changes(usage_links)
# One statement that PostgreSQL plans once for each connection. The lock belongs to the session, not to the transaction:
# it is given back at once, and what fails in between closes the session.
event.listen(
    usage_records,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE OR REPLACE FUNCTION store_usage_reserve(wanted bigint, OUT transaction_id bigint, OUT last_id bigint)"
        " LANGUAGE plpgsql AS $$ BEGIN"
        f" PERFORM pg_advisory_lock({_ORDER_LOCK});"
        " transaction_id := pg_current_xact_id()::text::bigint;"
        f" last_id := setval('{_SEQUENCE}', nextval('{_SEQUENCE}') + wanted - 1);"
        f" PERFORM pg_advisory_unlock({_ORDER_LOCK});"
        " END $$"
    ).execute_if(dialect="postgresql"),
)


Link = tuple[int, bytes]
"""Number and digest of a link of a writer's chain."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A group commit that is on disk: the ids of its records, and its number in the writer's chain."""

    first_record_id: int
    last_record_id: int
    link_number: int


def log_row(packet_sha256: bytes, fields: Fields) -> Row:
    """One record as the log stores it, after its id."""
    return (*fields, packet_sha256, record_digest(packet_sha256, fields))


def row_of(record: UsageRecord) -> Row:
    """`log_row` of a domain record."""
    return log_row(
        record.packet_sha256,
        (
            record.kind.value,
            record.session_key,
            record.nas_id,
            record.acct_session_id,
            record.username,
            record.service_id,
            to_micros(record.event_at),
            to_micros(record.received_at),
            record.session_time_s,
            record.upstream_octets,
            record.downstream_octets,
        ),
    )


class UsageLog:
    """Appends for one writer. `writer` names it in the chain: stable per process, and no two processes share one.

    All statements run on one connection in one thread of its own, opened at first use; `close` at the end.
    """

    def __init__(self, database: Database, writer: str) -> None:
        self._database = database
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage-log")
        self._bulk: Bulk | None = None
        self._newest: Link | None = None

    async def call(self, work: Callable[[Bulk], T]) -> T:
        """Run `work` on the log's own connection, outside a transaction. After an error the connection is made anew."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)

    async def append(
        self, rows: Sequence[Row], committed_us: int, also: Callable[[Bulk], None] | None = None
    ) -> Appended | None:
        """Commit `rows` (of `log_row`) and what `also` writes; when this returns, they are on disk.

        Returns None when there were no rows. An exception means that nothing was written, unless the connection was
        lost while the commit itself was under way: then nobody knows, and the caller must recognise its records when it
        appends them again. Followers of the log are not woken: commits are many, and the caller knows when enough have
        come together (`Database.notify_committed`).
        """
        async with self._database.writer:
            return await self.call(lambda bulk: self._commit(bulk, rows, committed_us, also))

    async def durability(self) -> dict[str, str]:
        """What the committing connection says about its own durability (`synchronous`, or `fsync` …)."""
        return await self.call(lambda bulk: bulk.durability())

    async def close(self) -> None:
        """Finish what is being written, and close the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown()

    def _guarded(self, work: Callable[[Bulk], T]) -> T:
        if self._bulk is None:
            self._bulk = open_bulk(self._database.url)
        try:
            return work(self._bulk)
        except BaseException:
            # Whatever state the connection is in (half a transaction, a session lock), it ends here.
            self._drop()
            raise

    def _drop(self) -> None:
        bulk, self._bulk, self._newest = self._bulk, None, None
        if bulk is not None:
            bulk.close()

    def _commit(
        self, bulk: Bulk, rows: Sequence[Row], committed_us: int, also: Callable[[Bulk], None] | None
    ) -> Appended | None:
        bulk.begin()
        newest, appended = self._newest, None
        if rows:
            # A link that somebody else wrote in our name meanwhile would have the number of ours: the database refuses.
            former = newest or _newest_link(bulk, self._writer)
            appended, newest = _append(bulk, self._writer, rows, committed_us, former)
        if also is not None:
            also(bulk)
        bulk.commit()
        self._newest = newest
        return appended


def _newest_link(bulk: Bulk, writer: str) -> Link:
    mark = "?" if bulk.is_sqlite else "%s"
    rows = bulk.query(
        f"SELECT number, link FROM store_usage_link WHERE writer = {mark} ORDER BY number DESC LIMIT 1",  # noqa: S608
        (writer,),
    )
    return (rows[0][0], rows[0][1]) if rows else (0, FIRST_PREVIOUS)


def _append(bulk: Bulk, writer: str, rows: Sequence[Row], committed_us: int, former: Link) -> tuple[Appended, Link]:
    count, (number, previous) = len(rows), (former[0] + 1, former[1])
    first, transaction_id = (_reserve_sqlite if bulk.is_sqlite else _reserve_postgres)(bulk, count)
    stored = [(record_id, *row) for record_id, row in enumerate(rows, first)]
    bulk.insert("store_usage_record", RECORD_COLUMNS, stored)
    link = link_digest(previous, writer, number, first, committed_us, [row[-1] for row in rows])
    last = first + count - 1
    values = (writer, number, first, last, count, previous, link, committed_us, transaction_id)
    bulk.insert("store_usage_link", LINK_COLUMNS, [values])
    return Appended(first, last, number), (number, link)


def _reserve_sqlite(bulk: Bulk, _count: int) -> tuple[int, int | None]:
    """The first of so many record ids; no transaction id."""
    highest = bulk.query("SELECT last_record_id FROM store_usage_link ORDER BY last_record_id DESC LIMIT 1")
    return (highest[0][0] + 1 if highest else 1), None


def _reserve_postgres(bulk: Bulk, count: int) -> tuple[int, int | None]:
    """The same, with the transaction's id."""
    transaction_id, last = bulk.query("SELECT transaction_id, last_id FROM store_usage_reserve(%s)", (count,))[0]
    return last - count + 1, transaction_id

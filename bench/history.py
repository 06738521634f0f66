"""What it costs to read a history of many sessions, and to give up its oldest month.

    python -m bench.history sqlite+aiosqlite:////tmp/x/headend.db --rows 1000000
    python -m bench.history postgresql+psycopg://postgres@127.0.0.1:5432/headend --rows 10000000

The history of a year is filled by the database itself, for 100,000 subscribers with 65,536 addresses. Then each kind of
look-up is done for many of them, and its median and its slowest are printed, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from controller.app.schema import metadata
from controller.domain.clock import SystemClock
from controller.store.bulk import Bulk
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.store.usage_log import UsageLog
from controller.store.usage_reader import UsageLogReader
from radius.accounting import partitions, repository
from radius.accounting.repository import SessionFilter, SessionRepository
from radius.accounting.whois import Whois

USERS = 100_000
ADDRESSES = 65_536
_NAS = "a" * 32
_LOOKS = 60
_PIECE = 100_000
"""Rows in one statement: those of the usage log's connection are ended after a minute."""
_COLUMNS = (
    "session_key, revision, last_event_us, last_seen_us, session_time_s, upstream_octets, downstream_octets,"
    " evidence_us, recent, state, started_us, start_seen, ended_us, end_cause, provisional, final_unknown,"
    " counter_fell, framed_ipv4, service_id, nas_id, acct_session_id, life, username, interim_s"
)


async def measure(url: str, rows: int) -> dict[str, object]:
    """Fill the history with `rows` sessions of the last year, and look things up in it."""
    database = Database(url)
    async with database.begin() as conn:
        await conn.run_sync(metadata.create_all)
    log = UsageLog(database, f"bench-{time.time_ns()}")
    now = datetime.now(UTC)
    began_s = time.perf_counter()
    await log.append([], 0, partial(_fill, rows=rows, now=now))
    filled_s = time.perf_counter() - began_s
    if not database.is_sqlite:
        await log.call(lambda bulk: bulk.query("ANALYZE radius_session_history"))
    found: dict[str, object] = {"rows": rows, "filled_s": round(filled_s, 1)}
    found |= await _look(database, log, rows, now)
    began_s = time.perf_counter()
    await log.append([], 0, partial(_give_up_a_month, now=now))
    found["oldest month given up"] = {"ms": round((time.perf_counter() - began_s) * 1000, 1)}
    await log.close()
    await database.close()
    return found


async def _look(database: Database, log: UsageLog, rows: int, now: datetime) -> dict[str, object]:
    sessions = SessionRepository(database)
    whois = Whois(database, SystemClock(), UsageLogReader(database))
    recent_us = to_micros(now - timedelta(days=100))
    dice = random.Random(1)

    async def of_a_user() -> None:
        wanted = SessionFilter(username=f"user{dice.randrange(min(rows, USERS)):06d}")
        assert await sessions.find(wanted, before=None, limit=50)

    async def of_a_service() -> None:
        wanted = SessionFilter(service_id=f"{dice.randrange(min(rows, USERS)):032x}")
        assert await sessions.find(wanted, before=None, limit=50)

    async def newest() -> None:
        assert len(await sessions.find(SessionFilter(), before=None, limit=50)) == 50

    async def of_an_id() -> None:
        # What every Start asks before it is stored: mostly ids that were never seen.
        keys = [(_NAS, b"%08x" % dice.randrange(2 * rows)) for _ in range(64)]
        await log.call(partial(repository.load, keys=keys, heard_since_us=recent_us))

    async def of_an_address() -> None:
        n = dice.randrange(ADDRESSES)
        at = now - timedelta(days=dice.randrange(2, 360))
        await whois.ask(f"100.64.{n >> 8}.{n & 255}", None, at, actor="bench")

    async def of_a_prefix() -> None:
        at = now - timedelta(days=dice.randrange(2, 360))
        await whois.ask(f"2001:db8:{dice.randrange(65536):x}::1", None, at, actor="bench")

    looks: dict[str, Callable[[], Awaitable[None]]] = {
        "newest 50 sessions": newest,
        "newest 50 of a user": of_a_user,
        "newest 50 of a service": of_a_service,
        "lives of 64 Acct-Session-Ids": of_an_id,
        "whois IPv4": of_an_address,
        "whois IPv6": of_a_prefix,
    }
    return {name: await _timed(look) for name, look in looks.items()}


async def _timed(look: Callable[[], Awaitable[None]]) -> dict[str, float]:
    taken = []
    for _ in range(_LOOKS):
        began_s = time.perf_counter()
        await look()
        taken.append((time.perf_counter() - began_s) * 1000)
    return {"ms": round(statistics.median(taken), 2), "slowest_ms": round(max(taken), 2)}


def _fill(bulk: Bulk, rows: int, now: datetime) -> None:
    for month in range(12, -1, -1):
        partitions.make(bulk, partitions.month_of(now, -month))
    first_us, step_us = to_micros(now - timedelta(days=365)), 365 * 86_400_000_000 // rows
    for first in range(0, rows, _PIECE):
        last = min(first + _PIECE, rows) - 1
        fill = _fill_sqlite if bulk.is_sqlite else _fill_postgres
        bulk.query(fill(first, last, first_us, step_us))


def _fill_sqlite(first: int, last: int, first_us: int, step_us: int) -> str:
    at, ended = f"({first_us} + n * {step_us})", f"({first_us} + n * {step_us} + 3600000000)"
    return (
        f"INSERT INTO radius_session_history ({_COLUMNS})"
        f" WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last})"
        f" SELECT printf('%012x70008000%012x', {at} / 1000, n), 5, {ended}, {ended}, 3600, n * 1000, n * 9000, NULL,"
        f" zeroblob(64), 'ended', {at}, 1, {ended}, 'user-request', 0, 0, 0,"
        f" '100.64.' || (n % {ADDRESSES} / 256) || '.' || (n % 256), printf('%032x', n % {USERS}), '{_NAS}',"
        f" CAST(printf('%08x', n) AS BLOB), 1, printf('user%06d', n % {USERS}), 300 FROM c"
    )


def _fill_postgres(first: int, last: int, first_us: int, step_us: int) -> str:
    at, ended = f"({first_us} + n * {step_us})", f"({first_us} + n * {step_us} + 3600000000)"
    return (
        f"INSERT INTO radius_session_history ({_COLUMNS})"
        f" SELECT lpad(to_hex({at} / 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'), 5, {ended}, {ended},"
        " 3600, n * 1000, n * 9000, NULL, decode(repeat('00', 64), 'hex'), 'ended',"
        f" {at}, true, {ended}, 'user-request', false, false, false,"
        f" '100.64.' || (n % {ADDRESSES} / 256) || '.' || (n % 256), lpad(to_hex(n % {USERS}), 32, '0'), '{_NAS}',"
        f" convert_to(lpad(to_hex(n), 8, '0'), 'UTF8'), 1, 'user' || lpad((n % {USERS})::text, 6, '0'), 300"
        f" FROM generate_series({first}::bigint, {last}) AS n"
    )


def _give_up_a_month(bulk: Bulk, now: datetime) -> None:
    before = partitions.month_of(now, -11)
    while partitions.give_up(bulk, before) and bulk.is_sqlite:
        continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    json.dump(asyncio.run(measure(arguments.url, arguments.rows)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

"""What it costs to read a history of many sessions, and to give up its oldest month.

    python -m bench.history sqlite+aiosqlite:////tmp/x/headend.db --rows 1000000
    python -m bench.history postgresql+psycopg://postgres@127.0.0.1:5432/headend --rows 10000000

The history of a year is filled by the database itself, for as many subscribers as have 100 sessions each, unless told
otherwise; a tenth of the sessions has a delegated prefix. So each look-up finds as much in a history of any size. It is
done for many of them, and its fastest, its median and its slowest are printed, in milliseconds.
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
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from controller.app.schema import metadata
from controller.domain.clock import SystemClock
from controller.store.bulk import Bulk
from controller.store.engine import Database
from controller.store.metadata import from_micros, to_micros
from controller.store.usage_log import UsageLog
from controller.store.usage_reader import UsageLogReader
from radius.accounting import partitions, repository
from radius.accounting.views import SessionFilter, SessionRepository
from radius.accounting.whois import Whois

SESSIONS_EACH = 100
_PREFIXES = 10
"""One of so many sessions has a delegated prefix."""
_HOUR_US = 3_600_000_000
_NAS = "a" * 32
_LOOKS = 60
_PIECE = 100_000
"""Rows in one statement."""
_COLUMNS = (
    "session_key, revision, last_event_us, last_seen_us, session_time_s, upstream_octets, downstream_octets,"
    " evidence_us, recent, state, started_us, start_seen, ended_us, end_cause, provisional, final_unknown,"
    " counter_fell, framed_ipv4, service_id, nas_id, acct_session_id, life, username, interim_s"
)


async def measure(url: str, rows: int, users: int | None = None) -> dict[str, object]:
    """Fill the history with `rows` sessions of the last year, and look things up in it."""
    users = users or rows // SESSIONS_EACH
    database = Database(url)
    async with database.begin() as conn:
        await conn.run_sync(metadata.create_all)
    log = UsageLog(database, f"bench-{time.time_ns()}")
    now = datetime.now(UTC)
    year = Year(rows, users, now)
    began_s = time.perf_counter()
    await log.append([], 0, partial(_fill, year=year))
    filled_s = time.perf_counter() - began_s
    if not database.is_sqlite:
        await log.call(lambda bulk: bulk.query("ANALYZE radius_session_history, radius_session_address"))
    found: dict[str, object] = {"rows": rows, "users": users, "filled_s": round(filled_s, 1)}
    found |= await _look(database, log, year)
    began_s = time.perf_counter()
    await log.append([], 0, partial(_give_up_a_month, now=now))
    found["oldest month given up"] = {"ms": round((time.perf_counter() - began_s) * 1000, 1)}
    await log.close()
    await database.close()
    return found


async def _look(database: Database, log: UsageLog, year: Year) -> dict[str, object]:
    sessions = SessionRepository(database)
    whois = Whois(database, SystemClock(), UsageLogReader(database))
    recent_us, rows, users = to_micros(year.now - timedelta(days=100)), year.rows, year.users
    dice = random.Random(1)

    async def of_a_user() -> None:
        wanted = SessionFilter(username=f"user{dice.randrange(users):06d}")
        assert len(await sessions.find(wanted, before=None, limit=50)) == min(50, rows // users)

    async def of_a_service() -> None:
        wanted = SessionFilter(service_id=f"{dice.randrange(users):032x}")
        assert len(await sessions.find(wanted, before=None, limit=50)) == min(50, rows // users)

    async def newest() -> None:
        assert len(await sessions.find(SessionFilter(), before=None, limit=50)) == 50

    async def of_an_id() -> None:
        # What every Start asks before it is stored: mostly ids that were never seen.
        keys = [(_NAS, b"%08x" % dice.randrange(2 * rows)) for _ in range(64)]
        await log.call(partial(repository.load, keys=keys, heard_since_us=recent_us))

    async def of_an_address() -> None:
        n = dice.randrange(rows)
        assert len(await whois.ask(year.address(n), None, year.during(n), actor="bench")) == 1

    async def of_a_prefix() -> None:
        n = dice.randrange(0, rows, _PREFIXES)
        assert len(await whois.ask(year.in_prefix(n), None, year.during(n), actor="bench")) == 1

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
    return {
        "fastest_ms": round(min(taken), 2),
        "ms": round(statistics.median(taken), 2),
        "slowest_ms": round(max(taken), 2),
    }


@dataclass(frozen=True, slots=True)
class Year:
    """Sessions of an hour, numbered from 0, evenly over a year, each user's in turn."""

    rows: int
    users: int
    now: datetime

    @property
    def first_us(self) -> int:
        return to_micros(self.now - timedelta(days=365))

    @property
    def step_us(self) -> int:
        return 365 * 86_400_000_000 // self.rows

    def during(self, n: int) -> datetime:
        return from_micros(self.first_us + n * self.step_us + _HOUR_US // 2)

    def address(self, n: int) -> str:
        user = n % self.users
        return f"100.{64 + user // 65536}.{user // 256 % 256}.{user % 256}"

    def in_prefix(self, n: int) -> str:
        user = n % self.users
        return f"2001:db8:{user // 256:x}:{user % 256 * 256:x}::1"


def _fill(bulk: Bulk, year: Year) -> None:
    if not bulk.is_sqlite:
        bulk.query("SET LOCAL statement_timeout = 0")
    for month in range(12, -1, -1):
        partitions.make(bulk, partitions.month_of(year.now, -month))
    words = _SQLITE if bulk.is_sqlite else _POSTGRES
    for first in range(0, year.rows, _PIECE):
        last = min(first + _PIECE, year.rows) - 1
        at = f"({year.first_us} + n * {year.step_us})"
        user = f"(n % {year.users})"
        key, ended = words["key"].format(at=at), f"({at} + {_HOUR_US})"
        address = f"'100.' || (64 + {user} / 65536) || '.' || ({user} / 256 % 256) || '.' || ({user} % 256)"
        numbers = words["numbers"].format(first=first, last=last)
        bulk.query(
            f"{numbers} INSERT INTO radius_session_history ({_COLUMNS})"
            f" SELECT {key}, 5, {ended}, {ended}, 3600, n * 1000, n * 9000, NULL, {words['recent']}, 'ended', {at},"
            f" {words['true']}, {ended}, 'user-request', {words['false']}, {words['false']}, {words['false']},"
            f" {address}, {words['service'].format(user=user)}, '{_NAS}', {words['id']}, 1,"
            f" {words['name'].format(user=user)}, 300 FROM c"
        )
        bulk.query(
            f"{numbers} INSERT INTO radius_session_address (session_key, network, first_port, since_us, last_port,"
            f" kind, received_us, packet_sha256) SELECT {key}, {words['prefix'].format(user=user)}, 0, {at}, 65535,"
            f" 'delegated', {at}, {words['digest']} FROM c WHERE n % {_PREFIXES} = 0"
        )


_SQLITE = {
    "numbers": "WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n < {last})",
    "key": "printf('%012x70008000%012x', {at} / 1000, n)",
    "recent": "zeroblob(64)",
    "digest": "zeroblob(32)",
    "true": "1",
    "false": "0",
    "service": "printf('%032x', {user})",
    "id": "CAST(printf('%08x', n) AS BLOB)",
    "name": "printf('user%06d', {user})",
    "prefix": "printf('2001:db8:%x:%x00::/56', {user} / 256, {user} % 256)",
}
_POSTGRES = {
    "numbers": "WITH c(n) AS (SELECT generate_series({first}::bigint, {last}))",
    "key": "lpad(to_hex({at} / 1000), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0')",
    "recent": "decode(repeat('00', 64), 'hex')",
    "digest": "decode(repeat('00', 32), 'hex')",
    "true": "true",
    "false": "false",
    "service": "lpad(to_hex({user}), 32, '0')",
    "id": "convert_to(lpad(to_hex(n), 8, '0'), 'UTF8')",
    "name": "'user' || lpad({user}::text, 6, '0')",
    "prefix": "'2001:db8:' || to_hex({user} / 256) || ':' || ltrim(to_hex({user} % 256) || '00', '0') || '::/56'",
}


def _give_up_a_month(bulk: Bulk, now: datetime) -> None:
    before = partitions.month_of(now, -11)
    while partitions.give_up(bulk, before) and bulk.is_sqlite:
        continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, help=f"by default each has {SESSIONS_EACH} sessions")
    arguments = parser.parse_args()
    json.dump(asyncio.run(measure(arguments.url, arguments.rows, arguments.users)), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()

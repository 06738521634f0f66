"""Whose was this address, or this port of a shared one, at that instant? With the evidence, and with who asked.

    whois(203.0.113.7, 41022, 10:15:07)
        ├ stretches of addresses (IPv6, prefixes, shared ports, IPv4 that changed)
        └ sessions with that framed IPv4 address, hot and past
    → sessions that held it: begun ≤ instant < ended, half-open, so the second of a change has one answer
    → the record that first named the address, and the newest one, each with its digests and its place in the log

Several answers mean that the evidence itself is ambiguous, and all of them are told. Looked through is what began
before the instant and was heard of after it, so the time it takes does not grow with the history. Every question is
audited: it is an intrusion into somebody's privacy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Table, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.errors import RuleError
from controller.domain.identity import first_id
from controller.domain.usage import LoggedRecord
from controller.store import audit
from controller.store.engine import Database
from controller.store.metadata import from_micros, to_micros
from controller.store.usage_reader import UsageLogReader
from radius.accounting.addressing import ALL_PORTS, FRAMED_IPV4
from radius.accounting.session import LIVE, VOID
from radius.accounting.tables import history, session_addresses, sessions

_SEARCHED = 2_000
"""How many holders of one address are looked through, newest first. Of a shared address, thousands may be its own."""
_BUFFERED = timedelta(days=8)
"""How late a NAS may first tell of a session: it was not heard of before it began, and not much later either."""
_AHEAD_US = 3_600_000_000
"""How long before its end, by the NAS's clock, a session may have been heard of for the last time: clocks that are
further ahead are not believed (`record`)."""
_SHORTEST_IPV6_PREFIX = 16
_DIGEST_PREFIX = 8

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Evidence:
    """A record in the usage log. `intact`: its digest still covers what is stored."""

    record_id: int
    kind: str
    event_at: datetime
    received_at: datetime
    packet_sha256: str
    record_sha256: str
    intact: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """A session that held the address. `until` None: it holds it still, as far as is known.

    `is_provisional`: it ended without a Stop, when it was last heard of.
    """

    session_key: str
    acct_session_id: bytes
    nas_id: str
    username: str
    service_id: str | None
    calling_station_id: str | None
    kind: str
    network: str
    first_port: int
    last_port: int
    since: datetime
    until: datetime | None
    is_provisional: bool
    evidence: Sequence[Evidence]


class Whois:
    """Answers, and writes down who asked."""

    def __init__(self, database: Database, clock: Clock, usage: UsageLogReader) -> None:
        self._database = database
        self._clock = clock
        self._usage = usage

    async def ask(
        self, address: str, port: int | None, at: datetime, *, actor: str, reason: str | None = None
    ) -> list[Holder]:
        """Who held `address` (and `port`, where it is shared) at `at`. Raises RuleError for what is no address."""
        wanted, at_us = parsed(address), to_micros(at)
        async with self._database.read() as conn:
            found = await _stretches(conn, wanted, port, at_us)
            if isinstance(wanted, ipaddress.IPv4Address):
                found += await _framed(conn, wanted, at_us)
        holders = [await self._holder(row) for row in found]
        async with self._database.begin() as conn:
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="whois.ask",
                subject=f"address:{wanted}" + ("" if port is None else f" port {port}"),
                after={"at": at, "sessions": [holder.session_key for holder in holders]},
                reason=reason,
            )
        return holders

    async def _holder(self, row: _Found) -> Holder:
        session = row.session
        until_us = min((us for us in (row.until_us, session.ended_us) if us is not None), default=None)
        return Holder(
            session_key=session.session_key,
            acct_session_id=session.acct_session_id,
            nas_id=session.nas_id,
            username=session.username,
            service_id=session.service_id,
            calling_station_id=session.calling_station_id,
            kind=row.kind,
            network=row.network,
            first_port=row.ports[0],
            last_port=row.ports[1],
            since=from_micros(row.since_us),
            until=None if until_us is None else from_micros(until_us),
            is_provisional=session.provisional,
            evidence=await self._evidence(row),
        )

    async def _evidence(self, row: _Found) -> list[Evidence]:
        """The record that first named the address, and the newest of the session."""
        session = row.session
        first = await self._usage.find_received(session.session_key, row.received_us, row.packet_prefix)
        newest = await self._usage.find_received(session.session_key, session.last_seen_us)
        records = {record.record_id: record for record in (first, newest) if record is not None}
        return [_evidence(record) for _, record in sorted(records.items())]


@dataclass(frozen=True, slots=True)
class _Found:
    session: Row[Any]
    kind: str
    network: str
    ports: tuple[int, int]
    since_us: int
    until_us: int | None
    received_us: int
    packet_prefix: bytes | None


def parsed(text: str) -> Address:
    """Raises RuleError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise RuleError(f"{text!r} is no IPv4 or IPv6 address", code="address") from None
    return getattr(address, "ipv4_mapped", None) or address


def networks_over(address: Address) -> list[str]:
    """Every network, in canonical text, that a session with this address may have been given."""
    if isinstance(address, ipaddress.IPv4Address):
        return [f"{address}/32"]
    lengths = range(128, _SHORTEST_IPV6_PREFIX - 1, -1)
    return [str(ipaddress.IPv6Network((address, length), strict=False)) for length in lengths]


async def _stretches(conn: AsyncConnection, address: Address, port: int | None, at_us: int) -> list[_Found]:
    c = session_addresses.c
    query = (
        select(session_addresses)
        .where(
            c.network.in_(networks_over(address)), c.since_us <= at_us, or_(c.until_us.is_(None), c.until_us > at_us)
        )
        .order_by(c.since_us.desc())
        .limit(_SEARCHED)
    )
    if port is not None:
        query = query.where(c.first_port <= port, c.last_port >= port)
    # What a session was given and then reported itself is one.
    told = {(row.session_key, row.network, row.first_port): row for row in (await conn.execute(query)).all()}
    stretches = list(told.values())
    holders = await _sessions(conn, [row.session_key for row in stretches], at_us)
    return [
        _Found(
            session=holders[row.session_key],
            kind=row.kind,
            network=row.network,
            ports=(row.first_port, row.last_port),
            since_us=row.since_us,
            until_us=row.until_us,
            received_us=row.received_us,
            packet_prefix=row.packet_sha256[:_DIGEST_PREFIX],
        )
        for row in stretches
        if row.session_key in holders
    ]


async def _sessions(conn: AsyncConnection, session_keys: Sequence[str], at_us: int) -> dict[str, Row[Any]]:
    """Those of these sessions that ran at that instant."""
    found: dict[str, Row[Any]] = {}
    for table in (sessions, history):
        for start in range(0, len(session_keys), 500):
            some = table.c.session_key.in_(session_keys[start : start + 500])
            for row in await conn.execute(select(table).where(some, *_ran(table, at_us))):
                found[row.session_key] = row
    return found


async def _framed(conn: AsyncConnection, address: ipaddress.IPv4Address, at_us: int) -> list[_Found]:
    """Sessions that had this framed address from beginning to end. The hot table is small and read through."""
    rows: list[Row[Any]] = []
    heard_by = first_id(from_micros(at_us) + _BUFFERED)
    for table in (sessions, history):
        mine = (table.c.framed_ipv4 == str(address), table.c.session_key < heard_by, *_ran(table, at_us))
        newest = select(table).where(*mine).order_by(table.c.session_key.desc()).limit(_SEARCHED)
        rows += (await conn.execute(newest)).all()
    c = session_addresses.c
    keys = [row.session_key for row in rows]
    moved = set(
        await conn.scalars(select(c.session_key).where(c.session_key.in_(keys[:_SEARCHED]), c.kind == FRAMED_IPV4))
    )
    return [
        _Found(
            session=row,
            kind=FRAMED_IPV4,
            network=f"{address}/32",
            ports=ALL_PORTS,
            since_us=row.started_us,
            until_us=None,
            received_us=_made_us(row.session_key),
            packet_prefix=None,
        )
        for row in rows
        if row.session_key not in moved
    ]


def _ran(table: Table, at_us: int) -> tuple[Any, ...]:
    """It had begun, and had not ended: half-open. What ended was heard of until then, so whole months of the history
    need no look."""
    c = table.c
    over = or_(c.state == LIVE, c.ended_us.is_(None), c.ended_us > at_us)
    ran = (c.started_us <= at_us, over, c.state != VOID)
    return ran if table is sessions else (*ran, c.last_seen_us > at_us - _AHEAD_US)


def _made_us(session_key: str) -> int:
    """When a session was first heard of: its key begins with the milliseconds of that moment."""
    return int(session_key[:12], 16) * 1_000


def _evidence(record: LoggedRecord) -> Evidence:
    return Evidence(
        record_id=record.record_id,
        kind=record.kind,
        event_at=record.event_at,
        received_at=record.received_at,
        packet_sha256=record.packet_sha256.hex(),
        record_sha256=record.record_sha256.hex(),
        intact=record.intact,
    )

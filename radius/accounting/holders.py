"""Whose an address was over a stretch of time, for usage that names addresses only: implements ports.AddressHolders.

    sessions with that framed address, and stretches of others (IPv6, prefixes, changes)  →  (since, service) by time

Where two sessions had the address at once, the evidence is ambiguous, and it is nobody's: usage waits rather than
being another's. An address whose ports are shared is nobody's either: a flow's octets do not say whose port it was.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.errors import RuleError
from controller.domain.identity import ServiceId
from controller.store.metadata import from_micros, to_micros
from radius.accounting.addressing import ALL_PORTS, FRAMED_IPV4
from radius.accounting.session import LIVE, VOID
from radius.accounting.tables import history, session_addresses, sessions
from radius.accounting.whois import networks_over, parsed

_SEARCHED = 500
"""Holders of one address looked at; of a shared one there may be thousands, and it is nobody's anyway."""
_LONGEST_US = 400 * 86_400_000_000

_Stretch = tuple[int, int | None, str | None]
"""since, until (None: still), service."""


class SessionHolders:
    """Reads only; a question is part of rating and asks for no person, so it is not audited one by one."""

    async def held(
        self, conn: AsyncConnection, address: str, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, ServiceId | None]]:
        """(since, service or nobody) in order of time. Nothing for what is no address."""
        try:
            wanted = parsed(address)
        except RuleError:
            return ()
        first_us, last_us = to_micros(since), to_micros(until)
        found = await _stretches(conn, wanted, first_us, last_us)
        if isinstance(wanted, ipaddress.IPv4Address):
            found += await _framed(conn, str(wanted), first_us, last_us)
        return timeline(found)


def timeline(stretches: Sequence[_Stretch]) -> list[tuple[datetime, ServiceId | None]]:
    """Who had it from when on; nobody where nobody did, or several did at once. Pure."""
    cuts = sorted({since for since, _, _ in stretches} | {until for _, until, _ in stretches if until is not None})
    found: list[tuple[datetime, ServiceId | None]] = []
    for at in cuts:
        having = [service for since, until, service in stretches if since <= at and (until is None or at < until)]
        owner = ServiceId(having[0]) if len(set(having)) == 1 and having[0] is not None else None
        if not found or found[-1][1] != owner:
            found.append((from_micros(at), owner))
    return found


async def _stretches(
    conn: AsyncConnection, address: ipaddress.IPv4Address | ipaddress.IPv6Address, first_us: int, last_us: int
) -> list[_Stretch]:
    c = session_addresses.c
    query = (
        select(session_addresses)
        .where(c.network.in_(networks_over(address)), c.since_us <= last_us)
        .where(or_(c.until_us.is_(None), c.until_us > first_us))
        .order_by(c.since_us.desc())
        .limit(_SEARCHED)
    )
    rows = (await conn.execute(query)).all()
    of: dict[str, Any] = {}
    keys = [row.session_key for row in rows]
    for table in (sessions, history):
        for row in await conn.execute(select(table).where(table.c.session_key.in_(keys), table.c.state != VOID)):
            of[row.session_key] = row
    found: list[_Stretch] = []
    for row in rows:
        session = of.get(row.session_key)
        if session is None:
            continue
        ends = [us for us in (row.until_us, _ended(session)) if us is not None]
        shared = (row.first_port, row.last_port) != ALL_PORTS
        found.append((row.since_us, min(ends, default=None), None if shared else session.service_id))
    return found


async def _framed(conn: AsyncConnection, address: str, first_us: int, last_us: int) -> list[_Stretch]:
    """Sessions that had this framed address from beginning to end."""
    rows: list[Any] = []
    for table in (sessions, history):
        c = table.c
        ran: tuple[Any, ...] = (c.framed_ipv4 == address, c.started_us <= last_us, c.state != VOID)
        ran = (*ran, or_(c.state == LIVE, c.ended_us.is_(None), c.ended_us > first_us))
        if table is history:
            ran = (*ran, c.last_seen_us > first_us - _LONGEST_US)
        rows += (await conn.execute(select(table).where(*ran).order_by(c.session_key.desc()).limit(_SEARCHED))).all()
    c = session_addresses.c
    keys = [row.session_key for row in rows]
    moved = set(await conn.scalars(select(c.session_key).where(c.session_key.in_(keys), c.kind == FRAMED_IPV4)))
    return [(row.started_us, _ended(row), row.service_id) for row in rows if row.session_key not in moved]


def _ended(session: Any) -> int | None:
    """When it ended; None while it runs."""
    if session.state == LIVE or session.ended_us is None:
        return None
    ended: int = session.ended_us
    return ended

"""Rows of radacct into the history of sessions: found by whois and lists, never billed, for they are in no usage log.

A row's key follows from its AcctUniqueId, so that importing again changes nothing, or its times when they are read in
another zone. Sessions that are still open there
are left: their next record opens them here.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any

from sqlalchemy import delete, insert, select

from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.accounting.addressing import ALL_PORTS, DELEGATED_PREFIX, FRAMED_IPV6, FRAMED_PREFIX
from radius.accounting.session import ENDED
from radius.accounting.tables import history, session_addresses
from radius.freeradius.source import Row

_BATCH = 500
_MOST_CHARACTERS = 253
_PREFIXES = "prefixes"
_IPV6 = {
    "framedipv6address": FRAMED_IPV6, "framedipv6prefix": FRAMED_PREFIX, "delegatedipv6prefix": DELEGATED_PREFIX,
}  # fmt: skip
"""Columns of radacct since FreeRADIUS 3.0.21."""
_STARTED = 12
"""Digits of a session key that say when it started; those behind them name the row of radacct."""
_LONGEST_S = 10 * 366 * 86_400

NasAt = Callable[[str], str | None]
ServiceOf = Callable[[str], str | None]


@dataclass
class SessionCounts:
    imported: int = 0
    known: int = 0
    """Imported before."""
    moved: int = 0
    """Imported before, with times of another zone: these are the right ones now."""
    still_open: int = 0
    octets: int = 0
    left: dict[str, int] = field(default_factory=dict)
    """Why rows were left → of how many."""

    def leave(self, why: str) -> None:
        self.left[why] = self.left.get(why, 0) + 1


async def bring(
    database: Database, rows: Iterable[Row], nas_at: NasAt, service_of: ServiceOf, *, zone: tzinfo, dry_run: bool
) -> SessionCounts:
    """Each batch in a transaction of its own. `zone` is that of times that are written without one."""
    counts, each = SessionCounts(), iter(rows)
    while batch := list(islice(each, _BATCH)):
        made = [value for row in batch if (value := _session(row, nas_at, service_of, zone, counts)) is not None]
        told = {value["session_key"]: value.pop(_PREFIXES) for value in made}
        await _store(database, {value["session_key"]: value for value in made}, told, counts, dry_run)
    return counts


async def _store(
    database: Database,
    made: dict[str, dict[str, Any]],
    told: dict[str, list[dict[str, Any]]],
    counts: SessionCounts,
    dry_run: bool,
) -> None:
    """`told` are the rows of IPv6 addresses by session."""
    named = {key[_STARTED:]: key for key in made}
    async with database.read() as conn:
        ids = {value["acct_session_id"] for value in made.values()}
        query = select(history.c.session_key).where(history.c.acct_session_id.in_(list(ids)))
        before = [key for key in (await conn.execute(query)).scalars() if key[_STARTED:] in named]
    known = made.keys() & set(before)
    moved = [key for key in before if key not in known]
    new = [value for key, value in made.items() if key not in known]
    counts.known += len(known)
    put_right = len({key[_STARTED:] for key in moved})
    counts.moved += put_right
    counts.imported += len(new) - put_right
    counts.octets += sum(value["upstream_octets"] + value["downstream_octets"] for value in new)
    if new and not dry_run:
        async with database.begin() as conn:
            if moved:
                await conn.execute(delete(history).where(history.c.session_key.in_(moved)))
                await conn.execute(delete(session_addresses).where(session_addresses.c.session_key.in_(moved)))
            await conn.execute(insert(history), new)
            if rows := [row for value in new for row in told[value["session_key"]]]:
                await conn.execute(insert(session_addresses), rows)


def _session(
    row: Row, nas_at: NasAt, service_of: ServiceOf, zone: tzinfo, counts: SessionCounts
) -> dict[str, Any] | None:
    started, stopped = _instant(row.get("acctstarttime"), zone), _instant(row.get("acctstoptime"), zone)
    if stopped is None:
        counts.still_open += 1
        return None
    nas_id = nas_at((row.get("nasipaddress") or "").partition("/")[0])
    if nas_id is None:
        counts.leave("no NAS is registered at its address")
        return None
    name, session_id = row.get("username") or "", (row.get("acctsessionid") or "").encode()
    seconds = _number(row.get("acctsessiontime"))
    started = started or stopped - timedelta(seconds=min(seconds or 0, _LONGEST_S))
    texts = [row.get(column) or "" for column in ("username", "callingstationid", "nasportid", "acctterminatecause")]
    if any("\0" in text or len(text) > _MOST_CHARACTERS for text in texts):
        counts.leave("a text of it is none that RADIUS carries")
        return None
    if not name or not 0 < len(session_id) <= _MOST_CHARACTERS or started > stopped:
        counts.leave("it has no user name or session id, or ends before it starts")
        return None
    upstream, downstream = _number(row.get("acctinputoctets")), _number(row.get("acctoutputoctets"))
    key = _key(row.get("acctuniqueid") or row.get("acctstarttime") or "", session_id, nas_id, started)
    return {
        "session_key": key,
        _PREFIXES: _addresses(row, key, started),
        "revision": 1,
        "last_event_us": to_micros(stopped),
        "last_seen_us": to_micros(stopped),
        "session_time_s": seconds,
        "upstream_octets": upstream or 0,
        "downstream_octets": downstream or 0,
        "evidence_us": None,
        "recent": b"",
        "state": ENDED,
        "started_us": to_micros(started),
        "start_seen": row.get("acctstarttime") is not None,
        "ended_us": to_micros(stopped),
        "end_cause": (row.get("acctterminatecause") or None) and str(row["acctterminatecause"])[:32],
        "provisional": False,
        "final_unknown": upstream is None and downstream is None,
        "counter_fell": False,
        "framed_ipv4": _ipv4(row.get("framedipaddress")),
        "last_class": None,
        "last_rate": None,
        "counter_state": None,
        "service_id": service_of(name),
        "nas_id": nas_id,
        "acct_session_id": session_id,
        "life": 1,
        "username": name,
        "interim_s": min(_number(row.get("acctinterval")) or 300, _LONGEST_S),
        "calling_station_id": row.get("callingstationid") or None,
        "nas_port_id": row.get("nasportid") or None,
    }


def _addresses(row: Row, session_key: str, started: datetime) -> list[dict[str, Any]]:
    """IPv6 addresses and prefixes of the session, as whois finds them: from its beginning to its end."""
    found = {_network(row.get(column)): kind for column, kind in _IPV6.items()}
    since_us = to_micros(started)
    return [
        {
            "session_key": session_key, "kind": kind, "network": network, "first_port": ALL_PORTS[0],
            "last_port": ALL_PORTS[1], "since_us": since_us, "until_us": None, "received_us": since_us,
            "packet_sha256": b"",
        }
        for network, kind in found.items()
        if network is not None
    ]  # fmt: skip


def _network(text: str | None) -> str | None:
    try:
        return None if not text else str(ipaddress.IPv6Network(text, strict=False))
    except ValueError:
        return None


def _key(unique_id: str, session_id: bytes, nas_id: str, started: datetime) -> str:
    """Sorts by the start like every key, and is the same each time."""
    told = hashlib.blake2b(f"{unique_id}\n{nas_id}\n".encode() + session_id, digest_size=10).hexdigest()
    return f"{int(started.timestamp() * 1000) & (2**48 - 1):012x}{told}"


def _instant(text: str | None, zone: tzinfo) -> datetime | None:
    """MySQL writes no zone, and a zero date for none; before 1970 there was no RADIUS."""
    if not text or text.startswith("0000"):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not 1970 <= at.year < 9999:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)


def _number(text: str | None) -> int | None:
    """None for what is no count, or one that no counter of 64 bits has."""
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) <= 19 else -1
    return number if 0 <= number < 2**63 else None


def _ipv4(text: str | None) -> str | None:
    try:
        return str(ipaddress.IPv4Address((text or "").partition("/")[0]))
    except ValueError:
        return None

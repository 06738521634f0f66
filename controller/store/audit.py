"""The audit log: who changed what, when, from what to what, and why. Written in the transaction of the change.

Rows form a hash chain (each covers the one before), so an edited or deleted row is found by `verify`. Secrets are
never written here: callers pass what a reader of the API may see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, LargeBinary, String, Table, Text, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.store.many import insert_all
from controller.store.metadata import BigId, Instant, metadata, to_micros

audit = Table(
    "store_audit",
    metadata,
    Column("sequence", BigId, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False, index=True),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(160), nullable=False, index=True),
    Column("before", Text),
    Column("after", Text),
    Column("reason", Text),
    Column("digest", LargeBinary(32), nullable=False),
    sqlite_autoincrement=True,
)

_CHAIN_LOCK = 0x4845_4144_0002
_said = json.JSONEncoder(sort_keys=True, default=str).encode
_linked = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Change:
    """What is recorded of one change. `subject` names the object as "kind:id"; `action` is "kind.verb"."""

    action: str
    subject: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    reason: str | None = None


async def record(
    conn: AsyncConnection,
    *,
    now: datetime,
    actor: str,
    action: str,
    subject: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Add one entry. `subject` names the object as "kind:id"; `action` is "kind.verb"."""
    await record_all(conn, [Change(action, subject, before, after, reason)], now=now, actor=actor)


async def record_all(conn: AsyncConnection, changes: Sequence[Change], *, now: datetime, actor: str) -> None:
    """Add an entry for each change, in this order."""
    if not changes:
        return
    if conn.dialect.name == "postgresql":
        await conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
    previous = await conn.scalar(select(audit.c.digest).order_by(audit.c.sequence.desc()).limit(1)) or bytes(32)
    rows = []
    for change in changes:
        row = {
            "at": now,
            "actor": actor,
            "action": change.action,
            "object": change.subject,
            "before": None if change.before is None else _said(change.before),
            "after": None if change.after is None else _said(change.after),
            "reason": change.reason,
        }
        previous = _digest(previous, row)
        rows.append(row | {"digest": previous})
    await insert_all(conn, audit, rows)


async def entries(conn: AsyncConnection, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Newest first; `before` is the sequence to go on from."""
    query = select(audit).order_by(audit.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.sequence < before)
    return [dict(row._mapping) for row in await conn.execute(query)]


async def about(conn: AsyncConnection, subject: str, action: str, *, limit: int = 50) -> list[dict[str, Any]]:
    """What was done so to one object, newest first."""
    query = select(audit).where(audit.c.object == subject, audit.c.action == action)
    return [dict(row._mapping) for row in await conn.execute(query.order_by(audit.c.sequence.desc()).limit(limit))]


async def verify(conn: AsyncConnection) -> list[int]:
    """Sequences at which the chain does not hold; empty when the log is as it was written."""
    faults, previous = [], bytes(32)
    result = await conn.stream(select(audit).order_by(audit.c.sequence))
    async for row in result:
        values = dict(row._mapping)
        if _digest(previous, values) != row.digest:
            faults.append(row.sequence)
        previous = row.digest
    return faults


def _digest(previous: bytes, row: dict[str, Any]) -> bytes:
    fields = [to_micros(row["at"]), *(row[k] for k in ("actor", "action", "object", "before", "after", "reason"))]
    return hashlib.sha256(previous + _linked(fields).encode()).digest()

"""Octets that are held: reported, stored and acknowledged, but impossible or not sure. They wait here for a decision.

    held ─┬ released by somebody → counted: the recorder adds them to the session and to the usage log, once
          ├ dismissed by somebody: they were never carried
          └ retracted: the counter itself came back below them

Held octets stand in no total and in no record of the usage log, so mediation, time series and bills know nothing of
them; a release is a record of its own in the log, under the digest of the packet that reported the octets. Decisions
are audited. Rows are written in the commit of their record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, update

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, NotFound
from controller.store import audit
from controller.store.bulk import Bulk
from controller.store.engine import Database
from controller.store.many import total
from controller.store.metadata import from_micros
from radius.accounting.metering import Held
from radius.accounting.tables import quarantine

HELD, RELEASED, COUNTED, DISMISSED, RETRACTED = "held", "released", "counted", "dismissed", "retracted"

_COLUMNS = tuple(column.name for column in quarantine.columns if column.name not in ("decided_by", "decided_at", "why"))


@dataclass(frozen=True, slots=True)
class HeldRow:
    """Octets of one record that are held from now on."""

    quarantine_id: str
    session_key: str
    nas_id: str
    acct_session_id: bytes
    username: str
    service_id: str | None
    held: Held
    session_time_s: int | None
    event_us: int
    received_us: int
    packet_sha256: bytes

    def values(self) -> tuple[Any, ...]:
        """In the order of the table."""
        held = self.held
        identity = (self.session_key, self.nas_id, self.acct_session_id, self.username, self.service_id)
        octets = (*held.octets, *held.reported, *held.limits)
        told = (self.session_time_s, self.event_us, self.received_us, self.packet_sha256)
        return (self.quarantine_id, *identity, ", ".join(held.reasons), *octets, *told, HELD)


@dataclass(frozen=True, slots=True)
class ReleasedRow:
    """What somebody has released, and the recorder has still to count."""

    quarantine_id: str
    session_key: str
    nas_id: str
    acct_session_id: bytes
    upstream_octets: int
    downstream_octets: int
    event_us: int
    packet_sha256: bytes

    @property
    def key(self) -> tuple[str, bytes]:
        return self.nas_id, self.acct_session_id


@dataclass(slots=True)
class QuarantineChanges:
    """What one commit writes here. `retracted` are sessions, `counted` and `gone` are quarantine ids."""

    held: list[HeldRow] = field(default_factory=list)
    retracted: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.held or self.retracted or self.counted or self.gone)

    def retract(self, session_key: str) -> None:
        """What is held of a session, in this commit too, was never carried."""
        self.held = [row for row in self.held if row.session_key != session_key]
        self.retracted.append(session_key)


def write(bulk: Bulk, changes: QuarantineChanges) -> None:
    """Write them in the caller's transaction."""
    mark = "?" if bulk.is_sqlite else "%s"
    for session_key in changes.retracted:
        bulk.query(
            f"UPDATE radius_quarantine SET state = '{RETRACTED}' WHERE session_key = {mark} AND state = '{HELD}'",  # noqa: S608
            (session_key,),
        )
    for state, ids in ((COUNTED, changes.counted), (RETRACTED, changes.gone)):
        for quarantine_id in ids:
            bulk.query(
                f"UPDATE radius_quarantine SET state = '{state}' WHERE quarantine_id = {mark}"  # noqa: S608
                f" AND state = '{RELEASED}'",
                (quarantine_id,),
            )
    bulk.insert("radius_quarantine", _COLUMNS, [row.values() for row in changes.held])


def find_released(bulk: Bulk, limit: int) -> list[ReleasedRow]:
    rows = bulk.query(
        "SELECT quarantine_id, session_key, nas_id, acct_session_id, upstream_octets, downstream_octets, event_us,"  # noqa: S608
        f" packet_sha256 FROM radius_quarantine WHERE state = '{RELEASED}' ORDER BY quarantine_id LIMIT {limit}"
    )
    return [ReleasedRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class QuarantineItem:
    """Held octets as people see them. Limits are what could have been carried; None where nobody could tell."""

    quarantine_id: str
    session_key: str
    nas_id: str
    username: str
    service_id: str | None
    reason: str
    upstream_octets: int
    downstream_octets: int
    reported_upstream_octets: int | None
    reported_downstream_octets: int | None
    upstream_limit_octets: int | None
    downstream_limit_octets: int | None
    session_time_s: int | None
    event_at: datetime
    packet_sha256: str
    state: str
    decided_by: str | None
    decided_at: datetime | None
    why: str | None


class QuarantineService:
    """What is held, and the decisions about it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, *, state: str | None, before: str | None, limit: int, session_key: str | None = None
    ) -> Sequence[QuarantineItem]:
        """Newest first; `before` is a quarantine id."""
        query = select(quarantine).order_by(quarantine.c.quarantine_id.desc()).limit(limit)
        if session_key is not None:
            query = query.where(quarantine.c.session_key == session_key)
        if state is not None:
            query = query.where(quarantine.c.state == state)
        if before is not None:
            query = query.where(quarantine.c.quarantine_id < before)
        async with self._database.read() as conn:
            return [_item(row) for row in await conn.execute(query)]

    async def show(self, quarantine_id: str) -> QuarantineItem:
        """Raises NotFound."""
        query = select(quarantine).where(quarantine.c.quarantine_id == quarantine_id)
        async with self._database.read() as conn:
            row = (await conn.execute(query)).one_or_none()
        if row is None:
            raise _unknown(quarantine_id)
        return _item(row)

    async def held_octets(self) -> tuple[int, int, int]:
        """How many items are held, and their octets upstream and downstream."""
        sums = (func.coalesce(total(quarantine.c[f"{way}_octets"]), 0) for way in ("upstream", "downstream"))
        async with self._database.read() as conn:
            row = (await conn.execute(select(func.count(), *sums).where(quarantine.c.state == HELD))).one()
        return int(row[0]), int(row[1]), int(row[2])

    async def release(self, quarantine_id: str, *, why: str, actor: str) -> QuarantineItem:
        """Let the octets count. Raises NotFound; Conflict when it is decided already."""
        return await self._decide(quarantine_id, RELEASED, why, actor)

    async def dismiss(self, quarantine_id: str, *, why: str, actor: str) -> QuarantineItem:
        """Say that they were never carried. Raises what `release` raises."""
        return await self._decide(quarantine_id, DISMISSED, why, actor)

    async def _decide(self, quarantine_id: str, state: str, why: str, actor: str) -> QuarantineItem:
        now = self._clock.now()
        which = quarantine.c.quarantine_id == quarantine_id
        async with self._database.begin() as conn:
            row = (await conn.execute(select(quarantine).where(which).with_for_update())).one_or_none()
            if row is None:
                raise _unknown(quarantine_id)
            if row.state != HELD:
                raise Conflict(f"{quarantine_id} is {row.state} already")
            decided = {"state": state, "decided_by": actor, "decided_at": now, "why": why}
            await conn.execute(update(quarantine).where(which).values(**decided))
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action=f"quarantine.{'release' if state == RELEASED else 'dismiss'}",
                subject=f"session:{row.session_key}",
                before={"state": HELD, "reason": row.reason},
                after={
                    "state": state,
                    "quarantine_id": quarantine_id,
                    "upstream_octets": row.upstream_octets,
                    "downstream_octets": row.downstream_octets,
                },
                reason=why,
            )
            after = (await conn.execute(select(quarantine).where(which))).one()
        return _item(after)


def _unknown(quarantine_id: str) -> NotFound:
    return NotFound(f"nothing is quarantined under {quarantine_id}")


def _item(row: Row[Any]) -> QuarantineItem:
    plain = ("event_at", "packet_sha256")
    values = {name: getattr(row, name) for name in QuarantineItem.__dataclass_fields__ if name not in plain}
    return QuarantineItem(**values, event_at=from_micros(row.event_us), packet_sha256=row.packet_sha256.hex())

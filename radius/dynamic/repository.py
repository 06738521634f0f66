"""Rows of radius_change, in and out. Whoever looks after a change has moved its `next_at`: that is the claim."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Row, Select, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.service import SpeedProfile
from radius.dynamic.model import FAILED, OPEN, Change, Kind, Limit, State, Wanted
from radius.dynamic.tables import changes


class Turn(Enum):
    """Whether a change may be sent."""

    MINE = "mine"
    LATER = "later"
    """Another request to the session may be under way."""
    LOST = "lost"
    """It is wanted no more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which changes are asked for; None leaves a field out."""

    states: Collection[State] = ()
    service_id: str | None = None
    session_key: str | None = None
    nas_id: str | None = None


async def add(conn: AsyncConnection, change: Change) -> None:
    await conn.execute(insert(changes).values(**_values(change)))


async def open_change(conn: AsyncConnection, session_key: str) -> Change | None:
    """The one open change of a session; nobody else changes it while this transaction lasts."""
    query = select(changes).where(changes.c.session_key == session_key, changes.c.state.in_(OPEN)).with_for_update()
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _change(row)


async def claim(conn: AsyncConnection, change: Change, until: datetime, *, tries: int, process: str) -> bool:
    """Take it for `process` until `until`; False when another was quicker, or it is open no more."""
    mine = update(changes).where(
        changes.c.change_id == change.change_id, changes.c.next_at == change.next_at, changes.c.state.in_(OPEN)
    )
    return bool((await conn.execute(mine.values(next_at=until, tries=tries, claimed_by=process))).rowcount)


async def take_turn(conn: AsyncConnection, change: Change, now: datetime, until: datetime, *, process: str) -> Turn:
    """Claim it for a request that is sent now, unless another one to its session may be under way."""
    c, other = changes.c, changes.alias()
    under_way = exists().where(
        other.c.session_key == change.session_key,
        other.c.change_id != change.change_id,
        other.c.claimed_by.is_not(None),
        other.c.next_at > now,
    )
    mine = update(changes).where(c.change_id == change.change_id, c.state.in_(OPEN), ~under_way)
    if (await conn.execute(mine.values(next_at=until, claimed_by=process))).rowcount:
        return Turn.MINE
    is_wanted = select(c.change_id).where(c.change_id == change.change_id, c.state.in_(OPEN))
    if await conn.scalar(is_wanted) is not None:
        return Turn.LATER
    await let_go(conn, change)
    return Turn.LOST


async def let_go(conn: AsyncConnection, change: Change) -> None:
    """Nothing is under way any more of a change that something newer has replaced."""
    replaced = update(changes).where(changes.c.change_id == change.change_id, changes.c.state.not_in(OPEN))
    await conn.execute(replaced.values(claimed_by=None))


async def release(conn: AsyncConnection, process: str, now: datetime) -> int:
    """What a process of this name held when it was killed is due now; how many. It must not be at work yet."""
    held = update(changes).where(changes.c.claimed_by == process)
    released = await conn.execute(held.where(changes.c.state.in_(OPEN)).values(next_at=now, claimed_by=None))
    await conn.execute(held.values(claimed_by=None))
    return int(released.rowcount)


async def put(conn: AsyncConnection, change: Change) -> bool:
    """Write what became of it; False when something newer has taken its place in the meantime."""
    values = _values(change)
    del values["change_id"], values["session_key"]
    written = await conn.execute(
        update(changes).where(changes.c.change_id == change.change_id, changes.c.state.in_(OPEN)).values(**values)
    )
    return bool(written.rowcount)


async def due(conn: AsyncConnection, now: datetime, limit: int) -> list[Change]:
    query = select(changes).where(changes.c.state.in_(OPEN), changes.c.next_at <= now)
    return [_change(row) for row in await conn.execute(query.order_by(changes.c.next_at).limit(limit))]


async def get(conn: AsyncConnection, change_id: str) -> Change | None:
    row = (await conn.execute(select(changes).where(changes.c.change_id == change_id))).one_or_none()
    return None if row is None else _change(row)


async def page(conn: AsyncConnection, asked: Asked, *, before: str | None, limit: int) -> list[Change]:
    """Newest first."""
    query = select(changes)
    if asked.states:
        query = query.where(changes.c.state.in_(asked.states))
    for column in ("service_id", "session_key", "nas_id"):
        wanted = getattr(asked, column)
        if wanted is not None:
            query = query.where(changes.c[column] == wanted)
    if before is not None:
        query = query.where(changes.c.change_id < before)
    return [_change(row) for row in await conn.execute(query.order_by(changes.c.change_id.desc()).limit(limit))]


async def failed(conn: AsyncConnection, session_keys: Sequence[str]) -> list[Change]:
    """Of each session its newest change, where that has failed for good. A limit alone says nothing of its speed."""
    c = changes.c
    newest: Select[Any] = (
        select(func.max(c.change_id)).where(c.session_key.in_(session_keys), c.kind != Kind.LIMIT.value).group_by(
            c.session_key
        )
    )  # fmt: skip
    query = select(changes).where(changes.c.change_id.in_(newest), changes.c.state.in_(FAILED))
    return [_change(row) for row in await conn.execute(query)]


async def forget(conn: AsyncConnection, closed_before: datetime) -> int:
    """Delete what was closed so long ago; how many."""
    old = delete(changes).where(changes.c.closed_at < closed_before)
    return int((await conn.execute(old)).rowcount)


def _values(change: Change) -> dict[str, Any]:
    plain = {name: getattr(change, name) for name in Change.__dataclass_fields__ if name not in ("wanted", "state")}
    profile, limit = change.wanted.profile, change.wanted.limit
    return plain | {
        "state": change.state.value,
        "kind": change.wanted.kind.value,
        "profile_name": None if profile is None else profile.name,
        "downstream_bps": None if profile is None else profile.downstream_bps,
        "upstream_bps": None if profile is None else profile.upstream_bps,
        "limit_octets": None if limit is None else limit.octets,
        "limit_s": None if limit is None else limit.seconds,
        "limit_before": None if limit is None else limit.before,
    }


def _change(row: Row[Any]) -> Change:
    values = dict(row._mapping)
    profile = tuple(values.pop(name) for name in ("profile_name", "downstream_bps", "upstream_bps"))
    octets, seconds, before = (values.pop(name) for name in ("limit_octets", "limit_s", "limit_before"))
    limit = None if before is None else Limit(octets, seconds, before)
    kind, state = Kind(values.pop("kind")), State(values.pop("state"))
    wanted = Wanted(kind, None if profile[0] is None else SpeedProfile(*profile), limit)
    return Change(wanted=wanted, state=state, **values)

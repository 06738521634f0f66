"""Sessions as those look at them who do not write them: the API, dynamic changes, limits on simultaneous ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.metadata import from_micros
from radius.accounting.session import (
    ENDED,
    LIVE,
    VOID,
)
from radius.accounting.tables import history, nas_restarts, session_addresses, sessions
from radius.ports import LiveSession, Occupied
from radius.tables import nas_member


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as people see it. `is_suspect`: its NAS restarted, and nothing was heard of it since."""

    session_key: str
    nas_id: str
    acct_session_id: bytes
    life: int
    username: str
    service_id: str | None
    is_live: bool
    is_suspect: bool
    is_provisional: bool
    started_at: datetime
    ended_at: datetime | None
    end_cause: str | None
    last_event_at: datetime
    session_time_s: int | None
    upstream_octets: int
    downstream_octets: int
    final_unknown: bool
    counter_fell: bool
    framed_ipv4: str | None
    calling_station_id: str | None
    nas_port_id: str | None


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """None leaves a criterion out. `acct_session_ids` are the octets that the text asked for may stand for.

    `nas_id` is a box or a registered NAS with all its boxes; `networks` are those that the address asked for lies in.
    """

    acct_session_ids: Sequence[bytes] | None = None
    service_id: str | None = None
    username: str | None = None
    is_live: bool | None = None
    session_key: str | None = None
    nas_id: str | None = None
    networks: Sequence[str] | None = None


async def live_sessions(conn: AsyncConnection, service_id: str) -> list[LiveSession]:
    """The live sessions of a service, as the caller's transaction sees them."""
    return await _live(conn, sessions.c.service_id == service_id)


async def _live(conn: AsyncConnection, condition: ColumnElement[bool]) -> list[LiveSession]:
    query = select(sessions).where(condition, sessions.c.state == LIVE).order_by(sessions.c.session_key)
    return [_live_session(row) for row in await conn.execute(query)]


class SessionRepository:
    """radius.ports.Sessions, and the list of sessions for the API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def live_session(self, session_key: str) -> LiveSession | None:
        async with self._database.read() as conn:
            found = await _live(conn, sessions.c.session_key == session_key)
        return found[0] if found else None

    async def live_sessions_of(self, service_id: str) -> list[LiveSession]:
        async with self._database.read() as conn:
            return await live_sessions(conn, service_id)

    async def occupied(self, service_id: str) -> list[Occupied]:
        """Live sessions of a service, for its limit on simultaneous ones."""
        columns = sessions.c
        query = (
            select(
                columns.session_key,
                columns.calling_station_id,
                columns.last_seen_us,
                columns.last_event_us,
                columns.interim_s,
                columns.nas_id,
                columns.nas_port_id,
                nas_restarts.c.boundary_us,
            )
            .outerjoin(nas_restarts, nas_restarts.c.nas_id == columns.nas_id)
            .where(columns.service_id == service_id, columns.state == LIVE)
        )
        async with self._database.read() as conn:
            return [
                Occupied(
                    row.session_key,
                    row.calling_station_id,
                    from_micros(row.last_seen_us),
                    row.interim_s,
                    row.boundary_us is not None and row.last_event_us <= row.boundary_us,
                    row.nas_id,
                    row.nas_port_id,
                )
                for row in await conn.execute(query)
            ]

    async def find(self, wanted: SessionFilter, *, before: str | None, limit: int) -> list[SessionView]:
        """Live and ended ones, those first that were heard of last for the first time; `before` is a session key."""
        tables = (sessions,) if wanted.is_live else (sessions, history)
        parts = [
            select(table, nas_restarts.c.boundary_us)
            .outerjoin(nas_restarts, nas_restarts.c.nas_id == table.c.nas_id)
            .where(*_conditions(table, wanted, before))
            .order_by(table.c.session_key.desc())
            .limit(limit)
            for table in tables
        ]
        async with self._database.read() as conn:
            rows: list[Row[Any]] = []
            for part in parts:
                rows += (await conn.execute(part)).all()
        rows.sort(key=lambda row: row.session_key, reverse=True)
        return [_view(row) for row in rows[:limit]]

    async def count_live(self) -> int:
        """How many sessions are live now."""
        async with self._database.read() as conn:
            return await conn.scalar(select(func.count()).select_from(sessions).where(sessions.c.state == LIVE)) or 0


def _conditions(table: Table, wanted: SessionFilter, before: str | None) -> list[ColumnElement[bool]]:
    columns = table.c
    conditions: list[ColumnElement[bool]] = [columns.state != VOID]
    if wanted.acct_session_ids is not None:
        conditions.append(columns.acct_session_id.in_(wanted.acct_session_ids))
    if wanted.service_id is not None:
        conditions.append(columns.service_id == wanted.service_id)
    if wanted.username is not None:
        conditions.append(columns.username == wanted.username)
    if wanted.is_live is not None:
        conditions.append(columns.state == (LIVE if wanted.is_live else ENDED))
    if wanted.session_key is not None:
        conditions.append(columns.session_key == wanted.session_key)
    if wanted.nas_id is not None:
        boxes = select(nas_member.c.nas_id).where(nas_member.c.network_id == wanted.nas_id)
        conditions.append(or_(columns.nas_id == wanted.nas_id, columns.nas_id.in_(boxes)))
    if wanted.networks is not None:
        told, hosts = session_addresses.c, [one.removesuffix("/32") for one in wanted.networks if ":" not in one]
        having = columns.session_key.in_(select(told.session_key).where(told.network.in_(wanted.networks)))
        conditions.append(or_(columns.framed_ipv4.in_(hosts), having) if hosts else having)
    if before is not None:
        conditions.append(columns.session_key < before)
    return conditions


def _view(row: Row[Any]) -> SessionView:
    is_live = row.state == LIVE
    return SessionView(
        session_key=row.session_key,
        nas_id=row.nas_id,
        acct_session_id=row.acct_session_id,
        life=row.life,
        username=row.username,
        service_id=row.service_id,
        is_live=is_live,
        is_suspect=is_live and row.boundary_us is not None and row.last_event_us <= row.boundary_us,
        is_provisional=row.provisional,
        started_at=from_micros(row.started_us),
        ended_at=None if row.ended_us is None else from_micros(row.ended_us),
        end_cause=row.end_cause,
        last_event_at=from_micros(row.last_event_us),
        session_time_s=row.session_time_s,
        upstream_octets=row.upstream_octets,
        downstream_octets=row.downstream_octets,
        final_unknown=row.final_unknown,
        counter_fell=row.counter_fell,
        framed_ipv4=row.framed_ipv4,
        calling_station_id=row.calling_station_id,
        nas_port_id=row.nas_port_id,
    )


def _live_session(row: Row[Any]) -> LiveSession:
    return LiveSession(
        session_key=row.session_key,
        nas_id=NasId(row.nas_id),
        acct_session_id=row.acct_session_id,
        username=row.username,
        service_id=row.service_id,
        framed_ipv4=row.framed_ipv4,
        last_class=row.last_class,
        last_rate=row.last_rate,
        evidence_at=None if row.evidence_us is None else from_micros(row.evidence_us),
        interim_s=row.interim_s,
        session_time_s=row.session_time_s or 0,
        octets=row.upstream_octets + row.downstream_octets,
        heard_at=from_micros(row.last_seen_us),
    )

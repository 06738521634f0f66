"""One trace, all processes: who sees packets of somebody that is watched elsewhere writes them where the watcher reads.

    the operator's process ── radius_trace: whom, until when, what was learnt ──► every process collects
                           ◄── radius_trace_event: packets, several in one commit ──┘

Looked at once a second while nobody traces (a table that is empty), four times a second while somebody does. What a
process that was killed had opened ends with its time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from datetime import datetime
from typing import Any, Protocol

import structlog
from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.store.engine import Database
from radius.tables import trace, trace_event
from radius.tracing import Trace

log = structlog.get_logger()

_IDLE_S, _BUSY_S = 1.0, 0.25


class Collect(Protocol):
    """Traces.collect."""

    def __call__(self, trace_id: str, text: str, *, seconds: float, packets: int) -> Trace: ...


class Sharing:
    """`announce` a trace of this process; `run` collects for others, and brings in what they collected."""

    def __init__(self, database: Database, clock: Clock, collect: Collect) -> None:
        self._database = database
        self._clock = clock
        self._collect = collect
        self._process = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._own: dict[str, Trace] = {}
        self._told: dict[str, str] = {}
        self._collected: dict[str, Trace] = {}
        self._wake = asyncio.Event()

    async def announce(self, conn: AsyncConnection, opened: Trace, *, until: datetime, packets: int) -> None:
        """Within the transaction that opens it: from its commit on the others know of it."""
        learnt = json.dumps(opened.target.learnt)
        row = {
            "trace_id": opened.trace_id, "process": self._process, "target": opened.target.text, "ends_at": until,
            "packets": packets, "learnt": learnt,
        }  # fmt: skip
        await conn.execute(insert(trace).values(**row))
        self._own[opened.trace_id], self._told[opened.trace_id] = opened, learnt
        self._wake.set()

    async def run(self) -> None:
        """For ever; while the database is away a trace shows what its own process sees."""
        healthy = True
        while True:
            try:
                await self.turn()
                healthy = True
            except (SQLAlchemyError, OSError) as error:
                if healthy:
                    log.warning("radius.trace.not-shared", error=str(error))
                healthy = False
            self._wake.clear()
            try:
                async with asyncio.timeout(_BUSY_S if self._own or self._collected else _IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def turn(self) -> None:
        """Look once. Raises what the database raises."""
        self._own = {trace_id: opened for trace_id, opened in self._own.items() if opened.is_open}
        async with self._database.read() as conn:
            rows = (await conn.execute(select(trace))).all()
            mine = [one for one in rows if one.process == self._process and one.trace_id in self._own]
            events = await _events(conn, [one.trace_id for one in mine])
        now = self._clock.now()
        self._follow([one for one in rows if one.process != self._process and one.ends_at > now], now)
        found = {trace_id: collected.waiting() for trace_id, collected in self._collected.items()}
        left = [one for one in rows if one.process == self._process and one not in mine]
        over = [one.trace_id for one in rows if one.ends_at <= now or one in left]
        learnt = {trace_id: json.dumps(opened.target.learnt) for trace_id, opened in self._own.items()}
        changed = {trace_id: text for trace_id, text in learnt.items() if text != self._told.get(trace_id)}
        if events or over or changed or any(found.values()):
            async with self._database.begin() as conn:
                await self._write(conn, found)
                await _drop(conn, over, events)
                for trace_id, text in changed.items():
                    await conn.execute(update(trace).where(trace.c.trace_id == trace_id).values(learnt=text))
        self._told = learnt
        for event in sorted(events, key=lambda event: (event.at, event.process, event.number)):
            told = json.loads(event.body)
            opened = self._own[event.trace_id]
            if told["learnt"] is not None:
                opened.target.take_over(told["learnt"])
            opened.add(told["event"])
            opened.lost += told["lost"]

    def _follow(self, rows: list[Row[Any]], now: datetime) -> None:
        """Collect for every trace of another process that there is, and for no other."""
        known = {one.trace_id for one in rows}
        for trace_id in [trace_id for trace_id in self._collected if trace_id not in known]:
            self._collected.pop(trace_id).close()
        for row in rows:
            collected = self._collected.get(row.trace_id)
            if collected is None:
                seconds = (row.ends_at - now).total_seconds()
                collected = self._collect(row.trace_id, row.target, seconds=seconds, packets=row.packets)
                self._collected[row.trace_id] = collected
            collected.target.take_over(json.loads(row.learnt))

    async def _write(self, conn: AsyncConnection, found: dict[str, list[dict[str, Any]]]) -> None:
        rows = []
        for trace_id, events in found.items():
            collected = self._collected[trace_id]
            for event in events:
                # What was learnt goes with the first of them: it is as long as a packet.
                learnt = collected.target.learnt if event is events[0] else None
                body = json.dumps({"event": event, "learnt": learnt, "lost": collected.lost})
                collected.lost = 0
                key = {"trace_id": trace_id, "process": self._process, "number": next(self._numbers)}
                rows.append(key | {"at": event["at"], "body": body})
        if rows:
            await conn.execute(insert(trace_event), rows)


async def _events(conn: AsyncConnection, trace_ids: list[str]) -> list[Row[Any]]:
    if not trace_ids:
        return []
    columns = trace_event.c
    query = select(trace_event).where(columns.trace_id.in_(trace_ids))
    return list(await conn.execute(query.order_by(columns.number).limit(500)))


async def _drop(conn: AsyncConnection, over: list[str], read: list[Row[Any]]) -> None:
    """Traces that are over with all they have, and events that were read."""
    columns = trace_event.c
    if over:
        await conn.execute(delete(trace_event).where(columns.trace_id.in_(over)))
        await conn.execute(delete(trace).where(trace.c.trace_id.in_(over)))
    last = {(row.trace_id, row.process): row.number for row in sorted(read, key=lambda row: int(row.number))}
    for (trace_id, process), number in last.items():
        these = (columns.trace_id == trace_id) & (columns.process == process) & (columns.number <= number)
        await conn.execute(delete(trace_event).where(these))

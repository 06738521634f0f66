"""/audit-log, /events and /parked-events: what was changed by whom, and the facts that rooms told each other."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from controller.app.bus import Bus
from controller.http import cursor
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Instant, Out
from controller.store import audit
from controller.store import outbox as outbox_store
from controller.store.engine import Database
from controller.store.outbox import outbox

_ENVELOPE = ("event_id", "at", "actor")


class AuditEntryOut(Out):
    sequence: int
    at: Instant
    actor: str
    action: str
    object: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str | None
    digest: Annotated[str, Field(description="SHA-256 over this entry and the digest before it: the log is a chain.")]


class EventOut(Out):
    position: int
    event_id: str
    name: str
    at: Instant
    actor: str
    data: dict[str, Any]


class ParkedEventOut(Out):
    """An event that a subscriber could not handle; nothing of it has taken effect there."""

    subscriber: str
    position: int
    event_id: str
    name: str
    error: Annotated[str, Field(description="What the handler said last.")]
    attempts: int
    parked_at: Instant


class EventQuery(PageQuery):
    name: Annotated[str | None, Field(max_length=64, description='Only events of this name, e.g. "order.held".')] = None


def endpoints(database: Database, bus: Bus) -> list[Endpoint]:
    async def audit_log(call: Call) -> Page:
        query = call.query_as(PageQuery)
        before = cursor.decode(query.after, int)[0] if query.after else None
        async with database.read() as conn:
            rows = await audit.entries(conn, before=before, limit=query.limit + 1)
        page, following = cursor.cut(rows, query.limit, lambda row: (row["sequence"],))
        return Page([_entry(row) for row in page], following)

    async def events(call: Call) -> Page:
        query = call.query_as(EventQuery)
        statement = select(outbox).order_by(outbox.c.position.desc()).limit(query.limit + 1)
        if query.after:
            statement = statement.where(outbox.c.position < cursor.decode(query.after, int)[0])
        if query.name:
            statement = statement.where(outbox.c.name == query.name)
        async with database.read() as conn:
            rows = [dict(row._mapping) for row in await conn.execute(statement)]
        page, following = cursor.cut(rows, query.limit, lambda row: (row["position"],))
        return Page([_event(row) for row in page], following)

    async def parked_events(call: Call) -> Page:
        query = call.query_as(PageQuery)
        async with database.read() as conn:
            rows = await outbox_store.list_parked(conn)
        if query.after:
            after = cursor.decode(query.after, int, str)
            rows = [row for row in rows if (row["position"], row["subscriber"]) > after]
        page, following = cursor.cut(rows[: query.limit + 1], query.limit, lambda r: (r["position"], r["subscriber"]))
        return Page([ParkedEventOut(**row) for row in page], following)

    async def redeliver(call: Call) -> EventOut:
        position = call.path_int("position")
        event = await bus.redeliver(call.path["subscriber"], position, actor=call.actor)
        data = {k: v for k, v in json.loads(outbox_store.encode(event)).items() if k not in _ENVELOPE}
        return EventOut(
            position=position, event_id=event.event_id, name=event.name, at=event.at, actor=event.actor, data=data
        )

    return [
        Endpoint(
            "GET", "/audit-log", "admin:read", audit_log, "Who changed what, when and why",
            returns=AuditEntryOut, query=PageQuery, paged=True,
        ),
        Endpoint(
            "GET", "/events", "admin:read", events, "Facts as they happened",
            returns=EventOut, query=EventQuery, paged=True,
        ),
        Endpoint(
            "GET", "/parked-events", "admin:read", parked_events, "Events that a subscriber could not handle",
            returns=ParkedEventOut, query=PageQuery, paged=True,
        ),
        Endpoint(
            "POST", "/parked-events/{subscriber}/{position}/redeliver", "admin:write", redeliver,
            "Handle a parked event once more", returns=EventOut,
        ),
    ]  # fmt: skip


def _entry(row: dict[str, Any]) -> AuditEntryOut:
    fields = dict(row)
    for name in ("before", "after"):
        fields[name] = None if row[name] is None else json.loads(row[name])
    fields["digest"] = row["digest"].hex()
    return AuditEntryOut(**fields)


def _event(row: dict[str, Any]) -> EventOut:
    data = {k: v for k, v in json.loads(row["payload"]).items() if k not in _ENVELOPE}
    return EventOut(
        position=row["position"],
        event_id=row["event_id"],
        name=row["name"],
        at=row["at"],
        actor=row["actor"],
        data=data,
    )

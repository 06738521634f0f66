"""/audit-log and /events: what was changed by whom, and the facts that rooms told each other. Newest first."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import select

from controller.http import cursor
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import Instant, Out
from controller.store import audit
from controller.store.engine import Database
from controller.store.outbox import outbox


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


class EventQuery(PageQuery):
    name: Annotated[str | None, Field(max_length=64, description='Only events of this name, e.g. "order.held".')] = None


def endpoints(database: Database) -> list[Endpoint]:
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

    return [
        Endpoint(
            "GET", "/audit-log", "admin:read", audit_log, "Who changed what, when and why",
            returns=AuditEntryOut, query=PageQuery, paged=True,
        ),
        Endpoint(
            "GET", "/events", "admin:read", events, "Facts as they happened",
            returns=EventOut, query=EventQuery, paged=True,
        ),
    ]  # fmt: skip


def _entry(row: dict[str, Any]) -> AuditEntryOut:
    fields = dict(row)
    for name in ("before", "after"):
        fields[name] = None if row[name] is None else json.loads(row[name])
    fields["digest"] = row["digest"].hex()
    return AuditEntryOut(**fields)


def _event(row: dict[str, Any]) -> EventOut:
    data = {k: v for k, v in json.loads(row["payload"]).items() if k not in ("event_id", "at", "actor")}
    return EventOut(
        position=row["position"],
        event_id=row["event_id"],
        name=row["name"],
        at=row["at"],
        actor=row["actor"],
        data=data,
    )

"""HTTP of the quarantine: what is held, and the decision about it, which needs a reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, Octets, Out
from radius.accounting.quarantine import QuarantineItem, QuarantineService

Why = Annotated[str, StringConstraints(min_length=3, max_length=400, strip_whitespace=True)]


class QuarantineQuery(PageQuery):
    """Of one session everything is listed unless a state is asked for; of all, what is held."""

    state: Literal["held", "released", "counted", "dismissed", "retracted", "all"] | None = None
    session_key: IdText | None = None


class DecisionIn(BaseModel):
    """`why` goes into the audit log."""

    model_config = ConfigDict(extra="forbid")

    why: Why


class QuarantineOut(Out):
    """Octets that a session reported and that do not count. `…_limit_octets` is what can have been carried since the
    report before; `reported_…` the NAS's own counters. `packet_sha256` is the digest of the packet that said it."""

    quarantine_id: str
    session_key: str
    nas_id: str
    username: str
    service_id: str | None
    reason: str
    upstream_octets: Octets
    downstream_octets: Octets
    reported_upstream_octets: Octets | None
    reported_downstream_octets: Octets | None
    upstream_limit_octets: Octets | None
    downstream_limit_octets: Octets | None
    session_time_s: int | None
    event_at: Instant
    packet_sha256: str
    state: str
    decided_by: str | None
    decided_at: Instant | None
    why: str | None


def endpoints(quarantine: QuarantineService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(QuarantineQuery)
        state = query.state or ("held" if query.session_key is None else "all")
        found = await quarantine.list(
            state=None if state == "all" else state,
            before=query.last(str),
            limit=query.rows,
            session_key=query.session_key,
        )
        return Page.of(found, query, lambda item: (item.quarantine_id,), _out)

    async def show(call: Call) -> QuarantineOut:
        return _out(await quarantine.show(call.path["quarantine_id"]))

    async def release(call: Call) -> QuarantineOut:
        why = call.body_as(DecisionIn).why
        return _out(await quarantine.release(call.path["quarantine_id"], why=why, actor=call.actor))

    async def dismiss(call: Call) -> QuarantineOut:
        why = call.body_as(DecisionIn).why
        return _out(await quarantine.dismiss(call.path["quarantine_id"], why=why, actor=call.actor))

    return [
        Endpoint(
            "GET",
            "/quarantine",
            "radius:read",
            index,
            "List octets that are held out of sessions, newest first",
            returns=QuarantineOut,
            query=QuarantineQuery,
            paged=True,
        ),
        Endpoint(
            "GET", "/quarantine/{quarantine_id}", "radius:read", show, "One item that is held", returns=QuarantineOut
        ),
        Endpoint(
            "POST",
            "/quarantine/{quarantine_id}/release",
            "radius:write",
            release,
            "Let held octets count",
            returns=QuarantineOut,
            body=DecisionIn,
        ),
        Endpoint(
            "POST",
            "/quarantine/{quarantine_id}/dismiss",
            "radius:write",
            dismiss,
            "Say that held octets were never carried",
            returns=QuarantineOut,
            body=DecisionIn,
        ),
    ]


def _out(item: QuarantineItem) -> QuarantineOut:
    return QuarantineOut(**{name: getattr(item, name) for name in QuarantineOut.model_fields})

"""Changes of live sessions over HTTP: what was wanted, what the NAS answered, what was seen, and what was given up."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, Instant, Out
from radius.dynamic.model import FAILED, OPEN, Change, State
from radius.dynamic.queue import ChangeQueue
from radius.dynamic.repository import Asked

_GROUPS = {"open": OPEN, "failed": FAILED, None: ()}


class ChangeQuery(PageQuery):
    """`state` open is what is still pursued, failed what was refused or given up."""

    state: Literal["open", "failed"] | State | None = None
    service_id: IdText | None = None
    session_key: IdText | None = None
    nas_id: IdText | None = None


class ChangeOut(Out):
    """A change that a live session shall undergo.

    `answer` is the NAS's newest ("ack", "nak" or "timeout"), its word and no proof; `words` say what came of the change
    as far as it got. `proved` was observed in accounting, `gone` met a session that had ended. With `by_disconnect` the
    change was refused and the session is ended instead, as the policy of its NAS says. `next_at` is the next request
    or look. `limit_octets` or `limit_s` is how far the session may come since its begin, where its NAS holds that.
    """

    change_id: str
    session_key: str
    service_id: str | None
    nas_id: str
    kind: str
    profile_name: str | None
    downstream_bps: int | None
    upstream_bps: int | None
    limit_octets: int | None
    limit_s: int | None
    state: str
    by_disconnect: bool
    tries: int
    answer: str | None
    error_cause: int | None
    detail: str | None
    words: str | None
    requested_at: Instant
    requested_by: str
    asked_at: Instant | None
    next_at: Instant | None
    closed_at: Instant | None

    @classmethod
    def of(cls, change: Change) -> ChangeOut:
        profile, limit, plain = change.wanted.profile, change.wanted.limit, _PLAIN
        next_at: datetime | None = change.next_at if change.is_open else None
        return cls(
            **{name: getattr(change, name) for name in plain},
            kind=change.wanted.kind.value,
            profile_name=None if profile is None else profile.name,
            downstream_bps=None if profile is None else profile.downstream_bps,
            upstream_bps=None if profile is None else profile.upstream_bps,
            limit_octets=None if limit is None else limit.octets,
            limit_s=None if limit is None else limit.seconds,
            state=change.state.value,
            answer=change.last_result,
            error_cause=change.last_error_cause,
            detail=change.last_detail,
            next_at=next_at,
        )


_PLAIN = (
    "change_id", "session_key", "service_id", "nas_id", "by_disconnect", "tries", "words", "requested_at",
    "requested_by", "asked_at", "closed_at",
)  # fmt: skip


def endpoints(queue: ChangeQueue) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(ChangeQuery)
        states = (query.state,) if isinstance(query.state, State) else _GROUPS[query.state]
        asked = Asked(states, query.service_id, query.session_key, query.nas_id)
        found = await queue.page(asked, before=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda change: (change.change_id,), ChangeOut.of)

    async def show(call: Call) -> ChangeOut:
        return ChangeOut.of(await queue.show(call.path["change_id"]))

    return [
        Endpoint(
            "GET",
            "/radius/changes",
            scope="radius:read",
            handler=index,
            summary="Changes of live sessions by CoA and Disconnect, newest first",
            query=ChangeQuery,
            returns=ChangeOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/radius/changes/{change_id}",
            scope="radius:read",
            handler=show,
            summary="One change of a live session",
            returns=ChangeOut,
        ),
    ]

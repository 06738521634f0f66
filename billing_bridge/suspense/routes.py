"""Suspense over HTTP: what waits, why, since when and for how much, and the decisions that release it."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from billing_bridge.suspense.repository import Wanted
from billing_bridge.suspense.service import Released, SuspenseService, Total, Valued
from controller.domain.errors import RuleError
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyOut, Out

Reason = Literal[
    "unknown-service", "altered-record", "forgotten-session", "not-entitled", "malformed", "negative", "absurd",
    "clock-jump", "conflict", "no-price", "second-source",
]  # fmt: skip
State = Literal["waiting", "mapped", "charged", "written-off", "entitled", "accepted"]
_MAX_AGE_S = 10 * 366 * 86_400


class SuspenseQuery(PageQuery):
    """`state` all is every item there ever was; `min_age_s` leaves out what entered less than so many seconds ago."""

    state: State | Literal["all"] = "waiting"
    reason: Reason | None = None
    service_id: IdText | None = None
    username: Annotated[str, Field(max_length=253)] | None = None
    source: Annotated[str, Field(max_length=64)] | None = None
    min_age_s: Annotated[int, Field(ge=0, le=_MAX_AGE_S)] | None = None


class SuspenseOut(Out):
    """Usage that cannot be charged to anybody yet: why, how much, since when, and what was decided about it.

    Either what one accounting record added (`session_key`, `username`, `nas_id`, `record_ids`), or what a service used
    on a local day on which no plan held (`service_id`, `day`; its records are those of /usage/intervals), or what a
    `source` told in its record `source_record_id` under the identifier `username` (of a call `duration_s`). `value` is
    the most that it may be worth: at the price beyond the included volume of the plan before, else after; of usage that
    nobody is known to have, by the plan that most have of those that charge for such usage. `counted_on` is the day on
    which it is charged, once that was decided.
    """

    suspense_id: int
    reason: str
    state: str
    detail: str | None
    since: Instant
    until: Instant
    upstream_octets: int
    downstream_octets: int
    value: MoneyOut | None
    entered_at: Instant
    age_s: int
    session_key: str | None
    username: str | None
    nas_id: str | None
    record_ids: list[int]
    service_id: str | None
    day: date | None
    version_id: str | None
    counted_on: date | None
    decided_at: Instant | None
    decided_by: str | None
    source: str | None
    source_record_id: int | None
    duration_s: int | None

    @classmethod
    def of(cls, found: Valued, now: datetime) -> SuspenseOut:
        item = found.item
        return cls(
            suspense_id=item.suspense_id,
            reason=item.reason,
            state=item.state,
            detail=item.detail,
            since=item.since,
            until=item.until,
            upstream_octets=item.upstream_octets,
            downstream_octets=item.downstream_octets,
            value=None if found.value is None else MoneyOut.of(found.value),
            entered_at=item.entered_at,
            age_s=int((now - item.entered_at).total_seconds()),
            session_key=item.session_key,
            username=item.username,
            nas_id=item.nas_id,
            record_ids=list(item.record_ids),
            service_id=item.service_id,
            day=item.day,
            version_id=item.version_id,
            counted_on=item.counted_on,
            decided_at=item.decided_at,
            decided_by=item.decided_by,
            source=item.source,
            source_record_id=item.source_record_id,
            duration_s=item.duration_s,
        )


class SuspenseTotalOut(Out):
    """What waits for one reason. `values` has one amount per currency, and none where no plan is known."""

    reason: str
    items: int
    upstream_octets: int
    downstream_octets: int
    oldest_at: Instant | None
    oldest_age_s: int | None
    values: list[MoneyOut]

    @classmethod
    def of(cls, total: Total, now: datetime) -> SuspenseTotalOut:
        return cls(
            reason=total.reason,
            items=total.items,
            upstream_octets=total.upstream_octets,
            downstream_octets=total.downstream_octets,
            oldest_at=total.oldest_at,
            oldest_age_s=None if total.oldest_at is None else int((now - total.oldest_at).total_seconds()),
            values=[MoneyOut.of(value) for value in total.values],
        )


class SuspenseTotalsOut(Out):
    totals: list[SuspenseTotalOut]


class ReleaseIn(In):
    """What becomes of an item.

    map: from `since` (by default, from this usage on) its username belongs to `service_id`; everything of it that
    waits is taken up, and what comes later too. charge: a day without a plan counts on the nearest day that had one.
    accept: what a source told is true although it is not likely, or which source bills was decided meanwhile.
    write-off: this usage is never charged. `reason` goes into the audit log.
    """

    action: Literal["map", "charge", "accept", "write-off"]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]
    service_id: IdText | None = None
    since: Instant | None = None


class ReleasedOut(Out):
    """How many items left suspense with it, and their octets of both directions."""

    state: str
    items: int
    octets: int

    @classmethod
    def of(cls, released: Released) -> ReleasedOut:
        return cls(state=released.state, items=len(released.items), octets=released.octets)


def endpoints(suspense: SuspenseService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(SuspenseQuery)
        wanted = Wanted(
            state=None if query.state == "all" else query.state,
            reason=query.reason,
            service_id=query.service_id,
            username=query.username,
            source=query.source,
            entered_until=None if query.min_age_s is None else call.now - timedelta(seconds=query.min_age_s),
        )
        after = query.last(int) or 0
        found = await suspense.page(wanted, after, query.rows)
        return Page.of(found, query, lambda v: (v.item.suspense_id,), lambda v: SuspenseOut.of(v, call.now))

    async def totals(call: Call) -> SuspenseTotalsOut:
        return SuspenseTotalsOut(totals=[SuspenseTotalOut.of(t, call.now) for t in await suspense.totals()])

    async def show(call: Call) -> SuspenseOut:
        return SuspenseOut.of(await suspense.item(call.path_int("suspense_id")), call.now)

    async def release(call: Call) -> ReleasedOut:
        body, suspense_id = call.body_as(ReleaseIn), call.path_int("suspense_id")
        if body.action == "map":
            if body.service_id is None:
                raise RuleError("say to which service_id the username is mapped", code="service-id")
            released = await suspense.map_to_service(
                suspense_id, service_id=body.service_id, since=body.since, actor=call.actor, reason=body.reason
            )
        elif body.service_id is not None or body.since is not None:
            raise RuleError("service_id and since are for the action map", code="service-id")
        elif body.action == "charge":
            released = await suspense.charge(suspense_id, actor=call.actor, reason=body.reason)
        elif body.action == "accept":
            released = await suspense.accept(suspense_id, actor=call.actor, reason=body.reason)
        else:
            released = await suspense.write_off(suspense_id, actor=call.actor, reason=body.reason)
        return ReleasedOut.of(released)

    return [
        Endpoint("GET", "/suspense", "billing:read", index, "Usage that cannot be charged to anybody yet, oldest first",
                 query=SuspenseQuery, returns=SuspenseOut, paged=True),
        Endpoint("GET", "/suspense/totals", "billing:read", totals, "How much waits in suspense, by reason",
                 returns=SuspenseTotalsOut),
        Endpoint("GET", "/suspense/{suspense_id}", "billing:read", show, "One item of usage in suspense",
                 returns=SuspenseOut),
        Endpoint("POST", "/suspense/{suspense_id}/release", "billing:write", release,
                 "Map, charge, accept or write off usage in suspense", body=ReleaseIn, returns=ReleasedOut),
    ]  # fmt: skip

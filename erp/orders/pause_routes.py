"""Pauses of lines over HTTP: agreed, listed, ended, moved."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from controller.domain.identity import PauseId, SubscriptionId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, Out
from erp.orders.item_routes import Day
from erp.orders.pause_model import LinePause, PauseKind, PauseRequest
from erp.orders.pauses import PauseService


class PauseIn(In):
    """Days [first_on, until_on) of the line; until further notice without `until_on`. They may lie in the past.

    `percent` of the fees go on. `seasonal` is the customer's wish, `suspension` yours. With `service_off` nobody can
    log in on these days; `with_items` pauses the fees of what belongs to the line too.
    """

    kind: Literal["seasonal", "suspension"] = "seasonal"
    first_on: Day
    until_on: Day | None = None
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    reason: Annotated[str, StringConstraints(max_length=200)] = ""
    service_off: bool = True
    with_items: bool = True


class PauseEndIn(In):
    """`on` is the first day on which the line is in use again, today if absent; its first day calls the pause off."""

    on: Day | None = None


class PauseQuery(PageQuery):
    account_id: IdText | None = None
    subscription_id: IdText | None = None


class PauseOut(Out):
    """`state` is agreed, in-force, over or called-off by the calendar; `off_since` is when the line was out of use."""

    pause_id: str
    subscription_id: str
    service_id: str
    account_id: str
    kind: str
    state: str
    first_on: date
    until_on: date | None
    percent: int
    reason: str
    service_off: bool
    off_since: Instant | None
    agreed_at: Instant
    agreed_by: str

    @classmethod
    def of(cls, found: LinePause, today: date) -> PauseOut:
        return cls(
            pause_id=found.pause_id,
            subscription_id=found.subscription_id,
            service_id=found.service_id,
            account_id=found.account_id,
            kind=found.kind.value,
            state=found.state(today),
            first_on=found.first_on,
            until_on=found.until_on,
            percent=found.percent,
            reason=found.reason,
            service_off=found.service_off,
            off_since=found.off_since,
            agreed_at=found.agreed_at,
            agreed_by=found.agreed_by,
        )


def endpoints(pauses: PauseService) -> list[Endpoint]:
    return [*_pausing(pauses), *_looking(pauses)]


def _pausing(pauses: PauseService) -> list[Endpoint]:
    async def place(call: Call) -> PauseOut:
        body = call.body_as(PauseIn)
        request = PauseRequest(
            SubscriptionId(call.path["subscription_id"]),
            PauseKind(body.kind),
            body.first_on,
            body.until_on,
            body.percent,
            body.reason,
            body.service_off,
            body.with_items,
        )
        return await _shown(pauses, await pauses.place(request, actor=call.actor))

    async def end(call: Call) -> PauseOut:
        on = call.body_as(PauseEndIn).on
        return await _shown(pauses, await pauses.end(PauseId(call.path["pause_id"]), on, actor=call.actor))

    return [
        Endpoint(
            "POST",
            "/subscriptions/{subscription_id}/pauses",
            scope="orders:write",
            handler=place,
            summary="Pause a line by the day: its fees, and whether it can be used",
            body=PauseIn,
            returns=PauseOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/pauses/{pause_id}/end",
            scope="orders:write",
            handler=end,
            summary="End a pause on a day, or move its end; before its first day it is called off",
            body=PauseEndIn,
            returns=PauseOut,
        ),
    ]


def _looking(pauses: PauseService) -> list[Endpoint]:
    async def show(call: Call) -> PauseOut:
        return await _shown(pauses, await pauses.pause(PauseId(call.path["pause_id"])))

    async def index(call: Call) -> Page:
        query = call.query_as(PauseQuery)
        found = await pauses.pauses(
            account_id=query.account_id,
            subscription_id=query.subscription_id,
            after=query.last(str),
            limit=query.limit + 1,
        )
        days = {p.account_id: await pauses.today_of(p.account_id) for p in found}
        of: Callable[[LinePause], PauseOut] = lambda p: PauseOut.of(p, days[p.account_id])  # noqa: E731
        return Page.of(found, query, lambda p: (str(p.pause_id),), of)

    return [
        Endpoint(
            "GET",
            "/pauses/{pause_id}",
            scope="orders:read",
            handler=show,
            summary="One pause",
            returns=PauseOut,
        ),
        Endpoint(
            "GET",
            "/pauses",
            scope="orders:read",
            handler=index,
            summary="Pauses in the order in which they were agreed",
            query=PauseQuery,
            returns=PauseOut,
            paged=True,
        ),
    ]


async def _shown(pauses: PauseService, found: LinePause) -> PauseOut:
    return PauseOut.of(found, await pauses.today_of(found.account_id))

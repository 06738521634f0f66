"""Notices that go out by mail, over HTTP: what became of each, and who decides about one that is uncertain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal, TypeVar

from pydantic import StringConstraints

from controller.http.endpoint import Call, Page, PageQuery
from controller.http.models import IdText, In, Out
from controller.workflows.mailed_notices import MailedNotices, Notice

State = Literal["waiting", "sending", "sent", "withdrawn", "uncertain"]
N = TypeVar("N", bound=Notice)
Shown = TypeVar("Shown", bound=Out)


class NoticeQuery(PageQuery):
    state: State | None = None
    account_id: IdText | None = None


class NoticeDecisionIn(In):
    """`arrived`: the customer was told; false sends it again."""

    arrived: bool
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300)]


def handlers(
    notices: MailedNotices[N], answer: Callable[[N], Shown]
) -> tuple[Callable[[Call], Awaitable[Page]], Callable[[Call], Awaitable[Shown]]]:
    """(list them, decide about one of them), whatever they tell of."""

    async def listed(call: Call) -> Page:
        query = call.query_as(NoticeQuery)
        found = await notices.page(
            state=query.state, account_id=query.account_id, after=query.last(str), limit=query.rows
        )
        return Page.of(found, query, lambda n: (n.notice_id,), answer)

    async def decide(call: Call) -> Shown:
        body = call.body_as(NoticeDecisionIn)
        made = await notices.decide(call.path["notice_id"], arrived=body.arrived, actor=call.actor, reason=body.reason)
        return answer(made)

    return listed, decide

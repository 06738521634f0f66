"""What customers are told before their contracts end or renew, over HTTP: what became of it, and who decides."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Out
from controller.workflows.contract_notices import ContractNotice, ContractNotices

State = Literal["waiting", "sending", "sent", "withdrawn", "uncertain"]


class ContractNoticeQuery(PageQuery):
    state: State | None = None
    account_id: IdText | None = None


class ContractNoticeOut(Out):
    """`subject` is "subscription:id" or "item:id"; `ends_on` the first free day; uncertain ones wait for a person."""

    notice_id: str
    subject: str
    ends_on: date
    account_id: str
    recipient: str
    title: str
    text: str
    state: str
    words: str | None
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, found: ContractNotice) -> ContractNoticeOut:
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


class ContractNoticeDecisionIn(In):
    """`arrived`: the customer was told; false sends it again."""

    arrived: bool
    reason: Annotated[str, StringConstraints(min_length=1, max_length=300)]


def endpoints(notices: ContractNotices) -> list[Endpoint]:
    async def listed(call: Call) -> Page:
        query = call.query_as(ContractNoticeQuery)
        found = await notices.page(
            state=query.state, account_id=query.account_id, after=query.last(str), limit=query.rows
        )
        return Page.of(found, query, lambda n: (n.notice_id,), ContractNoticeOut.of)

    async def decide(call: Call) -> ContractNoticeOut:
        body = call.body_as(ContractNoticeDecisionIn)
        made = await notices.decide(call.path["notice_id"], arrived=body.arrived, actor=call.actor, reason=body.reason)
        return ContractNoticeOut.of(made)

    return [
        Endpoint(
            "GET",
            "/contract-notices",
            scope="orders:read",
            handler=listed,
            summary="What customers were told before their contracts end or renew",
            query=ContractNoticeQuery,
            returns=ContractNoticeOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/contract-notices/{notice_id}/decide",
            scope="orders:write",
            handler=decide,
            summary="Say what became of an uncertain one: the customer was told, or it is sent again",
            body=ContractNoticeDecisionIn,
            returns=ContractNoticeOut,
        ),
    ]

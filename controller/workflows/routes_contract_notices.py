"""What customers are told before their contracts end or renew, over HTTP: what became of it, and who decides."""

from __future__ import annotations

from datetime import date, datetime

from controller.http.endpoint import Endpoint
from controller.http.models import Out
from controller.workflows.contract_notices import ContractNotice, ContractNotices
from controller.workflows.routes_mailed_notices import NoticeDecisionIn, NoticeQuery, handlers


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


class ContractNoticeDecisionIn(NoticeDecisionIn):
    """`arrived`: the customer was told; false sends it again."""


def endpoints(notices: ContractNotices) -> list[Endpoint]:
    listed, decide = handlers(notices, ContractNoticeOut.of)
    return [
        Endpoint(
            "GET",
            "/contract-notices",
            scope="orders:read",
            handler=listed,
            summary="What customers were told before their contracts end or renew",
            query=NoticeQuery,
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

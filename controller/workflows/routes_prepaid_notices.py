"""What customers are told of their prepaid credit, over HTTP: what became of it, and who decides."""

from __future__ import annotations

from datetime import date, datetime

from controller.http.endpoint import Endpoint
from controller.http.models import Out
from controller.workflows.prepaid_notices import PrepaidNotice, PrepaidNotices
from controller.workflows.routes_mailed_notices import NoticeDecisionIn, NoticeQuery, handlers


class PrepaidNoticeDecisionIn(NoticeDecisionIn):
    """`arrived`: the customer was told; false sends it again."""


class PrepaidNoticeOut(Out):
    """`expires_on` is the first day without the credit; null where it says that little is left. Uncertain ones wait for
    a person."""

    notice_id: str
    service_id: str
    expires_on: date | None
    account_id: str
    recipient: str
    title: str
    text: str
    state: str
    words: str | None
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, found: PrepaidNotice) -> PrepaidNoticeOut:
        return cls(**{name: getattr(found, name) for name in cls.model_fields})


def endpoints(notices: PrepaidNotices) -> list[Endpoint]:
    listed, decide = handlers(notices, PrepaidNoticeOut.of)
    return [
        Endpoint(
            "GET",
            "/prepaid-notices",
            scope="billing:read",
            handler=listed,
            summary="What customers were told of their prepaid credit: that it expires, or that little is left",
            query=NoticeQuery,
            returns=PrepaidNoticeOut,
            paged=True,
        ),
        Endpoint(
            "POST",
            "/prepaid-notices/{notice_id}/decide",
            scope="billing:write",
            handler=decide,
            summary="Say what became of an uncertain one: the customer was told, or it is sent again",
            body=PrepaidNoticeDecisionIn,
            returns=PrepaidNoticeOut,
        ),
    ]

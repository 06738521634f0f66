"""What disputes are asked and answer over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from controller.http.endpoint import PageQuery
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.dunning.disputes import Dispute, Evidence


class DisputeQuery(PageQuery):
    account_id: IdText | None = None
    state: Literal["open", "upheld", "rejected"] | None = None


class DisputeIn(In):
    """Of an invoice or one of its lines an amount with its tax; without one, all that is open and not contested."""

    invoice_id: IdText
    line_id: IdText | None = None
    amount: MoneyIn | None = None
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class UpholdIn(In):
    resolution: Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]


class RejectIn(UpholdIn):
    """`days` until dunning of the amount goes on; by default the policy's."""

    days: Annotated[int, Field(ge=0, le=366)] | None = None


class DisputeOut(Out):
    """Dunning leaves the amount alone until `until_on`, and for as long as that is null.

    `taken_back` is what of its credit note was taken back later, by the document `taken_back_by`, and is owed again.
    """

    dispute_id: str
    account_id: str
    invoice_id: str
    line_id: str | None
    amount: MoneyOut
    reason: str
    state: str
    opened_on: date
    opened_at: Instant
    opened_by: str
    until_on: date | None
    resolved_at: Instant | None
    resolved_by: str | None
    resolution: str | None
    credit_note_id: str | None
    taken_back: MoneyOut | None
    taken_back_by: str | None

    @classmethod
    def of(cls, found: Dispute, **more: Any) -> DisputeOut:
        money = {"amount", "taken_back"}
        said = {name: getattr(found, name) for name in DisputeOut.model_fields if name not in money}
        gone = None if found.taken_back is None else MoneyOut.of(found.taken_back)
        return cls(**said, amount=MoneyOut.of(found.amount), taken_back=gone, **more)


class EvidenceOut(Out):
    """`content` is what the explanation of the line said when the dispute was opened; `sha256` is its digest."""

    line_id: str
    content: str
    sha256: str
    frozen_at: Instant

    @classmethod
    def of(cls, found: Evidence) -> EvidenceOut:
        return cls(line_id=found.line_id, content=found.content, sha256=found.sha256.hex(), frozen_at=found.frozen_at)


class DisputeWithEvidenceOut(DisputeOut):
    evidence: list[EvidenceOut]

"""Adjustments that wait for a tax service, over HTTP."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import StringConstraints

from controller.http.endpoint import Call, Endpoint
from controller.http.models import IdText, In, Instant, MoneyOut, Out
from erp.finance.adjusting import Adjusting
from erp.finance.adjustments import Noted

_MOST = 500


class WaitingAdjustmentOut(Out):
    """`attempts` failed so far, the last with `detail`; the next is at `next_at`. It regards days from `first_on` on.

    `tax_included`: the tax is in `net`.
    """

    account_id: str
    reference: str
    item: str
    reason: str
    net: MoneyOut
    tax_included: bool
    first_on: date | None
    subscription_id: str
    noted_at: Instant
    noted_by: str
    next_at: Instant
    attempts: int
    detail: str

    @classmethod
    def of(cls, found: Noted) -> WaitingAdjustmentOut:
        wanted = found.wanted
        return cls(
            account_id=wanted.account_id,
            reference=wanted.reference,
            item=wanted.item,
            reason=wanted.reason,
            net=MoneyOut.of(wanted.net),
            tax_included=wanted.tax_included,
            first_on=wanted.first_on,
            subscription_id=wanted.subscription_id,
            noted_at=found.noted_at,
            noted_by=found.actor,
            next_at=found.next_at,
            attempts=found.attempts,
            detail=found.detail,
        )


class WaitingAdjustmentsOut(Out):
    """The longest waiting first, 500 at most."""

    adjustments: list[WaitingAdjustmentOut]


class TriedOut(Out):
    """How many were issued, and how many wait on."""

    issued: int
    waiting: int


class WithdrawIn(In):
    """Which one is not issued any more, and why, for the audit log."""

    account_id: IdText
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    reason: Annotated[str, StringConstraints(min_length=3, max_length=300, strip_whitespace=True)]


def endpoints(adjusting: Adjusting) -> list[Endpoint]:
    async def waiting(call: Call) -> WaitingAdjustmentsOut:
        return WaitingAdjustmentsOut(
            adjustments=[WaitingAdjustmentOut.of(found) for found in await adjusting.noted(_MOST)]
        )

    async def again(_call: Call) -> TriedOut:
        issued = await adjusting.once(at_once=True)
        return TriedOut(issued=issued, waiting=await adjusting.waiting())

    async def withdraw(call: Call) -> WaitingAdjustmentOut:
        body = call.body_as(WithdrawIn)
        found = await adjusting.withdraw(body.account_id, body.reference, reason=body.reason, actor=call.actor)
        return WaitingAdjustmentOut.of(found)

    return [
        Endpoint(
            "GET",
            "/adjustments/waiting",
            scope="finance:read",
            handler=waiting,
            summary="Late fees and the like that wait for the tax service to answer",
            returns=WaitingAdjustmentsOut,
        ),
        Endpoint(
            "POST",
            "/adjustments/waiting/try",
            scope="finance:write",
            handler=again,
            summary="Ask the tax service now for those that wait, without waiting for their next turn",
            returns=TriedOut,
        ),
        Endpoint(
            "POST",
            "/adjustments/waiting/withdraw",
            scope="finance:write",
            handler=withdraw,
            summary="Issue one that waits no more",
            body=WithdrawIn,
            returns=WaitingAdjustmentOut,
        ),
    ]

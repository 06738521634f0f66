"""Adjustments that wait for a tax service, over HTTP."""

from __future__ import annotations

from controller.http.endpoint import Call, Endpoint
from controller.http.models import Instant, MoneyOut, Out
from erp.finance.adjusting import Adjusting
from erp.finance.adjustments import Noted

_MOST = 500


class WaitingAdjustmentOut(Out):
    """`attempts` failed so far, the last with `detail`."""

    account_id: str
    reference: str
    item: str
    reason: str
    net: MoneyOut
    noted_at: Instant
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
            noted_at=found.noted_at,
            attempts=found.attempts,
            detail=found.detail,
        )


class WaitingAdjustmentsOut(Out):
    """The longest waiting first, 500 at most."""

    adjustments: list[WaitingAdjustmentOut]


def endpoints(adjusting: Adjusting) -> list[Endpoint]:
    async def waiting(call: Call) -> WaitingAdjustmentsOut:
        return WaitingAdjustmentsOut(
            adjustments=[WaitingAdjustmentOut.of(found) for found in await adjusting.noted(_MOST)]
        )

    return [
        Endpoint(
            "GET",
            "/adjustments/waiting",
            scope="finance:read",
            handler=waiting,
            summary="Late fees and the like that wait for the tax service to answer",
            returns=WaitingAdjustmentsOut,
        )
    ]

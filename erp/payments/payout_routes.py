"""What gateways sent to our bank, over HTTP."""

from __future__ import annotations

from datetime import date

from controller.http.endpoint import Call, Endpoint
from controller.http.models import MoneyOut, Out
from erp.payments.fee_rows import Payout
from erp.payments.fees import GatewayFees

_MOST = 500


class PayoutOut(Out):
    """`state` is sent, arrived (`line_id` is the line of a statement) or failed.

    `checked` is asked until its transactions were listed, then agrees, or differs by `difference`.
    """

    gateway: str
    payout_id: str
    amount: MoneyOut
    arrival_on: date
    state: str
    line_id: str | None
    checked: str
    difference: MoneyOut
    detail: str

    @classmethod
    def of(cls, found: Payout) -> PayoutOut:
        return cls(
            gateway=found.gateway,
            payout_id=found.payout_id,
            amount=MoneyOut.of(found.amount),
            arrival_on=found.arrival_on,
            state=found.state,
            line_id=found.line_id,
            checked=found.checked,
            difference=MoneyOut.of(found.difference),
            detail=found.detail,
        )


class PayoutsOut(Out):
    """The latest expected first, 500 at most."""

    payouts: list[PayoutOut]


def endpoints(fees: GatewayFees) -> list[Endpoint]:
    async def payouts(_call: Call) -> PayoutsOut:
        return PayoutsOut(payouts=[PayoutOut.of(found) for found in await fees.payouts(_MOST)])

    return [
        Endpoint(
            "GET",
            "/payouts",
            scope="finance:read",
            handler=payouts,
            summary="What gateways sent to our bank, whether it arrived and whether its transactions make it",
            returns=PayoutsOut,
        )
    ]

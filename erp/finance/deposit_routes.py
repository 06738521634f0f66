"""Deposits over HTTP: taken, listed, given back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, MoneyIn, MoneyOut, Out
from erp.finance.deposits import Deposit, DepositService


class DepositIn(In):
    """Money that was received to be held. `reference` is yours: the same again is the same deposit."""

    amount: MoneyIn
    into: Literal["bank", "cash"] = "bank"
    reference: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[\x20-\x7e]+$")]


class ReleaseIn(In):
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DepositQuery(PageQuery):
    account_id: IdText | None = None


class DepositOut(Out):
    """`payment_id` is the payment of the account that it became when it was given back; null while it is held."""

    deposit_id: str
    account_id: str
    amount: MoneyOut
    reference: str
    taken_at: Instant
    taken_by: str
    payment_id: str | None
    released_at: Instant | None
    reason: str | None

    @classmethod
    def of(cls, found: Deposit) -> DepositOut:
        return cls(
            deposit_id=found.deposit_id,
            account_id=found.account_id,
            amount=MoneyOut.of(found.amount),
            reference=found.reference,
            taken_at=found.taken_at,
            taken_by=found.taken_by,
            payment_id=found.payment_id,
            released_at=found.released_at,
            reason=found.reason,
        )


def endpoints(deposits: DepositService) -> list[Endpoint]:
    async def take(call: Call) -> DepositOut:
        body = call.body_as(DepositIn)
        account_id = AccountId(call.path["account_id"])
        made = await deposits.take(account_id, body.amount.money(), body.into, body.reference, actor=call.actor)
        return DepositOut.of(made)

    async def release(call: Call) -> DepositOut:
        reason = call.body_as(ReleaseIn).reason
        return DepositOut.of(await deposits.release(call.path["deposit_id"], reason=reason, actor=call.actor))

    async def index(call: Call) -> Page:
        query = call.query_as(DepositQuery)
        found = await deposits.deposits(query.account_id, query.last(str), query.limit + 1)
        return Page.of(found, query, lambda d: (d.deposit_id,), DepositOut.of)

    return [
        Endpoint(
            "POST",
            "/accounts/{account_id}/deposits",
            scope="finance:write",
            handler=take,
            summary="Take a deposit of an account, to be held",
            body=DepositIn,
            returns=DepositOut,
            status=201,
        ),
        Endpoint(
            "POST",
            "/deposits/{deposit_id}/release",
            scope="finance:write",
            handler=release,
            summary="Give a deposit back: it settles what is open, and the rest is the customer's",
            body=ReleaseIn,
            returns=DepositOut,
        ),
        Endpoint(
            "GET",
            "/deposits",
            scope="finance:read",
            handler=index,
            summary="Deposits in the order in which they were taken",
            query=DepositQuery,
            returns=DepositOut,
            paged=True,
        ),
    ]

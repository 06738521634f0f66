"""Making services prepaid and topping them up, over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from billing_bridge.prepaid.answers import CloseIn, PrepaidIn, PrepaidOut
from billing_bridge.prepaid.service import NewTerms
from controller.domain.credit import FinalAction
from controller.domain.identity import AccountId, OfferingVersionId, ServiceId
from controller.http.endpoint import Call, Endpoint
from controller.http.models import In, MoneyIn
from controller.workflows.prepaid import PrepaidSales, TopUp


class TopUpIn(In):
    """What was paid, with its tax, and where it is. `reference` is yours: the same again adds nothing.

    Of a balance in octets or seconds `units` says how many were bought, and `tax_percent` the tax in what was paid.
    """

    paid: MoneyIn
    into: Literal["bank", "cash"] = "bank"
    reference: Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[\x20-\x7e]+$")]
    units: Annotated[int, Field(gt=0, le=2**53)] | None = None
    tax_percent: Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)] | None = None


def endpoints(sales: PrepaidSales) -> list[Endpoint]:
    async def put(call: Call) -> PrepaidOut:
        body = call.body_as(PrepaidIn)
        version = None if body.version_id is None else OfferingVersionId(body.version_id)
        wanted = NewTerms(
            version, body.slice, body.validity_s, FinalAction(body.when_empty), body.credit_days, body.notice_days,
            body.low_balance,
        )  # fmt: skip
        unit = body.currency if body.unit == "money" else body.unit
        service_id, account_id = ServiceId(call.path["service_id"]), AccountId(body.account_id)
        return PrepaidOut.of(await sales.open(service_id, account_id, unit, body.currency, wanted, actor=call.actor))

    async def top_up(call: Call) -> PrepaidOut:
        body = call.body_as(TopUpIn)
        wanted = TopUp(body.paid.money(), body.into, body.reference, body.units, body.tax_percent)
        return PrepaidOut.of(await sales.top_up(ServiceId(call.path["service_id"]), wanted, actor=call.actor))

    async def close(call: Call) -> PrepaidOut:
        body, service_id = call.body_as(CloseIn), ServiceId(call.path["service_id"])
        found = await sales.close(service_id, pay_out=body.pay_out, actor=call.actor, reason=body.reason)
        return PrepaidOut.of(found)

    return [
        Endpoint(
            "POST",
            "/services/{service_id}/prepaid/close",
            scope="billing:write",
            handler=close,
            summary="A service is prepaid no more; once all use is debited, what is left is paid to the account",
            body=CloseIn,
            returns=PrepaidOut,
        ),
        Endpoint(
            "PUT",
            "/services/{service_id}/prepaid",
            scope="billing:write",
            handler=put,
            summary="Make a service prepaid, or change how it is paid from now on",
            body=PrepaidIn,
            returns=PrepaidOut,
        ),
        Endpoint(
            "POST",
            "/services/{service_id}/prepaid/top-ups",
            scope="finance:write",
            handler=top_up,
            summary="Take money for a prepaid balance; sessions in the garden go on",
            body=TopUpIn,
            returns=PrepaidOut,
            status=201,
        ),
    ]

"""Prepaid balances over HTTP: looked at, and closed. Opening and topping up need the accounts and the books too."""

from __future__ import annotations

from billing_bridge.prepaid.answers import CloseIn, MovementOut, PrepaidOut, PrepaidQuery
from billing_bridge.prepaid.service import PrepaidService
from controller.domain.identity import ServiceId
from controller.http.endpoint import Call, Endpoint, Page, PageQuery


def endpoints(prepaid: PrepaidService) -> list[Endpoint]:
    async def index(call: Call) -> Page:
        query = call.query_as(PrepaidQuery)
        found = await prepaid.page(account_id=query.account_id, after=query.last(str), limit=query.limit + 1)
        return Page.of(found, query, lambda state: (state.wallet.service_id,), PrepaidOut.of)

    async def show(call: Call) -> PrepaidOut:
        return PrepaidOut.of(await prepaid.show(ServiceId(call.path["service_id"])))

    async def close(call: Call) -> PrepaidOut:
        service_id, reason = ServiceId(call.path["service_id"]), call.body_as(CloseIn).reason
        return PrepaidOut.of(await prepaid.close(service_id, actor=call.actor, reason=reason))

    async def movements(call: Call) -> Page:
        query = call.query_as(PageQuery)
        service_id = ServiceId(call.path["service_id"])
        found = await prepaid.movements(service_id, before=query.last(int), limit=query.limit + 1)
        return Page.of(found, query, lambda moved: (moved.sequence,), MovementOut.of)

    return [
        Endpoint(
            "GET",
            "/prepaid",
            scope="billing:read",
            handler=index,
            summary="Prepaid balances, by service",
            query=PrepaidQuery,
            returns=PrepaidOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/services/{service_id}/prepaid",
            scope="billing:read",
            handler=show,
            summary="The prepaid balance of a service, and what is reserved of it",
            returns=PrepaidOut,
        ),
        Endpoint(
            "POST",
            "/services/{service_id}/prepaid/close",
            scope="billing:write",
            handler=close,
            summary="A service is prepaid no more; what is left of its balance stays known",
            body=CloseIn,
            returns=PrepaidOut,
        ),
        Endpoint(
            "GET",
            "/services/{service_id}/prepaid/movements",
            scope="billing:read",
            handler=movements,
            summary="What moved a prepaid balance, newest first",
            query=PageQuery,
            returns=MovementOut,
            paged=True,
        ),
    ]

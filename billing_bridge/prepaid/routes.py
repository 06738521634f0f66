"""Prepaid balances over HTTP, to look at. What moves money needs the accounts and the books too."""

from __future__ import annotations

from billing_bridge.prepaid.answers import CallEndIn, CallIn, CallOut, MovementOut, PrepaidOut, PrepaidQuery
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

    async def movements(call: Call) -> Page:
        query = call.query_as(PageQuery)
        service_id = ServiceId(call.path["service_id"])
        found = await prepaid.movements(service_id, before=query.last(int), limit=query.limit + 1)
        return Page.of(found, query, lambda moved: (moved.sequence,), MovementOut.of)

    async def grant_call(call: Call) -> CallOut:
        body, service_id = call.body_as(CallIn), ServiceId(call.path["service_id"])
        return CallOut.of(await prepaid.grant_call(service_id, body.call_id, body.number, body.wanted_s))

    async def end_call(call: Call) -> CallOut:
        service_id, duration_s = ServiceId(call.path["service_id"]), call.body_as(CallEndIn).duration_s
        return CallOut.of(await prepaid.end_call(service_id, call.path["call_id"], duration_s))

    return [
        Endpoint("POST", "/services/{service_id}/prepaid/calls", "usage:write", grant_call,
                 "Reserve seconds of a prepaid balance for a call that begins or goes on", body=CallIn,
                 returns=CallOut),
        Endpoint("POST", "/services/{service_id}/prepaid/calls/{call_id}/end", "usage:write", end_call,
                 "A call has ended: debit it, once", body=CallEndIn, returns=CallOut),
        Endpoint("GET", "/prepaid", "billing:read", index, "Prepaid balances, by service", query=PrepaidQuery,
                 returns=PrepaidOut, paged=True),
        Endpoint("GET", "/services/{service_id}/prepaid", "billing:read", show,
                 "The prepaid balance of a service, and what is reserved of it", returns=PrepaidOut),
        Endpoint("GET", "/services/{service_id}/prepaid/movements", "billing:read", movements,
                 "What moved a prepaid balance, newest first", query=PageQuery, returns=MovementOut, paged=True),
    ]  # fmt: skip

"""Links to an account's usage, over HTTP: made, listed and withdrawn by staff."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from controller.domain.identity import AccountId
from controller.http.endpoint import Call, Endpoint
from controller.http.models import In, Instant, Out
from erp.crm.usage_links import LONGEST_DAYS, UsageLink, UsageLinks

PAGE = "/my-usage/{secret}"
"""Where a customer opens it, below the address of this server."""


class UsageLinkIn(In):
    days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = 90


class UsageLinkOut(Out):
    """Of a customer's access to the usage of one account."""

    link_id: str
    account_id: str
    created_at: Instant
    created_by: str
    expires_at: Instant
    withdrawn_at: Instant | None

    @classmethod
    def of(cls, found: UsageLink) -> UsageLinkOut:
        return cls(**{name: getattr(found, name) for name in UsageLink.__slots__})


class NewUsageLinkOut(UsageLinkOut):
    """`path` is where the customer opens it. It holds the secret, and is told this once."""

    path: str


class UsageLinksOut(Out):
    """The newest first."""

    links: list[UsageLinkOut]


def endpoints(links: UsageLinks) -> list[Endpoint]:
    async def index(call: Call) -> UsageLinksOut:
        found = await links.links(AccountId(call.path["account_id"]))
        return UsageLinksOut(links=[UsageLinkOut.of(link) for link in found])

    async def make(call: Call) -> NewUsageLinkOut:
        account_id, days = AccountId(call.path["account_id"]), call.body_as(UsageLinkIn).days
        made, secret = await links.make(account_id, days, actor=call.actor)
        return NewUsageLinkOut(**UsageLinkOut.of(made).model_dump(), path=PAGE.format(secret=secret))

    async def withdraw(call: Call) -> UsageLinkOut:
        return UsageLinkOut.of(await links.withdraw(call.path["link_id"], actor=call.actor))

    return [
        Endpoint(
            "GET", "/accounts/{account_id}/usage-links", scope="crm:read", handler=index,
            summary="Links by which a customer sees an account's usage", returns=UsageLinksOut,
        ),
        Endpoint(
            "POST", "/accounts/{account_id}/usage-links", scope="crm:write", handler=make,
            summary="Make a link by which a customer sees an account's usage; its address is told once",
            body=UsageLinkIn, returns=NewUsageLinkOut, status=201,
        ),
        Endpoint(
            "POST", "/usage-links/{link_id}/withdraw", scope="crm:write", handler=withdraw,
            summary="Withdraw a link to an account's usage", returns=UsageLinkOut,
        ),
    ]  # fmt: skip

"""What gateways sent to our bank: on its way or arrived, and whether its transactions make it."""

from __future__ import annotations

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.table import Column
from controller.web.office.view import Link, list_page
from controller.web.site import Site, Visit, WebPage

PAYOUTS = (
    Column("Expected", "arrival_on", link="{href}", sub="payout_id"),
    Column("Gateway", "gateway"),
    Column("State", "state", "state"),
    Column("Transactions", "checked", "state", sub="detail"),
    Column("Difference", "difference", "money"),
    Column("Amount", "amount", "money"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/payouts"):
        return []

    async def payouts(visit: Visit) -> Response:
        found = (await api.get(visit, "/payouts"))["payouts"]
        rows = [row | {"href": f"/bank/lines/{row['line_id']}" if row["line_id"] else ""} for row in found]
        return list_page(
            site, visit, "Payouts", {"items": rows, "next": None}, PAYOUTS,
            intro="What gateways sent. Its fees are booked; its transactions, less their fees, make its amount.",
            nothing="No gateway has sent anything yet.", links=[Link("Bank", "/bank")],
        )  # fmt: skip

    return [WebPage("GET", "/payouts", "finance:read", payouts)]

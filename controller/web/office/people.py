"""Pages of customers, and the audit log."""

from __future__ import annotations

import json

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office import fields, money
from controller.web.office.view import Link, detail_page, list_page, part_of
from controller.web.site import Site, Visit, WebPage


def pages(site: Site, api: Api) -> list[WebPage]:
    async def customers(visit: Visit) -> Response:
        page = await api.get(visit, "/customers", query={"after": visit.query("after")})
        return list_page(site, visit, "Customers", page, fields.CUSTOMERS, nothing="No customer yet.")

    async def customer(visit: Visit) -> Response:
        row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        account = row["account_id"]
        parts = [
            *await part_of(
                api, visit, "Subscriptions", "/subscriptions", "orders:read", fields.SUBSCRIPTIONS, account_id=account
            ),
            *await part_of(
                api, visit, "Invoices", "/invoices", "finance:read", money.OF_ONE_CUSTOMER, account_id=account
            ),
            *await part_of(api, visit, "Orders", "/orders", "orders:read", fields.ORDERS, account_id=account),
        ]
        return detail_page(
            site, visit, row["name"], row, fields.CUSTOMER, back=Link("Customers", "/customers"), parts=parts
        )

    async def audit(visit: Visit) -> Response:
        page = await api.get(visit, "/audit-log", query={"after": visit.query("after")})
        for row in page["items"]:
            for side in ("before", "after"):
                row[side] = json.dumps(row[side], ensure_ascii=False) if row[side] else None
        return list_page(
            site, visit, "Audit log", page, fields.AUDIT,
            intro="Who changed what, newest first. Each entry covers the one before, so none can be altered unseen.",
        )  # fmt: skip

    return [
        WebPage("GET", "/customers", "crm:read", customers),
        WebPage("GET", "/customers/{customer_id}", "crm:read", customer),
        WebPage("GET", "/audit", "admin:read", audit),
    ]

"""Pages of customers, and the audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office import (
    card_charges,
    dunning,
    family,
    fields,
    mandates,
    money,
    next_bill,
    pauses,
    resale,
    strip,
    taxes,
    usage_links,
)
from controller.web.office.history import invoices_card
from controller.web.office.view import Filter, Link, Part, detail_page, list_page, part_of
from controller.web.site import Site, Visit, WebPage

CHANGES = (
    ("New line", "order", "orders:write"),
    ("Products and contracts", "items", "orders:read"),
    ("Record a payment", "payment", "finance:write"),
    ("Adjust", "adjustment", "finance:write"),
    ("Belongs to", "parent", "crm:write"),
    ("Take a deposit", "deposit", "finance:write"),
)
"""What can be done for a customer: label, end of the address, scope."""


def pages(site: Site, api: Api) -> list[WebPage]:
    async def customers(visit: Visit) -> Response:
        query = {"q": visit.query("q")[:120], "after": visit.query("after")}
        return list_page(
            site, visit, "Customers", await api.get(visit, "/customers", query=query), fields.CUSTOMERS,
            filters=(Filter("q", "Search", "name, e-mail or address"),),
            nothing="No customer fits." if visit.query("q") else "There is no customer yet.",
            make=Link("New customer", "/customers/new"), make_scope="crm:write",
        )  # fmt: skip

    async def customer(visit: Visit) -> Response:
        row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        return detail_page(
            site,
            visit,
            row["name"],
            row,
            fields.CUSTOMER,
            back=Link("Customers", "/customers"),
            parts=await _parts(api, visit, row),
            links=[
                Link(label, f"/customers/{row['customer_id']}/{what}")
                for label, what, scope in CHANGES
                if visit.principal.may(scope)
            ]
            + usage_links.link(api, visit, row["customer_id"])
            + dunning.link(api, visit, row["account_id"]),
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


async def _parts(api: Api, visit: Visit, row: Mapping[str, Any]) -> list[Part]:
    """All that is known of a customer, as far as the visitor may see it."""
    account = row["account_id"]
    invoices = await part_of(
        api, visit, "Invoices", "/invoices", "finance:read", money.OF_ONE_CUSTOMER, account_id=account
    )
    today = visit.now.date()
    documents = [
        replace(part, rows=[{**found, "state": money.state_of(found, today)} for found in part.rows])
        for part in invoices
    ]
    lines = await part_of(
        api, visit, "Subscriptions", "/subscriptions", "orders:read", fields.SUBSCRIPTIONS, account_id=account
    )
    names = {line["service_id"]: line["username"] for part in lines for line in part.rows}
    return [
        *await strip.timeline(api, visit, account, names, next_bill.links(api, visit, row)),
        *lines,
        *await pauses.card(api, visit, account_id=account),
        *await family.cards(api, visit, account),
        *(card for part in documents for card in invoices_card(part.rows)),
        *documents,
        *await part_of(api, visit, "Payments", "/payments", "finance:read", money.PAYMENTS, account_id=account),
        *await card_charges.card(api, visit, row),
        *await mandates.card(api, visit, row),
        *await taxes.card(api, visit, row),
        *await resale.card(api, visit, row),
        *await part_of(api, visit, "Orders", "/orders", "orders:read", fields.ORDERS_OF_CUSTOMER, account_id=account),
    ]

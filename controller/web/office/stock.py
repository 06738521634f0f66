"""The page of what is in stock."""

from __future__ import annotations

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.view import Filter, Link, list_page
from controller.web.site import Site, Visit, WebPage

STATES = ("in-stock", "reserved", "installed", "awaiting-return", "faulty")


def pages(site: Site, api: Api) -> list[WebPage]:
    async def stock(visit: Visit) -> Response:
        state = visit.query("state")
        query = {
            "serial": visit.query("q"), "state": state if state in STATES else "", "after": visit.query("after"),
        }  # fmt: skip
        return list_page(
            site, visit, "Stock", await api.get(visit, "/stock-items", query=query), fields.STOCK,
            filters=(Filter("q", "Serial", "all of it"), Filter("state", "State", choices=STATES)),
            nothing="No item fits.", make=Link("Receive an item", "/stock/new"), make_scope="inventory:write",
        )  # fmt: skip

    return [
        WebPage("GET", "/stock", "inventory:read", stock),
    ]

"""Pages of what is sold and what it is sold with: offerings and stock."""

from __future__ import annotations

from datetime import date
from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.view import Filter, Link, list_page
from controller.web.site import Site, Visit, WebPage

STATES = ("in-stock", "reserved", "installed", "awaiting-return", "faulty")


def pages(site: Site, api: Api) -> list[WebPage]:
    async def offerings(visit: Visit) -> Response:
        page = await api.get(visit, "/offerings", query={"after": visit.query("after")})
        rows = [row | in_force(row["versions"], visit.now.date()) for row in page["items"]]
        return list_page(
            site, visit, "Offerings", page | {"items": rows}, fields.OFFERINGS, nothing="Nothing is sold yet.",
            make=Link("New offering", "/offerings/new"), make_scope="catalog:write",
        )  # fmt: skip

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
        WebPage("GET", "/offerings", "catalog:read", offerings),
        WebPage("GET", "/stock", "inventory:read", stock),
    ]


def in_force(versions: list[dict[str, Any]], today: date) -> dict[str, Any]:
    """The version that holds today, else the first to come."""
    past = [version for version in versions if version["effective_on"] <= today.isoformat()]
    latest = max(past, key=lambda v: (v["effective_on"], v["number"]), default=None)
    return {"now": latest or min(versions, key=lambda v: v["effective_on"])}

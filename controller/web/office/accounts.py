"""Accounts by their customers' names: what a field for an account offers while somebody types."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from controller.web.api import Api
from controller.web.site import Site, Visit, WebPage

_OFFERED = "12"


def pages(site: Site, api: Api) -> list[WebPage]:
    async def found(visit: Visit) -> Response:
        rows = []
        if visit.query("q"):
            page = await api.get(visit, "/customers", query={"q": visit.query("q")[:120], "limit": _OFFERED})
            rows = [{"value": named(row["name"], row["account_id"]), "about": row["address"]} for row in page["items"]]
        return JSONResponse({"found": rows})

    if not api.has("GET", "/customers"):
        return []
    return [WebPage("GET", "/customers/found", "crm:read", found, fragment=True)]


def named(name: str, account_id: str) -> str:
    """As a field for an account shows one."""
    return f"{name} ({account_id})"

"""What each NAS's accounting of the last day says about the NAS: turned directions, narrow counters, lost interims."""

from __future__ import annotations

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.view import list_page
from controller.web.radius import elsewhere, fields
from controller.web.site import Site, Visit, WebPage

_SOUND = "counts as it should"


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/nas-checks"):
        return []

    async def checks(visit: Visit) -> Response:
        page = await api.get(visit, "/nas-checks", query={"after": visit.query("after")})
        rows = await elsewhere.with_nas(api, visit, page["items"])
        told = [row | {"finding": "; ".join(row["findings"]) or _SOUND} for row in rows]
        return list_page(
            site, visit, "NAS checks", page | {"items": sorted(told, key=lambda row: row["finding"] == _SOUND)},
            fields.NAS_CHECKS, intro="What the accounting of the last day says. Nothing is turned by itself.",
            nothing="No NAS has sent accounting within the last day.",
        )  # fmt: skip

    return [WebPage("GET", "/nas/checks", "radius:read", checks)]

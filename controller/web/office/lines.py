"""Changing the plan of a line that there is, and ending it: a preview of price and device plan, then the order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.errors import NotFound
from controller.web.api import Api
from controller.web.office import ordering
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.view import Link
from controller.web.site import Site, Visit, WebPage

PLAN, END = "/services/{service_id}/plan", "/services/{service_id}/end"
PAUSE = "/services/{service_id}/pause"


def pages(site: Site, api: Api) -> list[WebPage]:
    async def plan_form(visit: Visit) -> Form:
        line = await line_of(api, visit)
        chosen = Field("offering_id", "New plan", required=True, choices=await ordering.offerings(api, visit))
        buttons = (("preview", "Preview"), ("place", "Order the change"))
        return Form(
            f"Change the plan of {line['username']}", (chosen,), _back(visit, line), buttons,
            "It is charged from the moment at which network and session show the new speed.",
        )  # fmt: skip

    async def end_form(visit: Visit) -> Form:
        line = await line_of(api, visit)
        return Form(
            f"End the line of {line['username']}", (), _back(visit, line),
            (("preview", "Preview"), ("place", "End the line")),
            "The subscriber is signed out, the devices give the line up, and the ONU goes back to stock.",
        )  # fmt: skip

    def both(path: str, make: Any, action: str) -> list[WebPage]:
        async def fresh(visit: Visit) -> Response:
            return show(site, visit, await make(visit))

        async def order(visit: Visit) -> Response:
            form, line = await make(visit), await line_of(api, visit)

            async def send(filled: Filled) -> Response:
                body = {"action": action, "subscription_id": line["subscription_id"], **filled.body}
                if visit.form.get("do") != "place":
                    found = await api.post(visit, "/orders/dry-run", body=body)
                    return show(site, visit, form, filled, parts=ordering.preview(found))
                placed = await api.post(visit, "/orders", body=body)
                return RedirectResponse(f"/orders/{placed['order_id']}", status_code=303)

            return await sent(site, visit, form, send)

        return [WebPage("GET", path, "orders:write", fresh), WebPage("POST", path, "orders:write", order)]

    return [*both(PLAN, plan_form, "modify"), *both(END, end_form, "delete")]


async def changes(api: Api, visit: Visit, service_id: str) -> list[Link]:
    """What the viewer may order for a line: nothing for one that has ended."""
    if not visit.principal.may("orders:write") or not visit.principal.may("orders:read"):
        return []
    line = await _find(api, visit, service_id)
    if line is None or line["ended_at"] is not None:
        return []
    return [
        Link("Change plan", PLAN.format(service_id=service_id)),
        Link("Pause line", PAUSE.format(service_id=service_id)),
        Link("End line", END.format(service_id=service_id)),
    ]


async def subscription_of(api: Api, visit: Visit, service_id: str) -> str:
    """The subscription of a service; "" where there is none, or the viewer may not know."""
    line = await _find(api, visit, service_id) if visit.principal.may("orders:read") else None
    return str(line["subscription_id"]) if line else ""


async def line_of(api: Api, visit: Visit) -> Mapping[str, Any]:
    """The subscription of the service in the address. Raises NotFound."""
    found = await _find(api, visit, visit.path["service_id"])
    if found is None:
        raise NotFound(f"no line has the service {visit.path['service_id']}")
    return found


async def _find(api: Api, visit: Visit, service_id: str) -> Mapping[str, Any] | None:
    if not api.has("GET", "/subscriptions"):
        return None
    rows = (await api.get(visit, "/subscriptions", query={"service_id": service_id}))["items"]
    return rows[-1] if rows else None


def _back(visit: Visit, line: Mapping[str, Any]) -> Link:
    return Link(f"Line of {line['username']}", f"/services/{visit.path['service_id']}")

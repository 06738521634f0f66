"""Pages of orders: what is going on, what fell out and why, and the buttons that drive it on or turn it back."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.names import accounts_of, with_customers, with_devices
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

LABELS = {"add": "new line", "modify": "change of plan", "delete": "end of a line"}
STATES = ("acknowledged", "inProgress", "held", "pendingCancellation", "completed", "cancelled", "failed")
CANCELLABLE = ("acknowledged", "inProgress", "held")


def pages(site: Site, api: Api) -> list[WebPage]:
    async def orders(visit: Visit) -> Response:
        return list_page(
            site, visit, "Orders", await _find(api, visit), fields.ORDERS,
            filters=(Filter("q", "Customer", "name, e-mail or address"), Filter("state", "State", choices=STATES)),
            nothing="No order fits." if visit.query("q") or visit.query("state") else "Nothing has been ordered yet.",
            make=Link("New order", "/orders/new"), make_scope="orders:write",
        )  # fmt: skip

    async def order(visit: Visit) -> Response:
        (row,) = await with_customers(
            api, visit, [await api.get(visit, "/orders/{order_id}", order_id=visit.path["order_id"])]
        )
        here, actions = f"/orders/{row['order_id']}", []
        if row["state"] == "held" and visit.principal.may("orders:write"):
            actions.append(Action("Drive on", f"{here}/redrive"))
        if row["state"] in CANCELLABLE and not row["cancelled_by"] and visit.principal.may("orders:write"):
            question = "Cancel this order? What was done of it on the network is undone."
            actions.append(Action("Cancel", f"{here}/cancel", question))
        carried = await with_devices(api, visit, row["attachments"])
        held = f"Held at {row['step']}: {row['cause']}. {row['owner_team']} must act; then drive it on."
        return detail_page(
            site, visit, f"Order to {row['action']}", row, fields.ORDER,
            back=Link("Orders", "/orders"),
            parts=[
                Part("Carried by", carried, fields.ORDERED_ATTACHMENTS, "No device of ours carries it."),
                Part("Steps", row["steps"], fields.ORDER_STEPS, "Nothing has been done yet."),
                Part("History", row["history"], fields.ORDER_HISTORY),
            ],
            actions=actions,
            messages=[held] if row["state"] == "held" else [],
        )  # fmt: skip

    async def redrive(visit: Visit) -> Response:
        return await told(visit, "/orders/{order_id}/redrive")

    async def cancel(visit: Visit) -> Response:
        return await told(visit, "/orders/{order_id}/cancel")

    async def told(visit: Visit, path: str) -> Response:
        order_id = visit.path["order_id"]
        await api.post(visit, path, order_id=order_id)
        return RedirectResponse(f"/orders/{order_id}", status_code=303)

    return [
        WebPage("GET", "/orders", "orders:read", orders),
        WebPage("GET", "/orders/{order_id}", "orders:read", order),
        WebPage("POST", "/orders/{order_id}/redrive", "orders:write", redrive),
        WebPage("POST", "/orders/{order_id}/cancel", "orders:write", cancel),
    ]


async def _find(api: Api, visit: Visit) -> dict[str, Any]:
    """The orders that fit, with the names of their customers; a search that no customer fits finds nothing."""
    state, wanted = visit.query("state"), visit.query("q")
    accounts = await accounts_of(api, visit, wanted)
    if wanted and not accounts:
        return {"items": [], "next": None}
    query = {"state": state if state in STATES else "", "account_id": accounts, "after": visit.query("after")}
    page = await api.get(visit, "/orders", query=query)
    rows = await with_customers(api, visit, page["items"])
    return {
        "next": page["next"],
        "items": [row | {"action_label": LABELS.get(row["action"], row["action"])} for row in rows],
    }

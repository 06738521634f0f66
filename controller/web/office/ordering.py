"""Ordering a line: choose the customer, fill in the form, look at price and device plan, place it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from controller.domain.units import human_rate
from controller.web import templating
from controller.web.api import Api
from controller.web.office import fields
from controller.web.office.form import Choice, Field, Filled, Form, sent, show
from controller.web.office.table import facts
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

NO_ONU = "none is in stock that you may see; receive one first"
BUTTONS = (("preview", "Preview"), ("place", "Place order"))


def pages(site: Site, api: Api) -> list[WebPage]:
    async def choose(visit: Visit) -> Response:
        query = {"q": visit.query("q"), "after": visit.query("after"), "limit": "20"}
        return list_page(
            site, visit, "New order", await api.get(visit, "/customers", query=query), fields.ORDERING_CUSTOMERS,
            filters=(Filter("q", "Customer", "name, e-mail or address"),), intro="For whom is it?",
            nothing="No customer fits.", make=Link("New customer", "/customers/new"), make_scope="crm:write",
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await _form(api, visit, await _customer(api, visit)))

    async def order(visit: Visit) -> Response:
        customer = await _customer(api, visit)
        form = await _form(api, visit, customer)

        async def send(filled: Filled) -> Response:
            body = order_body(filled.body, customer["account_id"])
            if visit.form.get("do") != "place":
                found = await api.post(visit, "/orders/dry-run", body=body)
                return show(site, visit, form, filled, parts=preview(found))
            return _placed(site, visit, customer, await api.post(visit, "/orders", body=body))

        return await sent(site, visit, form, send)

    path = "/customers/{customer_id}/order"
    return [
        WebPage("GET", "/orders/new", "orders:write", choose),
        WebPage("GET", path, "orders:write", fresh),
        WebPage("POST", path, "orders:write", order),
    ]


def order_body(filled: Mapping[str, Any], account_id: str) -> dict[str, Any]:
    """What the API calls an order to add a line, from what stood in the form."""
    onu = {"kind": "onu"} | {name: filled[name] for name in ("device_id", "pon_port", "onu_serial") if name in filled}
    body = {"action": "add", "account_id": account_id, "offering_id": filled["offering_id"], "attachments": [onu]}
    return body | ({"username": filled["username"]} if "username" in filled else {})


async def _customer(api: Api, visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
    return found


async def _form(api: Api, visit: Visit, customer: Mapping[str, Any]) -> Form:
    """The form with what can be chosen now. What the viewer may not read is typed instead."""
    onus = await _onus(api, visit)
    fields = (
        Field("offering_id", "Offering", required=True, choices=await offerings(api, visit)),
        Field("device_id", "OLT", required=True, choices=await _olts(api, visit)),
        Field("pon_port", "PON port", required=True, hint="such as pon-1"),
        Field("onu_serial", "ONU from stock", required=True, choices=onus, hint="" if onus else NO_ONU),
        Field("username", "User name", hint="empty: one is made"),
    )
    back = Link(customer["name"], f"/customers/{customer['customer_id']}")
    return Form(f"New line for {customer['name']}", fields, back, BUTTONS)


async def offerings(api: Api, visit: Visit) -> list[Choice]:
    """What can be ordered, with what it costs and how fast it is."""
    rows = await _rows(api, visit, "/offerings", "catalog:read")
    lines = [row for row in rows if row["kind"] == "internet"]
    return [Choice(row["offering_id"], f"{row['name']} · {_terms(row['versions'][-1])}") for row in lines]


def _terms(version: Mapping[str, Any]) -> str:
    fee = version["monthly_fee"]
    speed = f"{human_rate(version['downstream_bps'])} / {human_rate(version['upstream_bps'])}"
    return f"{templating.amount(fee)} · {speed}"


async def _olts(api: Api, visit: Visit) -> list[Choice]:
    rows = await _rows(api, visit, "/devices", "devices:read")
    return [Choice(row["device_id"], row["name"]) for row in rows if row["driver"] == "bbf-olt"]


async def _onus(api: Api, visit: Visit) -> list[Choice]:
    rows = await _rows(api, visit, "/stock-items", "inventory:read", state="in-stock")
    return [Choice(row["serial"], f"{row['serial']} · {row['model'] or row['place']}") for row in rows]


async def _rows(api: Api, visit: Visit, path: str, scope: str, **query: str) -> Sequence[Mapping[str, Any]]:
    if not visit.principal.may(scope) or not api.has("GET", path):
        return []
    found: Sequence[Mapping[str, Any]] = (await api.get(visit, path, query={"limit": "500", **query}))["items"]
    return found


def preview(found: Mapping[str, Any]) -> list[Part]:
    """Price first, then exactly what each device would be sent."""
    parts = [Part("What the customer pays", facts=facts(found, fields.PRICE_EFFECT))]
    for plan in found["plans"]:
        text = "\n\n".join(f"# {step['summary']}\n{step['rendered']}" for step in plan["steps"])
        parts.append(Part("What the device would be sent", text=text or "Nothing: it is as desired already."))
    return parts


def _placed(site: Site, visit: Visit, customer: Mapping[str, Any], order: Mapping[str, Any]) -> Response:
    """The only page that tells the password."""
    return detail_page(
        site, visit, "Order accepted", order, fields.PLACED,
        back=Link(customer["name"], f"/customers/{customer['customer_id']}"),
        links=[Link("Follow the order", f"/orders/{order['order_id']}")],
        notes=["Write the password down or pass it on: it is told here once and nowhere again."],
    )  # fmt: skip

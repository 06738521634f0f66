"""What a customer has beside lines, and what everything binds them to: items, contracts, the day it costs to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.http.problem import from_error
from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, once, sent, show, whole
from controller.web.office.table import Column, facts
from controller.web.office.view import Action, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "orders:read", "orders:write"
ITEMS = (
    Column("Product", "product", link="{href}", sub="reference"),
    Column("Quantity", "quantity", "number"),
    Column("State", "state", "state"),
    Column("Held since", "held_since", "instant"),
    Column("Ended", "ended_at", "instant"),
    Column("Suspended since", "suspended_since", "instant"),
    Column("Bound until", "ends_on"),
    Column("Leaving today", "fee", "money"),
)
ITEM = ITEMS[1:6]
CONTRACT = (
    Column("Terms", "terms"),
    Column("Begun", "begun_on"),
    Column("Renewals", "renewals", "number"),
    Column("First free day", "ends_on"),
    Column("Last day of notice", "notice_on"),
    Column("To be told on", "remind_on"),
    Column("Leaving on", "on"),
    Column("costs, net", "fee", "money"),
)
_LATEST = 100


def pages(site: Site, api: Api) -> list[WebPage]:
    async def items(visit: Visit) -> Response:
        customer = await _customer(api, visit)
        names = await _products(api, visit)
        account_id = customer["account_id"]
        told = await api.get(visit, "/accounts/{account_id}/contracts", account_id=account_id)
        contracts = {row["held_id"]: row for row in told["contracts"]}
        rows = [
            _shown(row, names) | _bound(contracts.get(row["item_id"])) | {"href": f"/items/{row['item_id']}"}
            for row in await _held(api, visit, account_id)
        ]
        rows += [
            _as_item(row, names) | _bound(contracts.get(row["subscription_id"]))
            for row in await _lines(api, visit, account_id)
        ]
        here = f"/customers/{customer['customer_id']}"
        return list_page(
            site, visit, f"Products and contracts of {customer['name']}", {"items": rows, "next": None}, ITEMS,
            nothing="Nothing is held.",
            links=(Link(customer["name"], here),),
            make=Link("New item", f"{here}/items/new"), make_scope=WRITE,
        )  # fmt: skip

    async def item(visit: Visit) -> Response:
        row = await api.get(visit, "/items/{item_id}", item_id=visit.path["item_id"])
        shown = _shown(row, await _products(api, visit))
        contract = await _contract(api, visit, row)
        parts = []
        if contract is not None:
            parts = [
                Part("Contract", facts=facts(contract, CONTRACT)),
                Part("How the fee for leaving is worked out", text="\n".join(contract["steps"])),
            ]
        may = visit.principal.may(WRITE) and not row["ended_at"]
        costs = "" if contract is None else f" Leaving costs {templating.amount(contract['fee'])} net, by its contract."
        return detail_page(
            site, visit, shown["product"], shown, ITEM,
            back=Link("Customers", "/customers"),
            actions=[Action("End today", f"/items/{row['item_id']}/end", f"End it today?{costs}", True)] if may else [],
            parts=parts,
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await _form(api, visit))

    async def add(visit: Visit) -> Response:
        customer, form = await _customer(api, visit), await _form(api, visit)

        async def send(filled: Filled) -> Response:
            await api.post(visit, "/items", body=filled.body | {"account_id": customer["account_id"]})
            return RedirectResponse(f"/customers/{customer['customer_id']}/items", status_code=303)

        return await sent(site, visit, form, send)

    async def end(visit: Visit) -> Response:
        await api.post(visit, "/items/{item_id}/end", body={}, item_id=visit.path["item_id"])
        return RedirectResponse(f"/items/{visit.path['item_id']}", status_code=303)

    return [
        WebPage("GET", "/customers/{customer_id}/items", READ, items),
        WebPage("GET", "/customers/{customer_id}/items/new", WRITE, fresh),
        WebPage("POST", "/customers/{customer_id}/items/new", WRITE, add),
        WebPage("GET", "/items/{item_id}", READ, item),
        WebPage("POST", "/items/{item_id}/end", WRITE, end),
    ]


async def _customer(api: Api, visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
    return found


async def _held(api: Api, visit: Visit, account_id: str) -> list[dict[str, Any]]:
    query = {"account_id": account_id, "limit": str(_LATEST)}
    found: list[dict[str, Any]] = (await api.get(visit, "/items", query=query))["items"]
    return found


async def _lines(api: Api, visit: Visit, account_id: str) -> list[dict[str, Any]]:
    if not api.has("GET", "/subscriptions"):
        return []
    query = {"account_id": account_id, "limit": str(_LATEST)}
    found: list[dict[str, Any]] = (await api.get(visit, "/subscriptions", query=query))["items"]
    return found


async def _contract(api: Api, visit: Visit, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """None where the price binds nobody."""
    try:
        found: dict[str, Any] = await api.get(visit, "/items/{item_id}/contract", item_id=row["item_id"])
    except Exception as error:
        problem = from_error(error)
        if problem is None or problem.code != "no-contract":
            raise
        return None
    return found


async def _products(api: Api, visit: Visit) -> dict[str, str]:
    """Name by version."""
    if not visit.principal.may("catalog:read"):
        return {}
    found = (await api.get(visit, "/offerings", query={"limit": "500"}))["items"]
    return {version["version_id"]: offering["name"] for offering in found for version in offering["versions"]}


def _shown(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    state = "ended" if row["ended_at"] else "suspended" if row["suspended_since"] else "active"
    return dict(row) | {"product": names.get(row["version_id"], row["version_id"]), "state": state}


def _as_item(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "product": names.get(row["version_id"], row["version_id"]),
        "href": f"/services/{row['service_id']}",
        "reference": row["username"],
        "quantity": 1,
        "state": row["state"],
        "held_since": row["activated_at"],
        "ended_at": row["ended_at"],
    }


def _bound(contract: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if contract is None else {"ends_on": contract["ends_on"], "fee": contract["fee"]}


async def _form(api: Api, visit: Visit) -> Form:
    customer = await _customer(api, visit)
    offerings = (await api.get(visit, "/offerings", query={"limit": "500"}))["items"]
    sold = tuple(
        Choice(o["offering_id"], f"{o['name']} · {templating.amount(o['versions'][-1]['monthly_fee'])}")
        for o in offerings
        if o["kind"] != "internet" and o["versions"]
    )
    return Form(
        f"New item for {customer['name']}",
        (
            Field("offering_id", "Product", required=True, choices=sold),
            Field("quantity", "Quantity", "number", start="1", convert=whole),
            Field("on", "From", "date", hint="empty: today"),
            once(),
        ),
        Link("Products and contracts", f"/customers/{customer['customer_id']}/items"),
        (("add", "Add item"),),
    )

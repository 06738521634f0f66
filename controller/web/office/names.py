"""Names beside ids: customers' for the accounts that orders and documents carry, devices' for what carries a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controller.domain.errors import NotFound
from controller.web.api import Api
from controller.web.office.form import Choice, Field
from controller.web.site import Visit

SCOPE = "crm:read"
MOST_FOUND = 200
"""Customers that a search by name may find: who types three letters more finds fewer."""


async def with_customers(api: Api, visit: Visit, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with `customer` (a name) and `customer_id`; their ids where the viewer may not read customers."""
    found = [dict(row) for row in rows]
    accounts = sorted({row["account_id"] for row in found})
    by_account: dict[str, Mapping[str, Any]] = {}
    if accounts and visit.principal.may(SCOPE) and api.has("GET", "/customers"):
        page = await api.get(visit, "/customers", query={"account_id": accounts[:500], "limit": "500"})
        by_account = {customer["account_id"]: customer for customer in page["items"]}
    for row in found:
        customer = by_account.get(row["account_id"], {})
        row["customer"] = customer.get("name", row["account_id"])
        row.setdefault("customer_id", customer.get("customer_id", ""))
    return found


async def with_devices(api: Api, visit: Visit, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with `device`: the device's name, or its id where the viewer may not read devices."""
    found, names = [dict(row) for row in rows], {}
    if visit.principal.may("devices:read") and api.has("GET", "/devices/{device_id}"):
        for device_id in {row["device_id"] for row in found}:
            try:
                device = await api.get(visit, "/devices/{device_id}", device_id=device_id)
            except NotFound:
                continue  # it was deregistered; what it carried still names it
            names[device_id] = device["name"]
    return [row | {"device": names.get(row["device_id"], row["device_id"])} for row in found]


async def of_entities(api: Api, visit: Visit) -> dict[str, str]:
    """The names of legal entities by their ids; none where the viewer may not read them."""
    if not visit.principal.may(SCOPE) or not api.has("GET", "/legal-entities"):
        return {}
    found = await api.get(visit, "/legal-entities")
    return {entity["entity_id"]: entity["name"] for entity in found["entities"]}


async def entity_field(api: Api, visit: Visit) -> tuple[Field, ...]:
    """Which legal entity something is of, at first the one that the address names: asked where there are several."""
    entities = await of_entities(api, visit)
    if len(entities) < 2:
        return ()
    choices = [Choice(entity_id, name) for entity_id, name in entities.items()]
    start = visit.query("entity_id") or choices[0].value
    return (Field("entity_id", "Legal entity", required=True, start=start, choices=choices),)


async def accounts_of(api: Api, visit: Visit, wanted: str) -> list[str]:
    """The accounts of customers whose name, e-mail or address has `wanted` in it."""
    if not wanted or not visit.principal.may(SCOPE) or not api.has("GET", "/customers"):
        return []
    page = await api.get(visit, "/customers", query={"q": wanted[:120], "limit": str(MOST_FOUND)})
    return [customer["account_id"] for customer in page["items"]]

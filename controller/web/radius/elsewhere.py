"""The pages beside each other, and names beside ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from controller.web.api import Api
from controller.web.office.view import Filter, Link
from controller.web.site import Visit

SUBSCRIBER = Filter("q", "Subscriber", "user name or service id")
_ID = re.compile(r"[0-9a-f]{32}")
_PAGES = (
    (Link("Sessions", "/sessions"), "radius:read", "/sessions"),
    (Link("Pools", "/pools"), "radius:read", "/radius/pools"),
    (Link("Fair use", "/fair-use"), "radius:read", "/radius/fair-use-steps"),
    (Link("Quarantine", "/quarantine"), "radius:read", "/quarantine"),
    (Link("Trace", "/trace"), "radius:read", "/radius/trace"),
    (Link("Whois", "/whois"), "radius:whois", "/whois"),
)
"""Page, scope, and the part of the API without which there is no such page."""


def links(api: Api, visit: Visit) -> list[Link]:
    """The other pages that the viewer may open."""
    here, may = visit.request.url.path, visit.principal.may
    return [page for page, scope, path in _PAGES if page.href != here and may(scope) and api.has("GET", path)]


async def service_of(api: Api, visit: Visit) -> str | None:
    """The service that is searched for, by its id or as the newest session under that user name has it.

    The empty text where nothing is searched for; None where nobody is known by it.
    """
    wanted = visit.query("q")
    if not wanted or _ID.fullmatch(wanted):
        return wanted
    if not api.has("GET", "/sessions"):
        return None
    page = await api.get(visit, "/sessions", query={"username": wanted, "limit": "1"})
    found: str | None = page["items"][0]["service_id"] if page["items"] else None
    return found


NOTHING: Mapping[str, Any] = {"items": [], "next": None}
"""A page of a list that has nothing in it."""


async def with_nas(api: Api, visit: Visit, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with `nas`: the name of its NAS, or its id where there is none any more."""
    found = [dict(row) for row in rows]
    names: dict[str, str] = {}
    networks: list[Mapping[str, Any]] = []
    if found and api.has("GET", "/nas"):
        after = ""
        while after is not None and len(names) < _MOST_NAS:
            page = await api.get(visit, "/nas", query={"limit": "500", "after": after})
            for nas in page["items"]:
                names[nas["nas_id"]] = nas["name"]
                if "/" in nas["address"]:
                    networks.append(nas)
            after = page["next"]
    for network in networks:
        if any(row["nas_id"] not in names for row in found):
            names |= await _boxes(api, visit, network)
    return [row | {"nas": names.get(row["nas_id"], row["nas_id"])} for row in found]


_MOST_NAS = 5_000


async def _boxes(api: Api, visit: Visit, network: Mapping[str, Any]) -> dict[str, str]:
    """Names of a network's boxes: its own, and the address."""
    if not api.has("GET", "/nas/{nas_id}/boxes"):
        return {}
    page = await api.get(visit, "/nas/{nas_id}/boxes", query={"limit": "500"}, nas_id=network["nas_id"])
    return {box["nas_id"]: f"{network['name']} {box['address']}" for box in page["items"]}

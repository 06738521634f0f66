"""The pages beside each other, and names beside ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from controller.domain.errors import NotFound
from controller.web.api import Api
from controller.web.office.view import Filter
from controller.web.site import Visit

SUBSCRIBER = Filter("q", "Subscriber", "user name or service id")
_ID = re.compile(r"[0-9a-f]{32}")


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
    if found and api.has("GET", "/nas"):
        after = ""
        while after is not None and len(names) < _MOST_NAS:
            page = await api.get(visit, "/nas", query={"limit": "500", "after": after})
            for nas in page["items"]:
                names[nas["nas_id"]] = nas["name"]
            after = page["next"]
    if api.has("GET", "/nas-boxes/{nas_id}"):
        for nas_id in {row["nas_id"] for row in found} - names.keys():
            names[nas_id] = await _box(api, visit, nas_id, names)
    return [row | {"nas": names.get(row["nas_id"], row["nas_id"])} for row in found]


_MOST_NAS = 5_000


async def _box(api: Api, visit: Visit, nas_id: str, names: Mapping[str, str]) -> str:
    """Name of a box: that of its network or proxy, and its address or what it says of itself; else its id."""
    try:
        box = await api.get(visit, "/nas-boxes/{nas_id}", nas_id=nas_id)
    except NotFound:
        return nas_id
    return f"{names.get(box['registered_nas_id'], '')} {box['said'] or box['address']}".strip()

"""Pages of address pools: how full each is, who has what, making and widening one, and taking an address back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api, address
from controller.web.office.form import Choice, Field, Filled, Form, sent, show, whole
from controller.web.office.view import Filter, Link, Row, list_page
from controller.web.radius import changing, elsewhere, fields
from controller.web.site import Site, Visit, WebPage

ROOT, ONE = "/radius/pools", "/radius/pools/{pool_id}"
STATES = ("held", "free", "all")
_MOST_RANGES = 3

_HOLD = Field("hold_s", "Hold", "number", unit="s", hint="how long an address waits for its Start", convert=whole)


def _ranges(text: str) -> list[str]:
    return text.replace(",", " ").replace(";", " ").split()


MAKE = Form(
    "New pool",
    (
        Field("name", "Name", required=True, hint="as the terms of services and offerings name it"),
        Field("kind", "Kind", start="ipv4", choices=(
            Choice("ipv4", "IPv4 addresses"), Choice("ipv6", "IPv6 prefixes for the line"),
            Choice("delegated", "IPv6 prefixes to delegate"),
        )),
        Field("ranges", "Ranges", "textarea", required=True, convert=_ranges,
              hint="192.0.2.0/25, 192.0.2.10-192.0.2.40, 2001:db8::/40"),
        Field("prefix_length", "Prefix length", "number", convert=whole,
              hint="of each prefix; empty: 64 for the line, 56 to delegate"),
        _HOLD,
    ),
    Link("Pools", "/pools"),
    (("make", "Make pool"),),
)  # fmt: skip
WIDEN = (
    Field("add_ranges", "More ranges", "textarea", convert=_ranges, hint="what was given stays where it is"),
    _HOLD,
)
FREE = (
    Field("address", "Address", required=True, hint="as the list shows it"),
    Field("reason", "Why", required=True, hint="for the audit log"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", ROOT):
        return []

    async def index(visit: Visit) -> Response:
        page = await api.get(visit, ROOT, query={"after": visit.query("after")})
        return list_page(
            site, visit, "Pools", page | {"items": [told(row) for row in page["items"]]}, fields.POOLS,
            intro="Addresses that logins are given.", nothing="There is no pool: addresses come from the NAS.",
            make=Link("New pool", "/pools/new"), make_scope="radius:write",
        )  # fmt: skip

    async def one(visit: Visit) -> Response:
        pool = told(await api.get(visit, ONE, pool_id=visit.path["pool_id"]))
        here, state = f"/pools/{pool['pool_id']}", visit.query("state")
        service_id = await elsewhere.service_of(api, visit)
        page = elsewhere.NOTHING if service_id is None else await api.get(
            visit, f"{ONE}/leases", pool_id=pool["pool_id"], query={
                "state": "" if state == "all" else state if state in STATES else "leased",
                "service_id": service_id, "after": visit.query("after"),
            },
        )  # fmt: skip
        may = visit.principal.may("radius:write")
        links = [Link("Change", f"{here}/change"), Link("Take back", f"{here}/free")] if may else []
        return list_page(
            site, visit, f"Pool {pool['name']}", page, fields.LEASES,
            intro=f"{pool['words']}, {pool['written']}",
            filters=(elsewhere.SUBSCRIBER, Filter("state", "State", choices=STATES, anything="leased")),
            nothing="No address fits.", links=[Link("Pools", "/pools"), *links],
            totals=[
                ("In use", templating.bar(pool["bar"])), ("Leased", templating.plain(pool["leased"])),
                ("Held", templating.plain(pool["held"])), ("Free", templating.plain(templating.number(pool["free"]))),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/pools", "radius:read", index),
        *_making(site, api),
        WebPage("GET", "/pools/{pool_id}", "radius:read", one),
        *_changing(site, api),
    ]


def _making(site: Site, api: Api) -> list[WebPage]:
    async def fresh(visit: Visit) -> Response:
        return show(site, visit, MAKE)

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            made = await api.post(visit, ROOT, body=filled.body)
            return RedirectResponse(f"/pools/{made['pool_id']}", status_code=303)

        return await sent(site, visit, MAKE, send)

    return [
        WebPage("GET", "/pools/new", "radius:write", fresh),
        WebPage("POST", "/pools/new", "radius:write", make),
    ]


def _changing(site: Site, api: Api) -> list[WebPage]:
    async def pool(visit: Visit) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await api.get(visit, ONE, pool_id=visit.path["pool_id"])
        return found

    async def widening(visit: Visit) -> Form:
        row = await pool(visit)
        intro = f"It has {', '.join(row['ranges'])} and holds for {row['hold_s']} s. Left empty, nothing changes."
        return Form(f"Change pool {row['name']}", WIDEN, _back(row), (("change", "Change pool"),), intro)

    async def freeing(visit: Visit) -> Form:
        row = await pool(visit)
        intro = "For an address that no live session has; one that has is ended by Disconnect."
        return Form(f"Take back an address of pool {row['name']}", FREE, _back(row), (("free", "Take back"),), intro)

    async def widen(visit: Visit, filled: Filled) -> None:
        await api.patch(visit, ONE, body=filled.body, pool_id=visit.path["pool_id"])

    async def free(visit: Visit, filled: Filled) -> None:
        await api.post(visit, f"{ONE}/free", body=filled.body, pool_id=visit.path["pool_id"])

    one = "/pools/{pool_id}"
    return [
        *changing.pages(site, f"{one}/change", widening, widen),
        *changing.pages(site, f"{one}/free", freeing, free),
    ]


def _back(row: Row) -> Link:
    return Link(f"Pool {row['name']}", address(f"/pools/{row['pool_id']}"))


_KINDS = {"ipv4": "IPv4 addresses", "ipv6": "IPv6 prefixes of /{}", "delegated": "delegated prefixes of /{}"}


def told(row: Row) -> dict[str, Any]:
    """The pool with its bar, its kind in words, and its first ranges."""
    shown = row["ranges"][:_MOST_RANGES]
    rest = len(row["ranges"]) - len(shown)
    return {
        **row,
        "bar": [("leased", row["leased"] / row["size"]), ("held", row["held"] / row["size"])],
        "words": _KINDS[row["kind"]].format(row["prefix_length"]),
        "written": ", ".join(shown) + (f" and {rest} more" if rest else ""),
    }

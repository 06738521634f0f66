"""Pages of usage: what arrived hour by hour and what became of it, and the sources it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.domain.units import human_octets
from controller.web import templating
from controller.web.api import Api
from controller.web.office.bars import bars_of_counts
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

_PARTS = ("rated", "unrated", "suspense", "duplicate")
_TONES = {"rated": "good", "unrated": "plain", "suspense": "bad", "duplicate": "plain"}
HOURS = (
    Column("Hour", "hour", "instant"),
    Column("Source", "source", link="{href}"),
    Column("Accepted", "accepted.records", "number", sub="accepted_amount"),
    Column("Rated", "rated.records", "number", sub="rated_amount"),
    Column("Unrated", "unrated.records", "number", sub="unrated_amount"),
    Column("Suspense", "suspense.records", "number", sub="suspense_amount"),
    Column("Duplicate", "duplicate.records", "number", sub="duplicate_amount"),
    Column("Sum", "sum", "state"),
)
SOURCES = (
    Column("Source", "name", link="/usage/sources/{name}", sub="title"),
    Column("Tells of", "measure", sub="identifier_kind"),
    Column("Role", "role"),
    Column("Complete until", "complete_until", "instant", sub="lag"),
    Column("Bill runs wait", "awaited", "flag"),
    Column("Deliveries", "deliveries", "number"),
    Column("State", "state", "state"),
)
DELIVERIES = (
    Column("Received", "received_at", "instant", sub="received_by"),
    Column("No.", "number", "number"),
    Column("Name", "name"),
    Column("Accepted", "accepted", "number"),
    Column("New", "new", "number"),
    Column("Rated", "rated", "number"),
    Column("Unrated", "unrated", "number"),
    Column("Suspense", "suspense", "number"),
    Column("Duplicate", "duplicate", "number"),
    Column("Complete until", "complete_until", "instant"),
)
COMPLETE = (
    Field("until", "Complete until", required=True, hint="an instant with its zone, such as 2026-10-01T00:00:00+02:00"),
    Field("reason", "Why", required=True, hint="for the audit log"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/usage-ledger"):
        return []
    return [
        WebPage("GET", "/usage", "usage:read", _ledger(site, api)),
        WebPage("GET", "/usage/sources", "billing:read", _sources(site, api)),
        WebPage("GET", "/usage/sources/{source}", "billing:read", _source(site, api)),
        *_completing(site, api),
    ]


def _ledger(site: Site, api: Api) -> Any:
    async def ledger(visit: Visit) -> Response:
        query = {"source": visit.query("source"), "after": visit.query("after")}
        page = await api.get(visit, "/usage-ledger", query=query)
        totals = (await api.get(visit, "/usage-ledger/totals"))["totals"]
        if query["source"]:
            totals = [t for t in totals if t["source"] == query["source"]]
        own = await _pages_of_sources(api, visit)
        rows = [row | _amounts(row) | {"href": own.get(row["source"], "")} for row in page["items"]]
        return list_page(
            site, visit, "Usage", page | {"items": rows}, HOURS,
            intro="What arrived each hour and what became of it: accepted = rated + unrated + suspense + duplicate.",
            filters=(Filter("source", "Source", "its name, such as radius"),),
            nothing="No usage has arrived yet.",
            pictures=bars_of_counts("What became of the records", [
                (name.capitalize(), sum(t[name]["records"] for t in totals), _TONES[name]) for name in _PARTS
            ]),
            totals=[(name.capitalize(), _whole(totals, name)) for name in ("accepted", *_PARTS)],
        )  # fmt: skip

    return ledger


async def _pages_of_sources(api: Api, visit: Visit) -> dict[str, str]:
    """Those that were registered have a page; RADIUS, which needs no registration, has none."""
    if not visit.principal.may("billing:read"):
        return {}
    found = (await api.get(visit, "/usage-sources"))["sources"]
    return {row["name"]: f"/usage/sources/{row['name']}" for row in found}


def _sources(site: Site, api: Api) -> Any:
    async def sources(visit: Visit) -> Response:
        found = (await api.get(visit, "/usage-sources"))["sources"]
        page = {"items": [row | _standing(row) for row in found], "next": None}
        return list_page(
            site, visit, "Sources of usage", page, SOURCES,
            intro="Where usage comes from beside RADIUS, and until when it is complete.",
            nothing="No source is registered: RADIUS needs none.",
        )  # fmt: skip

    return sources


def _source(site: Site, api: Api) -> Any:
    async def source(visit: Visit) -> Response:
        name = visit.path["source"]
        row = await api.get(visit, "/usage-sources/{source}", source=name)
        page = await api.get(visit, "/usage-deliveries", query={"source": name, "limit": "100"})
        may = visit.principal.may("billing:write") and row["retired_at"] is None
        return detail_page(
            site, visit, f"Source {name}", row | _standing(row), SOURCES[1:], back=Link("Sources", "/usage/sources"),
            links=[Link("Nothing more comes", f"/usage/sources/{name}/complete")] if may else [],
            parts=[Part("Deliveries", page["items"], DELIVERIES, "Nothing was delivered yet.")],
        )  # fmt: skip

    return source


def _completing(site: Site, api: Api) -> list[WebPage]:
    path = "/usage/sources/{source}/complete"

    def form(visit: Visit) -> Form:
        name = visit.path["source"]
        back = Link(f"Source {name}", f"/usage/sources/{name}")
        return Form(f"Nothing more comes from {name}", COMPLETE, back, (("complete", "Say so"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def complete(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            name = visit.path["source"]
            await api.post(visit, "/usage-sources/{source}/complete", body=filled.body, source=name)
            return RedirectResponse(f"/usage/sources/{name}", status_code=303)

        return await sent(site, visit, form(visit), send)

    return [WebPage("GET", path, "billing:write", fresh), WebPage("POST", path, "billing:write", complete)]


def _amounts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Volumes below the counts, and whether the parts sum to the whole."""
    told = {f"{name}_amount": _amount(row[name]["amount"], row["unit"]) for name in ("accepted", *_PARTS)}
    return told | {"sum": "ok" if row["adds_up"] else "mismatch"}


def _amount(amount: int, unit: str) -> str:
    """Octets, or seconds of calls; nothing where there are none."""
    if not amount:
        return ""
    return human_octets(amount) if unit == "octets" else f"{templating.number(amount)} {unit}"


def _whole(totals: list[Mapping[str, Any]], name: str) -> Markup:
    return Markup('<span class="number">{}</span>').format(templating.number(sum(t[name]["records"] for t in totals)))


def _standing(row: Mapping[str, Any]) -> dict[str, Any]:
    lag = row["lag_s"]
    return {
        "role": "bills" if row["bills"] else "is compared",
        "state": "retired" if row["retired_at"] else "active",
        "lag": None if lag is None else f"{lag // 3600} h {lag % 3600 // 60} min ago",
    }

"""Monthly recurring revenue: the days on which it moved, each figure leading to the lines behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from controller.web.api import Api, address
from controller.web.office.books import day, span_of
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Filter, Link, list_page
from controller.web.site import Site, Visit, WebPage

READ = "billing:read"
HERE = "/recurring-revenue"
KINDS = ("new", "expansion", "contraction", "churn", "reactivation")
DAYS = (
    Column("Day", "on", link="{href}", sub="label"),
    Column("Opening", "opening", "money"),
    *(Column(kind.capitalize(), kind, "money") for kind in KINDS),
    Column("Closing", "closing", "money"),
)
MOVEMENTS = (
    Column("Day", "on", sub="kind"),
    Column("Customer", "customer", link="{customer_href}", sub="subscription_id"),
    Column("From", "before"),
    Column("To", "after"),
    Column("A month", "amount", "money"),
)
LINES = (
    Column("Customer", "customer", link="{customer_href}", sub="subscription_id"),
    Column("Has", "offering"),
    Column("Pieces", "quantity", "number"),
    Column("A month", "value", "money"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", HERE):
        return []

    async def days(visit: Visit) -> Response:
        span = {name: said for name, said in span_of(visit, "since", "until").items() if said}
        found = await api.get(visit, HERE, query=span)
        rows = [row for currency in found["currencies"] for row in _days(currency)]
        totals = [
            fact for c in found["currencies"] for fact in facts(c["total"], (Column("Closing", "closing", "money"),))
        ]
        return list_page(
            site, visit, "Recurring revenue", {"items": rows, "next": None}, DAYS, intro=found["definition"],
            filters=(day("since", "From", found["since"]), day("until", "Until", found["until"])),
            nothing="Nobody has anything with a fee.", totals=totals,
            links=[Link("Lines", address(f"{HERE}/lines", on=found["until"]))],
        )  # fmt: skip

    async def movements(visit: Visit) -> Response:
        wanted = span_of(visit, "since", "until", "kind", "currency")
        query = {name: said for name, said in wanted.items() if said} | {"after": visit.query("after")}
        page = await api.get(visit, f"{HERE}/movements", query=query)
        rows = await _named(api, visit, page["items"])
        rows = [row | {n: row[n] or "nothing" for n in ("before", "after")} for row in rows]
        return list_page(
            site, visit, "What moved recurring revenue", page | {"items": rows}, MOVEMENTS,
            filters=(day("since", "From"), day("until", "Until"), Filter("kind", "Kind", choices=KINDS)),
            nothing="Nothing moved on these days.", links=[Link("Recurring revenue", HERE)],
        )  # fmt: skip

    async def lines(visit: Visit) -> Response:
        wanted = {name: said for name, said in span_of(visit, "on", "currency").items() if said}
        page = await api.get(visit, f"{HERE}/lines", query=wanted | {"after": visit.query("after")})
        return list_page(
            site, visit, "Lines with a fee", page | {"items": await _named(api, visit, page["items"])}, LINES,
            filters=(day("on", "At the end of"),), nothing="Nobody has anything with a fee.",
            links=[Link("Recurring revenue", HERE)],
        )  # fmt: skip

    return [
        WebPage("GET", HERE, READ, days),
        WebPage("GET", f"{HERE}/movements", READ, movements),
        WebPage("GET", f"{HERE}/lines", READ, lines),
    ]


def _days(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those on which something moved, and all of them together."""
    moved = [d for d in found["days"] if any(d[kind]["amount"].strip("-0.") for kind in KINDS)]
    currency = found["currency"]
    rows = [_row(d, {"since": d["on"], "until": d["on"]}, currency, "") for d in moved]
    whole = {"since": found["days"][0]["on"], "until": found["days"][-1]["on"]}
    total = found["total"] | {"on": "All days"}
    return [*rows, _row(total, whole, currency, f"since {whole['since']}")]


def _row(found: Mapping[str, Any], span: Mapping[str, str], currency: str, label: str) -> dict[str, Any]:
    return {**found, "label": label, "href": address(f"{HERE}/movements", currency=currency, **span)}


async def _named(api: Api, visit: Visit, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = await with_customers(api, visit, rows)
    return [row | {"customer_href": f"/customers/{row['customer_id']}" if row["customer_id"] else ""} for row in found]

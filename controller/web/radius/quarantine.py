"""Pages of the quarantine: octets that do not count until somebody says so, and the decision, with who and why."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form
from controller.web.office.view import Filter, Link, Row, detail_page, list_page
from controller.web.radius import changing, elsewhere, fields
from controller.web.site import Site, Visit, WebPage

STATES = ("all", "released", "counted", "dismissed", "retracted")
ONE = "/quarantine/{quarantine_id}"
WHY = (Field("why", "Why", required=True, hint="for the audit log, such as what the port's own counter says"),)

_WORDS = {
    "impossible-rate": "More than the port can have carried since the report before.",
    "wrap-uncertain": "The counter fell, and may have wrapped at 2^32 more than once.",
    "counter-reset": "The counter began again at zero within the session.",
}
_DECISIONS = {
    "release": ("Let it count", "The octets count for usage, fair use and bills from now on."),
    "dismiss": ("Dismiss it", "The octets were never carried: they count for nothing."),
}


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/quarantine"):
        return []

    async def index(visit: Visit) -> Response:
        state = visit.query("state")
        query = {"state": state if state in STATES else "", "after": visit.query("after")}
        page = await api.get(visit, "/quarantine", query=query)
        rows = [told(row) for row in await elsewhere.with_nas(api, visit, page["items"])]
        return list_page(
            site, visit, "Quarantine", page | {"items": rows}, fields.QUARANTINE,
            intro="Octets that were reported and cannot be believed: stored, and neither counted nor billed.",
            filters=(Filter("state", "State", choices=STATES, anything="held"),),
            nothing="Nothing is held: every report was believed.",
        )  # fmt: skip

    async def item(visit: Visit) -> Response:
        found = await api.get(visit, ONE, quarantine_id=visit.path["quarantine_id"])
        row = told((await elsewhere.with_nas(api, visit, [found]))[0])
        here = f"/quarantine/{row['quarantine_id']}"
        may = row["state"] == "held" and visit.principal.may("radius:write")
        return detail_page(
            site, visit, f"Held of {row['username']}", row, fields.HELD, back=Link("Quarantine", "/quarantine"),
            messages=[_WORDS[word] for word in row["reason"].split(", ") if word in _WORDS],
            links=[Link(words, f"{here}/{decision}") for decision, (words, _) in _DECISIONS.items()] if may else [],
        )  # fmt: skip

    decisions = [page for decision in _DECISIONS for page in _deciding(site, api, decision)]
    return [
        WebPage("GET", "/quarantine", "radius:read", index),
        WebPage("GET", ONE, "radius:read", item),
        *decisions,
    ]


def _deciding(site: Site, api: Api, decision: str) -> list[WebPage]:
    label, intro = _DECISIONS[decision]

    async def form(visit: Visit) -> Form:
        row = await api.get(visit, ONE, quarantine_id=visit.path["quarantine_id"])
        back = Link(f"Held of {row['username']}", f"/quarantine/{row['quarantine_id']}")
        return Form(f"{label}: held of {row['username']}", WHY, back, ((decision, label),), intro)

    async def decide(visit: Visit, filled: Filled) -> None:
        await api.post(visit, f"{ONE}/{decision}", body=filled.body, quarantine_id=visit.path["quarantine_id"])

    return changing.pages(site, f"{ONE}/{decision}", form, decide)


def told(row: Row) -> dict[str, Any]:
    """The row with what could have been carried, both ways together; unknown where nobody could tell."""
    limits = row["upstream_limit_octets"], row["downstream_limit_octets"]
    return {**row, "could": None if None in limits else sum(limits)}

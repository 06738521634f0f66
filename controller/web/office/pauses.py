"""Pausing a line by the day, moving the end of a pause or calling it off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import lines
from controller.web.office.form import Choice, Field, Filled, Form, sent, show, whole
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, part_of
from controller.web.site import Site, Visit, WebPage

PLACE, END = lines.PAUSE, "/pauses/{pause_id}/end"

PAUSES = (
    Column("From", "first_on", link="/pauses/{pause_id}/end", sub="reason"),
    Column("Until", "until_on"),
    Column("State", "state", "state"),
    Column("Kind", "kind"),
    Column("Fee, %", "percent"),
    Column("Out of use since", "off_since", "instant"),
    Column("Agreed", "agreed_at", "instant", sub="agreed_by"),
)

_FIELDS = (
    Field("first_on", "First day", "date", required=True, hint="may lie in the past: then it is credited"),
    Field("until_on", "Back in use on", "date", hint="the first day without it; empty until further notice"),
    Field("kind", "Kind", start="seasonal", choices=(
        Choice("seasonal", "Seasonal, the customer's wish"), Choice("suspension", "Suspension, ours"),
    )),
    Field("percent", "Fee that goes on", "number", start="0", unit="%", convert=whole),
    Field("reason", "Reason", hint="kept with it"),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    async def place_form(visit: Visit) -> Form:
        line = await lines.line_of(api, visit)
        back = Link(f"Line of {line['username']}", f"/services/{visit.path['service_id']}")
        return Form(
            f"Pause the line of {line['username']}", _FIELDS, back, (("place", "Pause the line"),),
            "Nobody can log in on these days, and only this share of the fees is charged. Days that were charged "
            "already are credited by the next bill run.",
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await place_form(visit))

    async def place(visit: Visit) -> Response:
        line = await lines.line_of(api, visit)

        async def send(filled: Filled) -> Response:
            path = "/subscriptions/{subscription_id}/pauses"
            await api.post(visit, path, body=filled.body, subscription_id=line["subscription_id"])
            return RedirectResponse(f"/services/{visit.path['service_id']}", status_code=303)

        return await sent(site, visit, await place_form(visit), send)

    async def end_form(visit: Visit, row: Mapping[str, Any]) -> Form:
        days = f"{row['first_on']} until {row['until_on'] or 'further notice'}"
        return Form(
            f"End the pause of {days}",
            (Field("on", "Back in use on", "date", hint="today if empty; before its first day it is called off"),),
            Link("Line", f"/services/{row['service_id']}"), (("end", "Set the end"),),
            f"{row['kind']}, {row['state']}, {row['percent']} % of the fees go on. A later day makes the pause longer.",
        )  # fmt: skip

    async def row_of(visit: Visit) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await api.get(visit, "/pauses/{pause_id}", pause_id=visit.path["pause_id"])
        return found

    async def ending(visit: Visit) -> Response:
        return show(site, visit, await end_form(visit, await row_of(visit)))

    async def end(visit: Visit) -> Response:
        row = await row_of(visit)

        async def send(filled: Filled) -> Response:
            await api.post(visit, "/pauses/{pause_id}/end", body=filled.body, pause_id=row["pause_id"])
            return RedirectResponse(f"/services/{row['service_id']}", status_code=303)

        return await sent(site, visit, await end_form(visit, row), send)

    return [
        WebPage("GET", PLACE, "orders:write", fresh),
        WebPage("POST", PLACE, "orders:write", place),
        WebPage("GET", END, "orders:write", ending),
        WebPage("POST", END, "orders:write", end),
    ]


async def card(api: Api, visit: Visit, **query: str) -> list[Part]:
    """The pauses of an account or a line; nothing where there never was one."""
    return [
        part for part in await part_of(api, visit, "Pauses", "/pauses", "orders:read", PAUSES, **query) if part.rows
    ]

"""What a customer sees of the own usage: a month by the day, and what invoices count of it. Opened by a link."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from controller.http.endpoint import PUBLIC
from controller.web import templating
from controller.web.api import Api
from controller.web.office.bars import Bar, Bars
from controller.web.office.table import Column, facts
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit, WebPage

BILLED = (
    Column("Invoice", "number"),
    Column("Line", "description"),
    Column("From", "first_on"),
    Column("Until", "until_on"),
    Column("Counted", "octets", "octets"),
    Column("Used on these days", "booked_octets", "octets"),
)
_SUM = (Column("Used this month", "octets", "octets"), Column("In octets", "exact"))


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/customer-usage/{secret}"):
        return []

    async def show(visit: Visit) -> Response:
        found = await api.get(
            visit, "/customer-usage/{secret}", query={"month": visit.query("month")}, secret=visit.path["secret"]
        )
        month, today = date.fromisoformat(found["month"]), date.fromisoformat(found["today"])
        before, after = month - timedelta(days=1), (month + timedelta(days=31)).replace(day=1)
        links = [Link(before.strftime("%B %Y"), f"?month={before:%Y-%m}")]
        if after <= today:
            links.append(Link(after.strftime("%B %Y"), f"?month={after:%Y-%m}"))
        return site.html(
            visit,
            "my_usage.html",
            title=f"Usage in {month:%B %Y}",
            customer=found["customer"],
            links=links,
            parts=[part for used in found["services"] for part in _parts(used)],
        )

    return [WebPage("GET", "/my-usage/{secret}", PUBLIC, show)]


def _parts(used: Mapping[str, Any]) -> list[Part]:
    row = {"octets": used["octets"], "exact": templating.number(used["octets"])}
    most = max((_octets(day) for day in used["days"]), default=0)
    bars = [
        Bar(f"{date.fromisoformat(day['day']):%a %d}", templating.volume(size), 100 * size / most, "good")
        for day in used["days"]
        if (size := _octets(day))
    ]
    pictures = [Bars("Day by day", bars)] if bars else []
    return [
        Part(used["name"], facts=facts(row, _SUM), pictures=pictures),
        Part(f"{used['name']} on invoices", used["billed"], BILLED, "Nothing of this month is on an invoice yet."),
    ]


def _octets(day: Mapping[str, int]) -> int:
    return day["upstream_octets"] + day["downstream_octets"]

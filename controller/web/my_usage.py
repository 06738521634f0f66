"""What a customer sees of the own usage: a month by the day, and what invoices count of it. Opened by a link.

It speaks the language of the account's documents, in their words and formats. A link that opens nothing tells of no
account, so that is said in the language that the browser would rather read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from controller.domain.units import human_octets
from controller.http.endpoint import PUBLIC
from controller.http.languages import preferred
from controller.http.problem import from_error
from controller.web.api import Api
from controller.web.office.bars import Bar, Bars
from controller.web.office.table import Column
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit, WebPage
from controller.workflows.routes_customer_usage import MONTH
from erp.finance.words import LANGUAGES, Words, words_of


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/customer-usage/{secret}"):
        return []

    async def show(visit: Visit) -> Response:
        month = visit.query("month")
        query = {"month": month if re.match(MONTH, month) else ""}
        try:
            found = await api.get(visit, "/customer-usage/{secret}", query=query, secret=visit.path["secret"])
        except Exception as error:
            known = from_error(error)
            if known is None or known.status != 404:
                raise
            return _gone(site, visit)
        words = words_of(found["locale"])
        return site.html(
            visit,
            "my_usage.html",
            language=words.language,
            words=words,
            title=words["own-usage-title"].format(month=_unbroken(words.month(date.fromisoformat(found["month"])))),
            customer=found["customer"],
            links=_links(date.fromisoformat(found["month"]), date.fromisoformat(found["today"]), words),
            parts=[part for used in found["services"] for part in _parts(used, words)],
        )

    return [WebPage("GET", "/my-usage/{secret}", PUBLIC, show)]


def _gone(site: Site, visit: Visit) -> Response:
    words = words_of(preferred(visit.request.headers.get("accept-language", ""), LANGUAGES))
    response = site.html(
        visit, "my_usage.html", status=404, language=words.language, words=words, title=words["own-usage-gone"],
        parts=None,
    )  # fmt: skip
    response.headers["vary"] = "Accept-Language"
    return response


def _links(month: date, today: date, words: Words) -> list[Link]:
    """The month before, and the one after where that has begun."""
    before, after = month - timedelta(days=1), (month + timedelta(days=31)).replace(day=1)
    shown = [before, after] if after <= today else [before]
    return [Link(_begun(words.month(each)), f"?month={each:%Y-%m}") for each in shown]


def _unbroken(name: str) -> str:
    return name.replace(" ", "\u00a0")


def _begun(name: str) -> str:
    """As at the beginning of a sentence."""
    return name[:1].upper() + name[1:]


def _parts(used: Mapping[str, Any], words: Words) -> list[Part]:
    most = max((_octets(day) for day in used["days"]), default=0)
    bars = [
        Bar(words.weekday(date.fromisoformat(day["day"])), _rounded(size, words), 100 * size / most, "good")
        for day in used["days"]
        if (size := _octets(day))
    ]
    whole = [
        (words["own-usage-sum"], _volume(used["octets"], words)),
        (words["own-usage-bytes"], Markup("{}").format(words.number(Decimal(used["octets"])))),
    ]
    billed = words["own-usage-billed"].format(name=used["name"])
    return [
        Part(used["name"], facts=whole, pictures=[Bars(words["own-usage-days"], bars)] if bars else []),
        Part(billed, [_row(line, words) for line in used["billed"]], _columns(words), words["own-usage-not-billed"]),
    ]


def _columns(words: Words) -> list[Column]:
    return [
        Column(words["invoice"], "number"),
        Column(words["what"], "item", sub="kind"),
        Column(words["own-usage-period"], "period"),
        Column(words["own-usage-counted"], "counted", "figure"),
        Column(words["own-usage-booked"], "booked", "figure"),
    ]


def _row(line: Mapping[str, Any], words: Words) -> Mapping[str, str]:
    first_on, until_on = date.fromisoformat(line["first_on"]), date.fromisoformat(line["until_on"])
    return {
        "number": line["number"] or words["own-usage-no-number"],
        "item": line["item"],
        "kind": words["usage"],
        "period": words.days(first_on, until_on),
        "counted": _volume(line["octets"], words),
        "booked": _volume(line["booked_octets"], words),
    }


def _volume(octets: int, words: Words) -> Markup:
    """Rounded, with the exact figure beside it."""
    exact = words.number(Decimal(octets))
    written = Markup('<span class="number" data-value="{}" title="{}\u00a0B">{}</span>')
    return written.format(octets, exact, _rounded(octets, words))


def _rounded(octets: int, words: Words) -> str:
    size, unit = human_octets(octets).split(" ")
    return f"{words.rounded(Decimal(size), 0 if unit == 'B' else 1)}\u00a0{unit}"


def _octets(day: Mapping[str, int]) -> int:
    return day["upstream_octets"] + day["downstream_octets"]

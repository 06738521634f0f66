"""Taxes: rates over time, where they hold and for whom: areas, exemptions, communications taxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.books import of_entity, whose
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show
from controller.web.office.forms import back_to, both, of_customer
from controller.web.office.names import entity_field
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, Row, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
RATES = (
    Column("Offerings agree", "class_shown"),
    Column("Where", "where"),
    Column("From", "since"),
    Column("Until (not included)", "until"),
    Column("In force", "state", "state"),
    Column("Taxed at", "percent_shown", "figure"),
)
LEVIES = (
    Column("Levy", "name", sub="code"),
    Column("Paid to", "authority"),
    Column("Where", "where"),
    Column("From", "since"),
    Column("Until (not included)", "until_on"),
    Column("In force", "state", "state"),
    Column("Of which products", "products"),
    Column("Also upon", "also_upon"),
    Column("Rate", "rate", "figure"),
)
PLACES = (Column("Tax area", "area"), Column("From", "since"))
EXEMPTIONS = (
    Column("Exempt from", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Why", "reason", sub="code"),
    Column("Kind", "category_name"),
)
_CATEGORIES = {
    "E": "exempt", "AE": "reverse charge", "K": "intra-community", "G": "export", "O": "not subject to tax",
}  # fmt: skip
_AREA = Field("area", "Tax area", hint="such as ES-CN or US-TX-Austin; empty: everywhere else")
RATE = (
    Field("agreed", "Class", "decimal", required=True, unit="%", convert=decimal, hint="as offerings agree it"),
    Field("percent", "Taxed at", "decimal", required=True, unit="%", convert=decimal),
    Field("since", "From", "date", required=True, hint="documents of days before keep the rate they had"),
    _AREA,
)  # fmt: skip
LEVY = (
    Field("code", "Code", required=True, hint="short, such as fusf; the same again is its next rate"),
    Field("name", "Name", required=True, hint="as documents print it"),
    Field("since", "From", "date", required=True),
    Field("until_on", "Until (not included)", "date", hint="empty: until further notice"),
    Field("percent", "Of the amount", "decimal", unit="%", convert=decimal),
    Field("per_line", "For each line", "decimal", convert=decimal, hint="an amount, such as 1.85"),
    Field("area", "Tax area", hint="with all that is narrower; empty: everywhere"),
    Field("authority", "Paid to"),
    Field("kinds", "Products", hint="such as voice, internet; empty: all", convert=lambda text: _words(text)),
    Field("upon", "Also upon", hint="codes of levies that it is levied on, too", convert=lambda text: _words(text)),
)
PLACE = (
    Field("area", "Tax area", required=True, hint="narrower from left to right: ES-CN, US-TX-Austin"),
    Field("since", "From", "date", required=True),
)
EXEMPTION = (
    Field("first_on", "From", "date", required=True),
    Field("until_on", "Until (not included)", "date", required=True, hint="as the certificate says"),
    Field("category", "Kind", start="E", choices=[Choice(*pair) for pair in _CATEGORIES.items()]),
    Field("reason", "Reason", required=True, hint="printed on documents and in e-invoices"),
    Field("code", "Code", hint="of the VATEX list, such as VATEX-EU-AE; may be left empty"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/tax-rates"):
        return []
    return [*_tables(site, api), *_of_account(site, api)]


async def card(api: Api, visit: Visit, customer: Mapping[str, Any]) -> list[Part]:
    """Areas and exemptions of an account, for its customer's page; the buttons stay where there are none."""
    if not visit.principal.may(READ) or not api.has("GET", "/tax-places/{account_id}"):
        return []
    account_id, here = customer["account_id"], f"/customers/{customer['customer_id']}"
    places = (await api.get(visit, "/tax-places/{account_id}", account_id=account_id))["places"]
    rows = (await api.get(visit, "/tax-exemptions/{account_id}", account_id=account_id))["exemptions"]
    exempt = [row | {"category_name": _CATEGORIES.get(row["category"], row["category"])} for row in rows]
    links = [Link("Move to a tax area", f"{here}/tax-area"), Link("Add an exemption", f"{here}/exemption")]
    links = links if visit.principal.may(WRITE) else []
    found = [Part("Tax", places, PLACES, "Taxed as everywhere.", links=links)]
    return [*found, Part("Tax exemptions", exempt, EXEMPTIONS)] if exempt else found


def _tables(site: Site, api: Api) -> list[WebPage]:
    async def rates(visit: Visit) -> Response:
        found = (await api.get(visit, "/tax-rates", query=of_entity(visit)))["rates"]
        return list_page(
            site, visit, "Tax rates", {"items": over_time(found, visit.now.date()), "next": None}, RATES,
            intro="Offerings agree a class, such as 19 %. What it is taxed at may change on a day, or differ by area.",
            nothing="Every class is taxed at what offerings agree.", filters=await whose(api, visit),
            make=Link("New rate", address("/taxes/new", **of_entity(visit))), make_scope=WRITE,
        )  # fmt: skip

    async def levies(visit: Visit) -> Response:
        today = visit.now.date().isoformat()
        rows = [
            row | {
                "where": row["area"] or "everywhere",
                "products": ", ".join(row["kinds"]) or "all",
                "also_upon": ", ".join(row["upon"]) or None,
                "state": _state(row["since"], row["until_on"], today),
            }
            for row in (await api.get(visit, "/levy-rules", query=of_entity(visit)))["rules"]
        ]  # fmt: skip
        return list_page(
            site, visit, "Communications taxes", {"items": rows, "next": None}, LEVIES,
            intro="Taxes and surcharges beside value added tax: of the amount, for each line, or both.",
            nothing="None is levied.", filters=await whose(api, visit),
            make=Link("New levy", address("/taxes/levies/new", **of_entity(visit))), make_scope=WRITE,
        )  # fmt: skip

    rate = Form("New tax rate", RATE, Link("Tax rates", "/taxes"), (("add", "Add rate"),))
    levy = Form("New communications tax", LEVY, Link("Communications taxes", "/taxes/levies"), (("add", "Add levy"),))
    return [
        WebPage("GET", "/taxes", READ, rates),
        WebPage("GET", "/taxes/levies", READ, levies),
        *_adding(site, api, "/taxes/new", "/tax-rates", rate),
        *_adding(site, api, "/taxes/levies/new", "/levy-rules", levy),
    ]


def _adding(site: Site, api: Api, page: str, path: str, form: Form) -> list[WebPage]:
    async def whole(visit: Visit) -> Form:
        return replace(form, fields=(*await entity_field(api, visit), *form.fields))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await whole(visit))

    async def add(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, path, body=filled.body)
            there = address(form.back.href, entity_id=str(filled.body.get("entity_id", "")))
            return RedirectResponse(there, status_code=303)

        return await sent(site, visit, await whole(visit), send)

    return both(page, WRITE, fresh, add)


def _of_account(site: Site, api: Api) -> list[WebPage]:
    def of_account(what: str, path: str, title: str, fields: Sequence[Field], button: str) -> list[WebPage]:
        async def form(_visit: Visit, row: Row) -> Form:
            return Form(f"{title} of {row['name']}", fields, back_to(row), (("add", button),))

        async def add(visit: Visit, filled: Filled, row: Row) -> None:
            await api.post(visit, path, body=filled.body | {"account_id": row["account_id"]})

        return of_customer(site, api, what, WRITE, form, add)

    return [
        *of_account("tax-area", "/tax-places", "Tax area", PLACE, "Move"),
        *of_account("exemption", "/tax-exemptions", "Tax exemption", EXEMPTION, "Add exemption"),
    ]


def over_time(rates: Sequence[Mapping[str, Any]], today: date) -> list[dict[str, Any]]:
    """The rates of each class and area, newest first, each with the day on which the next one takes over."""
    found: list[dict[str, Any]] = []
    until: dict[tuple[str, str], str] = {}
    for row in sorted(rates, key=lambda r: r["since"], reverse=True):
        key = (row["agreed"], row["area"])
        found.append(
            {
                **row,
                "class_shown": f"{row['agreed']} %",
                "percent_shown": f"{row['percent']} %",
                "where": row["area"] or "everywhere else",
                "until": until.get(key),
                "state": _state(row["since"], until.get(key), today.isoformat()),
            }
        )
        until[key] = row["since"]
    return sorted(found, key=lambda r: (Decimal(r["agreed"]), r["area"]))


def _state(since: str, until: str | None, today: str) -> str:
    """ISO days compare as text."""
    if since > today:
        return "to come"
    return "past" if until is not None and until <= today else "active"


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]

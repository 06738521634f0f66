"""Adjustments that wait for a tax service: why each is there, what the last try came to; tried at once or withdrawn."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api, address
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Link, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
WAITING = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("What", "item", sub="reason"),
    Column("Regards days from", "first_on"),
    Column("Net", "net", "money", sub="tax"),
    Column("Waits since", "noted_at", "instant", sub="noted_by"),
    Column("State", "state", "state", sub="detail"),
    Column("Tries", "attempts", "number"),
    Column("Next try", "next_at", "instant"),
    Column("", "withdraw", link="{href}"),
)
_INTRO = "Late fees and the like that are decided, and issued as soon as the tax service answers."
_BACK = Link("Waiting adjustments", "/adjustments")
_WITHDRAW = (
    Field("account_id", "", "hidden", required=True),
    Field("reference", "", "hidden", required=True),
    Field("reason", "Why", required=True, hint="for the audit log"),
)
_TRY = Form(
    "Ask the tax service now", (), _BACK, (("try", "Ask now"),),
    "What waits is tried by itself, less often the longer the service is away. Ask now once it is back.",
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/adjustments/waiting"):
        return []

    async def waiting(visit: Visit) -> Response:
        found = (await api.get(visit, "/adjustments/waiting"))["adjustments"]
        may = visit.principal.may(WRITE)
        rows = await with_customers(api, visit, [_shown(row, may) for row in found])
        return list_page(
            site, visit, "Waiting adjustments", {"items": rows, "next": None}, WAITING,
            intro=_came_to(visit) or _INTRO,
            nothing="Nothing waits: every fee and adjustment has its document.",
            links=[Link("Ask now", "/adjustments/try")] if may and rows else [],
            totals=_totals(found),
        )  # fmt: skip

    async def fresh_try(visit: Visit) -> Response:
        return show(site, visit, _TRY)

    async def try_now(visit: Visit) -> Response:
        async def send(_filled: Filled) -> Response:
            told = await api.post(visit, "/adjustments/waiting/try")
            came_to = address("/adjustments", issued=str(told["issued"]), waiting=str(told["waiting"]))
            return RedirectResponse(came_to, status_code=303)

        return await sent(site, visit, _TRY, send)

    def form(what: str) -> Form:
        return Form(
            "Withdraw an adjustment", _WITHDRAW, _BACK, (("withdraw", "Withdraw"),),
            f"{what} It is not issued any more, also where the event that asked for it is told again.".strip(),
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        found = (await api.get(visit, "/adjustments/waiting"))["adjustments"]
        wanted = (visit.query("account_id"), visit.query("reference"))
        row = next((row for row in found if (row["account_id"], row["reference"]) == wanted), None)
        return show(site, visit, form(f"{row['item']}, {templating.amount(row['net'])}." if row else ""))

    async def withdraw(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/adjustments/waiting/withdraw", body=filled.body)
            return RedirectResponse("/adjustments", status_code=303)

        return await sent(site, visit, form(""), send)

    return [
        WebPage("GET", "/adjustments", READ, waiting),
        *both("/adjustments/try", WRITE, fresh_try, try_now),
        *both("/adjustments/withdraw", WRITE, fresh, withdraw),
    ]


def _came_to(visit: Visit) -> str:
    """What asking now came to, where that was done just before."""
    issued, waiting = visit.query("issued"), visit.query("waiting")
    if not (issued.isdecimal() and waiting.isdecimal()):
        return ""
    more = "" if waiting == "0" else ": look at what their last try came to, and ask again"
    return f"{issued} issued, {waiting} still wait{more}."


def _shown(row: Mapping[str, Any], may: bool) -> dict[str, Any]:
    this = {"account_id": row["account_id"], "reference": row["reference"]}
    return {
        **row,
        "state": "failed" if row["attempts"] else "waiting",
        "tax": "tax in it" if row["tax_included"] else None,
        "withdraw": "Withdraw" if may else None,
        "href": address("/adjustments/withdraw", **this),
    }


def _totals(found: list[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    sums: dict[str, Decimal] = {}
    for row in found:
        net = row["net"]
        sums[net["currency"]] = sums.get(net["currency"], Decimal(0)) + Decimal(net["amount"])
    return [
        (f"Waiting, {currency}", templating.money({"amount": f"{net:f}", "currency": currency}))
        for currency, net in sorted(sums.items())
    ]

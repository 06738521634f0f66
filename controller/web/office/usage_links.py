"""Links by which a customer sees an account's usage: made, shown once, listed and withdrawn."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.table import Column, facts
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit, WebPage

WRITE = "crm:write"
LINKS = (
    Column("Made", "created_at", "instant"),
    Column("By", "created_by"),
    Column("Opens until", "expires_at", "instant"),
    Column("Withdrawn", "withdrawn_at", "instant"),
    Column("", "withdraw", link="/usage-links/{link_id}/withdraw/{customer_id}"),
)
_DAYS = (Field("days", "Days", "number", True, "how long the link opens: 1 to 400", start="90", convert=int),)


def link(api: Api, visit: Visit, customer_id: str) -> list[Link]:
    """On the page of a customer, for whoever may."""
    may = visit.principal.may(WRITE) and api.has("GET", "/accounts/{account_id}/usage-links")
    return [Link("Show them their usage", f"/customers/{customer_id}/usage-links")] if may else []


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/accounts/{account_id}/usage-links"):
        return []

    async def listed(visit: Visit) -> tuple[Form, list[Part]]:
        row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        found = await api.get(visit, "/accounts/{account_id}/usage-links", account_id=row["account_id"])
        rows = [
            {**link, "customer_id": row["customer_id"], "withdraw": None if link["withdrawn_at"] else "Withdraw"}
            for link in found["links"]
        ]
        intro = "Whoever has the link sees the days and invoice lines of this account's usage, and nothing else."
        back = Link(row["name"], f"/customers/{row['customer_id']}")
        form = Form(f"Usage links of {row['name']}", _DAYS, back, (("make", "Make a link"),), intro)
        return form, [Part("Links", rows, LINKS, "None was made yet.")]

    async def index(visit: Visit) -> Response:
        form, parts = await listed(visit)
        return show(site, visit, form, parts=parts)

    async def make(visit: Visit) -> Response:
        row = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
        form, _ = await listed(visit)

        async def send(filled: Filled) -> Response:
            path = "/accounts/{account_id}/usage-links"
            made = await api.post(visit, path, body=filled.body, account_id=row["account_id"])
            told = {"address": str(visit.request.url.replace(path=made["path"], query="")), **made}
            shown = (Column("Address", "address", "mono"), Column("Opens until", "expires_at", "instant"))
            _, parts = await listed(visit)
            once = Part("Send this to the customer: it is shown once", facts=facts(told, shown))
            return show(site, visit, form, parts=[once, *parts], status=201)

        return await sent(site, visit, form, send)

    async def question(visit: Visit) -> Response:
        back = Link("Usage links", f"/customers/{visit.path['customer_id']}/usage-links")
        intro = "It opens nothing from now on. Another one can be made at any time."
        return show(site, visit, Form("Withdraw the link?", (), back, (("withdraw", "Withdraw it"),), intro))

    async def withdraw(visit: Visit) -> Response:
        await api.post(visit, "/usage-links/{link_id}/withdraw", link_id=visit.path["link_id"])
        return RedirectResponse(f"/customers/{visit.path['customer_id']}/usage-links", status_code=303)

    return [
        *both("/customers/{customer_id}/usage-links", WRITE, index, make),
        *both("/usage-links/{link_id}/withdraw/{customer_id}", WRITE, question, withdraw),
    ]

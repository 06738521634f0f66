"""Pages of direct debit files: what is collected with each, the file itself, and whether it went to the bank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.payments import READ, WHY, WRITE
from controller.web.office.table import Column
from controller.web.office.view import Action, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

COLLECTIONS = (
    Column("Collected on", "collect_on", link="/direct-debits/{collection_id}"),
    Column("State", "state", "state"),
    Column("Invoices", "items", "number"),
    Column("Total", "total", "money"),
    Column("Made", "made_at", "instant"),
    Column("Sent", "sent_at", "instant"),
)
ITEMS = (
    Column("Customer", "customer", link="/invoices/{invoice_id}"),
    Column("State", "state", "state", sub="reason"),
    Column("Sequence", "sequence"),
    Column("Amount", "amount", "money"),
)
COLLECT = (
    Field("bank_account_id", "Bank account", required=True),
    Field("collect_on", "Collect on", "date", required=True, hint="a day on which banks settle"),
)

BACK = Link("Direct debits", "/direct-debits")


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/direct-debits"):
        return []
    path = "/direct-debits/{collection_id}"

    async def collections(visit: Visit) -> Response:
        page = await api.get(visit, "/direct-debits", query={"after": visit.query("after")})
        return list_page(
            site, visit, "Direct debits", page, COLLECTIONS,
            intro="An invoice stands in one file at a time; its payment is booked when the file is sent.",
            nothing="No direct debit file yet.",
            make=Link("Make a file", "/direct-debits/new"), make_scope=WRITE,
        )  # fmt: skip

    async def collection(visit: Visit) -> Response:
        row = await api.get(visit, path, collection_id=visit.path["collection_id"])
        items = await with_customers(api, visit, row["entries"])
        here = f"/direct-debits/{row['collection_id']}"
        may = visit.principal.may(WRITE) and row["state"] == "made"
        links = [Link("The file", f"{here}/file"), *([Link("Give it up", f"{here}/drop")] if may else [])]
        return detail_page(
            site, visit, f"Direct debits of {row['collect_on']}", row, COLLECTIONS[1:],
            back=BACK, links=links,
            actions=[Action("It was sent", f"{here}/send", "Did it go to the bank?")] if may else [],
            parts=[Part("Invoices", items, ITEMS)],
        )  # fmt: skip

    async def file(visit: Visit) -> Response:
        return await api.fetch(visit, f"{path}/file", collection_id=visit.path["collection_id"])

    async def send_it(visit: Visit) -> Response:
        await api.post(visit, f"{path}/send", collection_id=visit.path["collection_id"])
        return RedirectResponse(f"/direct-debits/{visit.path['collection_id']}", status_code=303)

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await _making(api, visit))

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            made = await api.post(visit, "/direct-debits", body=filled.body)
            return RedirectResponse(f"/direct-debits/{made['collection_id']}", status_code=303)

        return await sent(site, visit, await _making(api, visit), send)

    async def fresh_drop(visit: Visit) -> Response:
        return show(site, visit, _giving_up(visit))

    async def drop(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, f"{path}/drop", body=filled.body, collection_id=visit.path["collection_id"])
            return RedirectResponse(_giving_up(visit).back.href, status_code=303)

        return await sent(site, visit, _giving_up(visit), send)

    return [
        *both(f"{path}/drop", WRITE, fresh_drop, drop),
        *both("/direct-debits/new", WRITE, fresh, make),
        WebPage("GET", "/direct-debits", READ, collections),
        WebPage("GET", path, READ, collection),
        WebPage("GET", f"{path}/file", READ, file),
        WebPage("POST", f"{path}/send", WRITE, send_it),
    ]


async def _making(api: Api, visit: Visit) -> Form:
    accounts = (await api.get(visit, "/bank-accounts"))["accounts"]
    fields = (_chosen(COLLECT[0], accounts), COLLECT[1])
    return Form("Make a direct debit file", fields, BACK, (("make", "Make the file"),))


def _giving_up(visit: Visit) -> Form:
    back = Link("Direct debits", f"/direct-debits/{visit.path['collection_id']}")
    intro = "Its invoices are collected by the next file instead."
    return Form("Give up a direct debit file", (WHY,), back, (("drop", "Give it up"),), intro)


def _chosen(field: Field, accounts: list[Mapping[str, Any]]) -> Field:
    found = [Choice(a["bank_account_id"], f"{a['name']}, {a['iban']}") for a in accounts if a["creditor_id"]]
    return replace(field, choices=found)

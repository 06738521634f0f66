"""An account's family: to whom it belongs and who pays, the accounts that belong to it, and what is held for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, account, decimal, sent, show
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, part_of
from controller.web.site import Site, Visit, WebPage

PARENT, DEPOSIT = "/customers/{customer_id}/parent", "/customers/{customer_id}/deposit"

CHILDREN = (
    Column("Name", "name", link="/customers/{customer_id}", sub="heading"),
    Column("Since", "since"),
    Column("On our bill", "billed_to_parent", "flag"),
    Column("Blocked with us", "blocked_with_parent", "flag"),
    Column("Account", "account_id", "mono"),
)
RELATIONS = (
    Column("Belongs to", "parent_id", "mono"),
    Column("Since", "since"),
    Column("On its bill", "billed_to_parent", "flag"),
    Column("Heading", "heading"),
    Column("Blocked with it", "blocked_with_parent", "flag"),
    Column("Said", "changed_at", "instant", sub="changed_by"),
)
DEPOSITS = (
    Column("Deposit", "reference", sub="reason"),
    Column("Amount", "amount", "money"),
    Column("Taken", "taken_at", "instant", sub="taken_by"),
    Column("Given back", "released_at", "instant"),
    Column("", "back", link="/deposits/{deposit_id}/release"),
)


def _yes(text: str) -> bool:
    return text == "yes"


_YES_NO = (Choice("yes", "Yes"), Choice("no", "No"))
_PARENT_FIELDS = (
    account("parent_id", "Account that it belongs to", required=False, hint="type a customer's name; empty: to nobody"),
    Field("since", "From the day", "date", hint="today if empty"),
    Field("billed_to_parent", "On its bill", start="yes", choices=_YES_NO, convert=_yes),
    Field("heading", "Heading on that bill", hint="such as a site and its cost centre"),
    Field("blocked_with_parent", "Blocked with it", start="no", choices=_YES_NO, convert=_yes),
)
_DEPOSIT_FIELDS = (
    Field("amount.amount", "Amount", "decimal", required=True, convert=decimal),
    Field("into", "Received in", start="bank", choices=(Choice("bank", "Bank"), Choice("cash", "Cash"))),
    Field("reference", "Reference", required=True, hint="the same again is the same deposit"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def customer(visit: Visit) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await api.get(
            visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"]
        )
        return found

    def back(row: Mapping[str, Any]) -> Link:
        return Link(row["name"], f"/customers/{row['customer_id']}")

    def parent_form(row: Mapping[str, Any]) -> Form:
        return Form(
            f"To whom {row['name']} belongs", _PARENT_FIELDS, back(row), (("set", "Set"),),
            "From that day on its lines stand on the other account's document, under a heading with a subtotal. "
            "What was billed before stays as it is.",
        )  # fmt: skip

    def deposit_form(row: Mapping[str, Any]) -> Form:
        return Form(
            f"A deposit of {row['name']}", _DEPOSIT_FIELDS, back(row), (("take", "Take the deposit"),),
            "It is held apart and settles nothing. It is given back when the last line of the account has ended.",
        )  # fmt: skip

    async def parent(visit: Visit) -> Response:
        return show(site, visit, parent_form(await customer(visit)))

    async def set_parent(visit: Visit) -> Response:
        row = await customer(visit)

        async def send(filled: Filled) -> Response:
            body = {"parent_id": None, **filled.body}
            await api.put(visit, "/accounts/{account_id}/parent", body=body, account_id=row["account_id"])
            return RedirectResponse(back(row).href, status_code=303)

        return await sent(site, visit, parent_form(row), send)

    async def deposit(visit: Visit) -> Response:
        return show(site, visit, deposit_form(await customer(visit)))

    async def take(visit: Visit) -> Response:
        row = await customer(visit)

        async def send(filled: Filled) -> Response:
            amount = {**filled.body["amount"], "currency": row["currency"]}
            body = {**filled.body, "amount": amount}
            await api.post(visit, "/accounts/{account_id}/deposits", body=body, account_id=row["account_id"])
            return RedirectResponse(back(row).href, status_code=303)

        return await sent(site, visit, deposit_form(row), send)

    return [
        *_giving_back(site, api),
        WebPage("GET", PARENT, "crm:write", parent),
        WebPage("POST", PARENT, "crm:write", set_parent),
        WebPage("GET", DEPOSIT, "finance:write", deposit),
        WebPage("POST", DEPOSIT, "finance:write", take),
    ]


def _giving_back(site: Site, api: Api) -> list[WebPage]:
    path = "/deposits/{deposit_id}/release"
    why = Field("reason", "Why", required=True, hint="for the audit log")
    intro = "It becomes a payment of the account: open invoices are settled by it, and the rest can be refunded."
    form = Form("Give a deposit back", (why,), Link("Payments", "/payments"), (("release", "Give back"),), intro)

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form)

    async def give_back(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            made = await api.post(visit, path, body=filled.body, deposit_id=visit.path["deposit_id"])
            return RedirectResponse(f"/payments/{made['payment_id']}", status_code=303)

        return await sent(site, visit, form, send)

    return [WebPage("GET", path, "finance:write", fresh), WebPage("POST", path, "finance:write", give_back)]


async def cards(api: Api, visit: Visit, account_id: str) -> list[Part]:
    """To whom the account belongs, who belongs to it, and what is held for it: each only where there is any."""
    found: list[Part] = []
    path = "/accounts/{account_id}/parent"
    if visit.principal.may("crm:read") and api.has("GET", path):
        rows = (await api.get(visit, path, account_id=account_id))["relations"]
        found.append(Part("Belongs to", rows[::-1], RELATIONS))
    path = "/accounts/{account_id}/children"
    if visit.principal.may("crm:read") and api.has("GET", path):
        page = await api.get(visit, path, query={"limit": "500"}, account_id=account_id)
        found.append(Part("Accounts of this one", page["items"], CHILDREN))
    for part in await part_of(api, visit, "Deposits", "/deposits", "finance:read", DEPOSITS, account_id=account_id):
        may = visit.principal.may("finance:write")
        rows = [{**row, "back": "Give back" if may and row["released_at"] is None else None} for row in part.rows]
        found.append(replace(part, rows=rows))
    return [part for part in found if part.rows]

"""Resellers: who brought which customers, what was sold to those in a month, and the commission owed for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.clock import add_months
from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, account, decimal
from controller.web.office.forms import back_to, of_customer
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Action, Link, Part, Row, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
RESELLERS = (
    Column("Reseller", "customer", link="/resellers/{account_id}"),
    Column("Customers today", "customers", "number"),
)
RESELLER = (Column("Customer", "customer", link="/customers/{customer_id}"), Column("Month", "month"))
STATEMENT = (
    Column("Sold, net", "net", "money"),
    Column("Commission", "share", "money"),
    Column("Settled", "settled_at", "instant"),
    Column("Entry", "entry", link="/ledger/entries/{entry_id}"),
)
SALES = (
    Column("Document", "number", link="/invoices/{invoice_id}", sub="issued_on"),
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Net", "net", "money"),
    Column("Share", "percent_shown", "figure"),
    Column("Commission", "share", "money"),
)
THEIRS = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Since", "since"),
    Column("Share", "percent_shown", "figure"),
)
ASSIGNED = (
    Column("Reseller", "customer", link="/resellers/{reseller_id}"),
    Column("Share", "percent_shown", "figure"),
    Column("From", "since"),
    Column("Said", "changed_at", "instant", sub="changed_by"),
)
ASSIGN = (
    account("reseller_id", "Reseller", required=False, hint="type a name and choose; empty: nobody's any more"),
    Field("percent", "Share of the net", "decimal", unit="%", start="10", convert=decimal),
    Field("since", "From the day", "date", hint="empty: today; not in a month that was settled"),
)
_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/resellers"):
        return []
    return [*_statements(site, api), *_assigning(site, api)]


async def card(api: Api, visit: Visit, customer: Mapping[str, Any]) -> list[Part]:
    """Whose customer an account was and is, for its customer's page."""
    path = "/accounts/{account_id}/reseller"
    if not visit.principal.may(READ) or not api.has("GET", path):
        return []
    found = (await api.get(visit, path, account_id=customer["account_id"]))["assignments"]
    rows = await _named(api, visit, reversed(found), "reseller_id")
    change = Link("Assign to a reseller", f"/customers/{customer['customer_id']}/reseller")
    links = [change] if visit.principal.may(WRITE) else []
    return [Part("Reseller", rows, ASSIGNED, "Nobody's customer but ours.", links=links)]


def _statements(site: Site, api: Api) -> list[WebPage]:
    async def resellers(visit: Visit) -> Response:
        found = (await api.get(visit, "/resellers"))["resellers"]
        return list_page(
            site, visit, "Resellers", {"items": await with_customers(api, visit, found), "next": None}, RESELLERS,
            intro="Whoever brought customers gets a share of what is sold to them, settled by the month.",
            nothing="Nobody resells. A customer's page says whose customer somebody is.",
        )  # fmt: skip

    async def reseller(visit: Visit) -> Response:
        account_id, here = visit.path["account_id"], visit.request.url.path
        asked = visit.query("month")
        first = date.fromisoformat(f"{asked}-01") if _MONTH.fullmatch(asked) else visit.now.date().replace(day=1)
        month = f"{first:%Y-%m}"
        found = await api.get(visit, "/resellers/{account_id}/statement", query={"month": month}, account_id=account_id)
        path, after = "/resellers/{account_id}/customers", visit.query("after")
        page = await api.get(visit, path, query={"after": after}, account_id=account_id)
        (row,) = await with_customers(api, visit, [{"account_id": account_id}])
        nothing_sold = Part("What was sold", nothing=f"Nothing was sold to their customers in {month}.")
        over = add_months(first, 1) <= visit.now.date()
        waits = any(each["settled_at"] is None for each in found["statements"])
        may = over and waits and visit.principal.may(WRITE)
        question = "Post the commission as owed? It is never changed."
        months = [Link("Earlier month", f"{here}?month={add_months(first, -1):%Y-%m}")]
        if over:
            months.append(Link("Later month", f"{here}?month={add_months(first, 1):%Y-%m}"))
        if page["next"]:
            months.append(Link("More customers", f"{here}?month={month}&after={page['next']}"))
        return detail_page(
            site, visit, f"Reseller {row['customer']}", row | {"month": month}, RESELLER,
            back=Link("Resellers", "/resellers"), links=months,
            actions=[Action(f"Settle {month}", f"{here}/{month}/settle", question)] if may else [],
            notes=[] if over else [f"{month} is not over: it can be settled from {add_months(first, 1)} on."],
            parts=[
                *[part for each in found["statements"] for part in await _statement(api, visit, each)],
                *([] if found["statements"] else [nothing_sold]),
                Part("Customers today", await _named(api, visit, page["items"]), THEIRS, "Nobody, today."),
            ],
        )  # fmt: skip

    async def settle(visit: Visit) -> Response:
        account_id, month = visit.path["account_id"], visit.path["month"]
        body = {"month": month}
        await api.post(visit, "/resellers/{account_id}/settlements", body=body, account_id=account_id)
        return RedirectResponse(f"/resellers/{account_id}?month={month}", status_code=303)

    return [
        WebPage("GET", "/resellers", READ, resellers),
        WebPage("GET", "/resellers/{account_id}", READ, reseller),
        WebPage("POST", "/resellers/{account_id}/{month}/settle", WRITE, settle),
    ]


def _assigning(site: Site, api: Api) -> list[WebPage]:
    async def form(_visit: Visit, row: Row) -> Form:
        intro = "From that day on the share of every document of the account is the reseller's."
        return Form(f"Whose customer {row['name']} is", ASSIGN, back_to(row), (("assign", "Assign"),), intro)

    async def assign(visit: Visit, filled: Filled, row: Row) -> None:
        body = {"reseller_id": None, **filled.body}
        await api.put(visit, "/accounts/{account_id}/reseller", body=body, account_id=row["account_id"])

    return of_customer(site, api, "reseller", WRITE, form, assign)


async def _statement(api: Api, visit: Visit, each: Mapping[str, Any]) -> list[Part]:
    row = {**each, "entry": "the entry" if each["entry_id"] else None}
    sales = await _named(api, visit, each["sales"])
    return [
        Part(f"Statement in {each['net']['currency']}", facts=facts(row, STATEMENT)),
        Part("What was sold", sales, SALES),
    ]


async def _named(api: Api, visit: Visit, rows: Any, key: str = "account_id") -> list[dict[str, Any]]:
    """Each with the customer of the account under `key`, and its share as people read it."""
    found = [dict(row) | {"percent_shown": f"{row['percent']} %"} for row in rows]
    known = await with_customers(api, visit, [{"account_id": row[key]} for row in found if row[key]])
    names = {row["account_id"]: row for row in known}
    return [row | {k: names.get(row[key], {}).get(k) for k in ("customer", "customer_id")} for row in found]

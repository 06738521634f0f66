"""What customers were told before their contracts end or renew, and what a person decides where nobody knows."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "orders:read", "orders:write"
HERE = "/contract-notices"
DECIDE = f"{HERE}/{{notice_id}}/decide"
STATES = ("waiting", "sending", "sent", "withdrawn", "uncertain")
NOTICES = (
    Column("Written", "created_at", "instant"),
    Column("Customer", "customer", sub="recipient"),
    Column("Text", "title"),
    Column("Free from", "ends_on"),
    Column("State", "state", "state"),
    Column("What became of it", "words"),
    Column("To do", "decision", link="{href}"),
)
REASON = (Field("reason", "Why", required=True, hint="for the audit log"),)
_MOST = "500"


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", HERE):
        return []

    async def notices(visit: Visit) -> Response:
        state = visit.query("state")
        page = await api.get(
            visit, HERE, query={"state": state if state in STATES else "", "after": visit.query("after")}
        )
        rows = [row | _to_do(visit, row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, "Contract notices", page | {"items": rows}, NOTICES,
            intro="E-mails before contracts end or renew. One that may not have arrived waits until somebody says.",
            filters=(Filter("state", "State", choices=STATES),),
            nothing="Nobody had to be told anything yet.",
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _form(), parts=await _said(api, visit))

    async def decide(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = filled.body | {"arrived": visit.form.get("do") == "arrived"}
            await api.post(visit, DECIDE, body=body, notice_id=visit.path["notice_id"])
            return RedirectResponse(HERE, status_code=303)

        return await sent(site, visit, _form(), send)

    return [
        WebPage("GET", HERE, READ, notices),
        WebPage("GET", DECIDE, WRITE, fresh),
        WebPage("POST", DECIDE, WRITE, decide),
    ]


def _to_do(visit: Visit, row: dict[str, Any]) -> dict[str, str | None]:
    if row["state"] != "uncertain" or not visit.principal.may(WRITE):
        return {"decision": None, "href": ""}
    return {"decision": "Decide", "href": address(DECIDE.format_map(row), account_id=row["account_id"])}


def _form() -> Form:
    buttons = (("again", "Send it again"), ("arrived", "The customer was told"))
    return Form("Was this customer told?", REASON, Link("Contract notices", HERE), buttons)


async def _said(api: Api, visit: Visit) -> list[Part]:
    """The text: whoever phones a customer has to read it."""
    query = {"state": "uncertain", "account_id": visit.query("account_id"), "limit": _MOST}
    page = await api.get(visit, HERE, query=query)
    return [
        Part("What it says", text=f"To {row['recipient'] or 'no address'}: {row['title']}\n\n{row['text']}")
        for row in page["items"]
        if row["notice_id"] == visit.path["notice_id"]
    ]

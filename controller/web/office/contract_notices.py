"""What customers were told before their contracts end or renew, and of their prepaid credit; and what a person decides
where nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, list_page
from controller.web.site import Site, Visit, WebPage


@dataclass(frozen=True, slots=True)
class Kind:
    """Of notices: where they are, who may see and decide them, and when what they tell is."""

    here: str
    title: str
    intro: str
    read: str
    write: str
    when: Column

    @property
    def decide(self) -> str:
        return f"{self.here}/{{notice_id}}/decide"

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column("Written", "created_at", "instant"),
            Column("Customer", "customer", sub="recipient"),
            Column("Text", "title"),
            self.when,
            Column("State", "state", "state"),
            Column("What became of it", "words"),
            Column("To do", "decision", link="{href}"),
        )


_UNSURE = "One that may not have arrived waits until somebody says."
CONTRACTS = Kind(
    "/contract-notices", "Contract notices", f"E-mails before contracts end or renew. {_UNSURE}",
    "orders:read", "orders:write", Column("Free from", "ends_on"),
)  # fmt: skip
PREPAID = Kind(
    "/prepaid-notices", "Prepaid notices",
    f"E-mails before prepaid credit expires, and when little of it is left. {_UNSURE}",
    "billing:read", "billing:write", Column("Gone on", "expires_on"),
)  # fmt: skip
STATES = ("waiting", "sending", "sent", "withdrawn", "uncertain")
REASON = (Field("reason", "Why", required=True, hint="for the audit log"),)
_MOST = "500"


def pages(site: Site, api: Api) -> list[WebPage]:
    return [page for kind in (CONTRACTS, PREPAID) if api.has("GET", kind.here) for page in _of(kind, site, api)]


def _of(kind: Kind, site: Site, api: Api) -> list[WebPage]:
    async def notices(visit: Visit) -> Response:
        state = visit.query("state")
        query = {"state": state if state in STATES else "", "after": visit.query("after")}
        page = await api.get(visit, kind.here, query=query)
        rows = [row | _to_do(kind, visit, row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, kind.title, page | {"items": rows}, kind.columns,
            intro=kind.intro,
            filters=(Filter("state", "State", choices=STATES),),
            nothing="Nobody had to be told anything yet.",
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _form(kind), parts=await _said(kind, api, visit))

    async def decide(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = filled.body | {"arrived": visit.form.get("do") == "arrived"}
            await api.post(visit, kind.decide, body=body, notice_id=visit.path["notice_id"])
            return RedirectResponse(kind.here, status_code=303)

        return await sent(site, visit, _form(kind), send)

    return [
        WebPage("GET", kind.here, kind.read, notices),
        WebPage("GET", kind.decide, kind.write, fresh),
        WebPage("POST", kind.decide, kind.write, decide),
    ]


def _to_do(kind: Kind, visit: Visit, row: dict[str, Any]) -> dict[str, str | None]:
    if row["state"] != "uncertain" or not visit.principal.may(kind.write):
        return {"decision": None, "href": ""}
    return {"decision": "Decide", "href": address(kind.decide.format_map(row), account_id=row["account_id"])}


def _form(kind: Kind) -> Form:
    buttons = (("again", "Send it again"), ("arrived", "The customer was told"))
    return Form("Was this customer told?", REASON, Link(kind.title, kind.here), buttons)


async def _said(kind: Kind, api: Api, visit: Visit) -> list[Part]:
    """The text: whoever phones a customer has to read it."""
    query = {"state": "uncertain", "account_id": visit.query("account_id"), "limit": _MOST}
    page = await api.get(visit, kind.here, query=query)
    return [
        Part("What it says", text=f"To {row['recipient'] or 'no address'}: {row['title']}\n\n{row['text']}")
        for row in page["items"]
        if row["notice_id"] == visit.path["notice_id"]
    ]

"""What customers contest: disputes with their frozen evidence, and how each is resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, sent, show, whole
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
DISPUTES = (
    Column("Opened", "opened_on", link="/disputes/{dispute_id}", sub="opened_by"),
    Column("Customer", "customer", link="/dunning/accounts/{account_id}"),
    Column("Amount", "amount", "money"),
    Column("State", "state", "state", sub="since"),
    Column("Why", "reason"),
)
DISPUTE = (
    *DISPUTES[1:],
    Column("Invoice", "invoice_id", "mono", link="/invoices/{invoice_id}"),
    Column("Dunning goes on", "until_on"),
    Column("Resolution", "resolution", sub="resolved_by"),
    Column("Credit note", "credit_note_id", "mono", link="/invoices/{credit_note_id}"),
    Column("Of that was taken back", "taken_back", "money", link="/invoices/{taken_back_by}"),
)
UPHOLD = (Field("resolution", "Why the customer is right", required=True),)
REJECT = (
    Field("resolution", "Why the invoice stands", required=True),
    Field("days", "Days until dunning goes on", hint="left empty: as the policy says", convert=whole),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    return _disputes(site, api) if api.has("GET", "/disputes") else []


def _disputes(site: Site, api: Api) -> list[WebPage]:
    path = "/disputes/{dispute_id}"

    async def disputes(visit: Visit) -> Response:
        state = visit.query("state")
        states = ("open", "upheld", "rejected")
        page = await api.get(
            visit, "/disputes", query={"state": state if state in states else "", "after": visit.query("after")}
        )
        rows = [_since(row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, "Disputes", page | {"items": rows}, DISPUTES,
            intro="What customers contest. Dunning leaves each amount alone until it is resolved.",
            filters=(Filter("state", "State", choices=states),),
            nothing="Nothing is contested.",
        )  # fmt: skip

    async def dispute(visit: Visit) -> Response:
        found = await api.get(visit, path, dispute_id=visit.path["dispute_id"])
        row = _since(*await with_customers(api, visit, [found]))
        here = f"/disputes/{row['dispute_id']}"
        may = row["state"] == "open" and visit.principal.may(WRITE)
        evidence = [
            Part(f"Evidence of line {one['line_id'][-12:]}, frozen {one['frozen_at']}", text=_evidence(one))
            for one in row["evidence"]
        ]
        return detail_page(
            site, visit, f"Dispute of {row['opened_on']}", row, DISPUTE,
            back=Link("Disputes", "/disputes"),
            links=[Link("Uphold", f"{here}/uphold"), Link("Reject", f"{here}/reject")] if may else [],
            parts=evidence,
        )  # fmt: skip

    def resolution(what: str, title: str, fields: Sequence[Field], button: str) -> list[WebPage]:
        def form(visit: Visit) -> Form:
            back = Link("The dispute", f"/disputes/{visit.path['dispute_id']}")
            return Form(title, fields, back, (("send", button),))

        async def fresh(visit: Visit) -> Response:
            return show(site, visit, form(visit))

        async def post(visit: Visit) -> Response:
            async def go(filled: Filled) -> Response:
                dispute_id = visit.path["dispute_id"]
                await api.post(visit, f"{path}/{what}", body=filled.body, dispute_id=dispute_id)
                return RedirectResponse(f"/disputes/{dispute_id}", status_code=303)

            return await sent(site, visit, form(visit), go)

        return [WebPage("GET", f"{path}/{what}", WRITE, fresh), WebPage("POST", f"{path}/{what}", WRITE, post)]

    return [
        WebPage("GET", "/disputes", READ, disputes),
        *resolution("uphold", "The customer is right", UPHOLD, "Uphold, with a credit note"),
        *resolution("reject", "The invoice stands", REJECT, "Reject"),
        WebPage("GET", path, READ, dispute),
    ]


def _since(row: Mapping[str, Any]) -> dict[str, Any]:
    """With what has become of it since it was decided."""
    return {**row, "since": "its credit was taken back" if row["taken_back"] else ""}


def _evidence(one: Mapping[str, Any]) -> str:
    """The explanation as it was, and the digest of what is kept."""
    said = json.loads(one["content"])
    return f"{said.get('text') or json.dumps(said, indent=2, ensure_ascii=False)}\n\nSHA-256 {one['sha256']}"

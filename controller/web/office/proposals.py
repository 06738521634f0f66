"""Entries by hand: a form, the list of those that wait for a second person, and what that person decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, once, sent, show
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
_SIDES = ("1", "2", "3", "4")
LIST = (
    Column("Proposed", "at", "instant", link="/ledger/proposals/{proposal_id}"),
    Column("What", "description", sub="reference"),
    Column("State", "state", "state"),
    Column("By", "actor"),
    Column("Decided by", "decided_by"),
    Column("Sum of debits", "debit", "money"),
)
ONE = (
    Column("State", "state", "state"),
    Column("Reference", "reference"),
    Column("Booked on", "booked_on"),
    Column("Takes back", "reverses", link="/ledger/entries/{reverses}"),
    Column("Because", "because"),
    Column("Proposed by", "actor"),
    Column("Proposed", "at", "instant"),
    Column("Decided by", "decided_by"),
    Column("Decided", "decided_at", "instant"),
    Column("Reason", "reason"),
)
POSTINGS = (
    Column("Account", "name", sub="code"),
    Column("Debit", "debit", "money"),
    Column("Credit", "credit", "money"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def proposals(visit: Visit) -> Response:
        query = {"state": visit.query("state"), "after": visit.query("after")}
        page = await api.get(visit, "/entry-proposals", query=query)
        rows = [row | {"debit": _debit(row["postings"])} for row in page["items"]]
        return list_page(
            site, visit, "Entries by hand", page | {"items": rows}, LIST,
            filters=(Filter("state", "State", choices=("waiting", "posted", "refused")),),
            intro="Above the limit an entry waits until somebody else approves it.",
            nothing="Nothing was proposed.",
            make=Link("New entry", "/ledger/proposals/new"), make_scope=WRITE,
        )  # fmt: skip

    async def proposal(visit: Visit) -> Response:
        row = await _proposal(api, visit)
        names = await _names(api, visit)
        here = f"/ledger/proposals/{row['proposal_id']}"
        may = visit.principal.may(WRITE) and row["state"] == "waiting"
        actions = [
            Action("Approve and post", f"{here}/approve", "Post this entry? It is never changed, only reversed."),
            Action("Refuse", f"{here}/refuse", "Refuse this entry?", disruptive=True),
        ]
        return detail_page(
            site, visit, row["description"], row, ONE,
            back=Link("Entries by hand", "/ledger/proposals"),
            links=[Link("Entry", f"/ledger/entries/{row['entry_id']}")] if row["entry_id"] else [],
            actions=actions if may else [],
            parts=[Part("Postings", [_two_sides(p, names) for p in row["postings"]], POSTINGS)],
        )  # fmt: skip

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await _form(api, visit))

    async def propose(visit: Visit) -> Response:
        form = await _form(api, visit)

        async def send(filled: Filled) -> Response:
            made = await api.post(visit, "/entry-proposals", body=_body(filled.body))
            return RedirectResponse(f"/ledger/proposals/{made['proposal_id']}", status_code=303)

        return await sent(site, visit, form, send)

    async def fresh_reversal(visit: Visit) -> Response:
        return show(site, visit, await _reversal_form(api, visit))

    async def reverse(visit: Visit) -> Response:
        entry_id = visit.path["entry_id"]

        async def send(filled: Filled) -> Response:
            body = filled.body | {"entry_id": entry_id}
            made = await api.post(visit, "/entry-proposals/reversals", body=body)
            return RedirectResponse(f"/ledger/proposals/{made['proposal_id']}", status_code=303)

        return await sent(site, visit, await _reversal_form(api, visit), send)

    return [
        WebPage("GET", "/ledger/proposals", READ, proposals),
        WebPage("GET", "/ledger/proposals/new", WRITE, fresh),
        WebPage("POST", "/ledger/proposals/new", WRITE, propose),
        WebPage("GET", "/ledger/entries/{entry_id}/reversal", WRITE, fresh_reversal),
        WebPage("POST", "/ledger/entries/{entry_id}/reversal", WRITE, reverse),
        WebPage("GET", "/ledger/proposals/{proposal_id}", READ, proposal),
        *_decisions(api),
    ]


def _decisions(api: Api) -> list[WebPage]:
    async def approve(visit: Visit) -> Response:
        proposal_id = visit.path["proposal_id"]
        await api.post(visit, "/entry-proposals/{proposal_id}/approve", proposal_id=proposal_id)
        return RedirectResponse(f"/ledger/proposals/{proposal_id}", status_code=303)

    async def refuse(visit: Visit) -> Response:
        proposal_id = visit.path["proposal_id"]
        body = {"reason": "refused in the office"}
        await api.post(visit, "/entry-proposals/{proposal_id}/refuse", body=body, proposal_id=proposal_id)
        return RedirectResponse(f"/ledger/proposals/{proposal_id}", status_code=303)

    return [
        WebPage("POST", "/ledger/proposals/{proposal_id}/approve", WRITE, approve),
        WebPage("POST", "/ledger/proposals/{proposal_id}/refuse", WRITE, refuse),
    ]


async def _form(api: Api, visit: Visit) -> Form:
    accounts = (await api.get(visit, "/ledger-accounts"))["accounts"]
    postable = tuple(
        Choice(a["code"], f"{a['code']} {a['name']}") for a in accounts if not a["heading"] and not a["control"]
    )
    fields = [
        Field("description", "What for", required=True),
        Field("booked_on", "Booked on", "date", hint="empty: today"),
        Field("currency", "Currency", required=True, start="EUR"),
        once(),
    ]
    for n in _SIDES:
        needed = n in _SIDES[:2]
        fields.append(Field(f"code{n}", f"Account {n}", required=needed, choices=postable))
        fields.append(
            Field(
                f"amount{n}",
                f"Amount {n}",
                "decimal",
                required=needed,
                hint="debit; negative is credit",
                convert=decimal,
            )
        )
    return Form(
        "New entry", fields, Link("Entries by hand", "/ledger/proposals"), (("propose", "Post or propose"),),
        "Debits and credits are the same sum. Above the limit somebody else approves it.",
    )  # fmt: skip


async def _reversal_form(api: Api, visit: Visit) -> Form:
    entry = await api.get(visit, "/journal-entries/{entry_id}", entry_id=visit.path["entry_id"])
    fields = [Field("reason", "Reason", required=True), Field("booked_on", "Booked on", "date", hint="empty: today")]
    return Form(
        f"Take back: {entry['description']}", fields,
        Link(entry["description"], f"/ledger/entries/{entry['entry_id']}"),
        (("reverse", "Reverse or propose"),),
        "The opposite is booked; the entry stays. Above the limit somebody else approves it.",
    )  # fmt: skip


def _body(told: Mapping[str, Any]) -> dict[str, Any]:
    body = {key: told[key] for key in ("description", "reference", "booked_on") if key in told}
    body["postings"] = [
        {"code": told[f"code{n}"], "amount": {"amount": told[f"amount{n}"], "currency": told["currency"]}}
        for n in _SIDES
        if f"code{n}" in told and f"amount{n}" in told
    ]
    return body


async def _proposal(api: Api, visit: Visit) -> dict[str, Any]:
    path = "/entry-proposals/{proposal_id}"
    found: dict[str, Any] = await api.get(visit, path, proposal_id=visit.path["proposal_id"])
    return found


async def _names(api: Api, visit: Visit) -> dict[str, str]:
    return {a["code"]: a["name"] for a in (await api.get(visit, "/ledger-accounts"))["accounts"]}


def _debit(postings: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """The sum, where it is of one currency; the API balances it, so one side says all."""
    currencies = {p["amount"]["currency"] for p in postings}
    debits = [Decimal(p["amount"]["amount"]) for p in postings if not p["amount"]["amount"].startswith("-")]
    return {"amount": str(sum(debits)), "currency": currencies.pop()} if len(currencies) == 1 else None


def _two_sides(posting: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    amount, currency = posting["amount"]["amount"], posting["amount"]["currency"]
    side = "credit" if amount.startswith("-") else "debit"
    name = names.get(posting["code"], "")
    return dict(posting) | {"name": name, side: {"amount": amount.lstrip("-"), "currency": currency}}

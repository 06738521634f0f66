"""Which invoices a credit note settles: shown with it, taken back, and matched with another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office import matches
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
_OF_NOTE, _BACK = "/invoices/{invoice_id}/allocations", "/credit-allocations/{allocation_id}/reverse"
_WHY = Field("reason", "Why", required=True, hint="for the audit log")


async def of(api: Api, visit: Visit, row: Mapping[str, Any]) -> tuple[list[Link], list[Part]]:
    """For the page of a document: of a credit note what it settles, and a link to settle more with it."""
    if row["kind"] != "credit-note" or not api.has("GET", _OF_NOTE):
        return [], []
    found = await api.get(visit, _OF_NOTE, invoice_id=row["invoice_id"])
    may = visit.principal.may(WRITE)
    rest = may and found["unapplied"]["amount"].strip("-0.")
    links = [Link("Allocate", f"/invoices/{row['invoice_id']}/allocate")] if rest else []
    return links, [matches.part(found["allocations"], may, _BACK, "It settles nothing yet.")]


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", _OF_NOTE):
        return []

    async def form(visit: Visit) -> tuple[Form, Mapping[str, Any]]:
        note_id = visit.path["invoice_id"]
        note = await api.get(visit, "/invoices/{invoice_id}", invoice_id=note_id)
        left = (await api.get(visit, _OF_NOTE, invoice_id=note_id))["unapplied"]
        fields = await matches.fields(api, visit, note["account_id"], left)
        back = Link(note["number"], f"/invoices/{note_id}")
        return Form("Allocate a credit note", fields, back, (("apply", "Allocate"),)), left

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, (await form(visit))[0])

    async def allocate(visit: Visit) -> Response:
        known, left = await form(visit)

        async def send(filled: Filled) -> Response:
            filled.body["amount"]["currency"] = left["currency"]
            await api.post(visit, _OF_NOTE, body=filled.body, invoice_id=visit.path["invoice_id"])
            return RedirectResponse(known.back.href, status_code=303)

        return await sent(site, visit, known, send)

    back_form = Form(
        "Take back a match", (_WHY,), Link("Invoices", "/invoices"), (("do", "Take back"),),
        "The invoice is open again, the credit unapplied. Both rows stay.",
    )  # fmt: skip

    async def fresh_back(visit: Visit) -> Response:
        return show(site, visit, back_form)

    async def take_back(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            found = await api.post(visit, _BACK, body=filled.body, allocation_id=visit.path["allocation_id"])
            return RedirectResponse(f"/invoices/{found['invoice_id']}", status_code=303)

        return await sent(site, visit, back_form, send)

    return [
        *both("/invoices/{invoice_id}/allocate", WRITE, fresh, allocate),
        *both(_BACK, WRITE, fresh_back, take_back),
    ]

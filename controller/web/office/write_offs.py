"""Giving up what is open of an invoice, as a loss less the tax in it where the law gives that back; taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show, unseen_once
from controller.web.office.forms import both
from controller.web.office.view import Link
from controller.web.site import Site, Visit, WebPage

PATH = "/invoices/{invoice_id}/write-off"
"""Of the page, and of the API."""
BACK_PATH = "/write-offs/{payment_id}/reverse"
_TAX = (
    Choice("no", "stays owed: the whole of it is a loss"),
    Choice("yes", "is given back by the tax office: only the net is a loss"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def invoice(visit: Visit) -> dict[str, Any]:
        return dict(await api.get(visit, "/invoices/{invoice_id}", invoice_id=visit.path["invoice_id"]))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _form(await invoice(visit)))

    async def give_up(visit: Visit) -> Response:
        row = await invoice(visit)
        form = _form(row)

        async def send(filled: Filled) -> Response:
            if "amount" in filled.body:
                filled.body["amount"]["currency"] = row["open"]["currency"]
            made = await api.post(visit, PATH, body=filled.body, invoice_id=row["invoice_id"])
            return RedirectResponse(f"/payments/{made['payment_id']}", status_code=303)

        return await sent(site, visit, form, send)

    async def fresh_back(visit: Visit) -> Response:
        return show(site, visit, _back_form(visit.path["payment_id"]))

    async def take_back(visit: Visit) -> Response:
        payment_id = visit.path["payment_id"]

        async def send(filled: Filled) -> Response:
            await api.post(visit, BACK_PATH, body=filled.body, payment_id=payment_id)
            return RedirectResponse(f"/payments/{payment_id}", status_code=303)

        return await sent(site, visit, _back_form(payment_id), send)

    found = both(PATH, "finance:write", fresh, give_up) if api.has("POST", PATH) else []
    return [*found, *(both(BACK_PATH, "finance:write", fresh_back, take_back) if api.has("POST", BACK_PATH) else [])]


def link(api: Api, visit: Visit, row: Mapping[str, Any]) -> list[Link]:
    """For an invoice's page: nothing where nothing is open, or for who may not."""
    may = visit.principal.may("finance:write") and api.has("POST", PATH)
    is_open = row["kind"] != "credit-note" and row["open"]["amount"].strip("-0.")
    return [Link("Write off", PATH.format(invoice_id=row["invoice_id"]))] if may and is_open else []


def back_link(api: Api, visit: Visit, row: Mapping[str, Any]) -> list[Link]:
    """For the page of a write-off that stands."""
    may = visit.principal.may("finance:write") and api.has("POST", BACK_PATH)
    stands = row["kind"] == "write-off" and not row["reversals"]
    return [Link("Take back", BACK_PATH.format(payment_id=row["payment_id"]))] if may and stands else []


def _back_form(payment_id: str) -> Form:
    return Form(
        "Take back a write-off",
        (Field("reason", "Why", required=True, hint="such as the wrong invoice; for the audit log"),),
        Link("Write-off", f"/payments/{payment_id}"),
        (("take-back", "Take back"),),
        "The invoice is owed again, on its day; the loss and the tax in it are turned by an entry of today.",
    )


def _form(row: Mapping[str, Any]) -> Form:
    return Form(
        f"Write off {row['number']}",
        (
            Field("amount.amount", "Amount", "decimal", convert=decimal, unit=row["open"]["currency"],
                  hint=f"left empty: all of the {templating.amount(row['open'])} that are open"),
            Field("relieve_tax", "The tax in it", start="no", choices=_TAX, convert=lambda text: text == "yes"),
            Field("reason", "Why", required=True, hint="such as insolvent; for the audit log"),
            unseen_once("reference"),
        ),
        Link(f"Invoice {row['number']}", f"/invoices/{row['invoice_id']}"),
        (("give-up", "Write off"),),
        "It is booked as a loss and settles the invoice; the document itself stays as it was issued.",
    )  # fmt: skip

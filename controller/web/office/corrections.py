"""Forms that take back or add what an invoice said: credit notes by the line, voids, adjustments of an account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, once, sent, show
from controller.web.office.view import Link
from controller.web.site import Site, Visit, WebPage

WRITE = "finance:write"
_REASON = Field("reason", "Reason", required=True, hint="printed on the document")
_BUTTONS = (("void", "Take back all that is left"), ("credit", "Issue credit note"))
_DEBIT_BUTTONS = (("void", "Take back all of it"), ("credit", "Issue debit note"))
_NOTHING_LEFT = "Nothing is left of it. What takes back a credit note is undone by a new credit of the invoice."
_CREDIT = "What each line is credited, without tax; its tax goes with it. A line left empty stays as it is."
_DEBIT = (
    "A debit note takes the credit back: what it settled is owed again, and the invoice may be credited anew. "
    "Amounts are as the line says them, below zero."
)
_ON_TOP = (Choice("no", "comes on top"), Choice("yes", "is in the amount"))
_CATEGORIES = (
    Choice("S", "taxed"),
    Choice("E", "exempt"),
    Choice("O", "not subject to tax"),
    Choice("AE", "reverse charge"),
    Choice("Z", "zero rate"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await _credit_form(api, visit))

    async def credit(visit: Visit) -> Response:
        form, invoice_id = await _credit_form(api, visit), visit.path["invoice_id"]

        async def send(filled: Filled) -> Response:
            reason = filled.body.get("reason")
            if visit.form.get("do") == "void":
                path = "/invoices/{invoice_id}/void"
                made = await api.post(visit, path, body={"reason": reason}, invoice_id=invoice_id)
            else:
                lines = [
                    {"line_id": key.removeprefix("net-"), "net": net}
                    for key, net in filled.body.items()
                    if key.startswith("net-")
                ]
                body = {"reference": filled.body["reference"], "reason": reason, "lines": lines}
                made = await api.post(visit, "/invoices/{invoice_id}/credit-notes", body=body, invoice_id=invoice_id)
            return RedirectResponse(f"/invoices/{made['invoice_id']}", status_code=303)

        return await sent(site, visit, form, send)

    async def fresh_adjustment(visit: Visit) -> Response:
        return show(site, visit, _adjustment_form(await _customer(api, visit)))

    async def adjust(visit: Visit) -> Response:
        customer = await _customer(api, visit)

        async def send(filled: Filled) -> Response:
            told: dict[str, Any] = dict(filled.body)
            included = told.pop("included", "") == "yes"
            amount = {"amount": told.pop("amount"), "currency": customer["currency"]}
            body = told | {"account_id": customer["account_id"], "net": amount, "tax_included": included}
            made = await api.post(visit, "/adjustments", body=body)
            return RedirectResponse(f"/invoices/{made['invoice_id']}", status_code=303)

        return await sent(site, visit, _adjustment_form(customer), send)

    return [
        WebPage("GET", "/invoices/{invoice_id}/credit", WRITE, fresh),
        WebPage("POST", "/invoices/{invoice_id}/credit", WRITE, credit),
        WebPage("GET", "/customers/{customer_id}/adjustment", WRITE, fresh_adjustment),
        WebPage("POST", "/customers/{customer_id}/adjustment", WRITE, adjust),
    ]


async def _credit_form(api: Api, visit: Visit) -> Form:
    invoice_id = visit.path["invoice_id"]
    invoice = await api.get(visit, "/invoices/{invoice_id}", invoice_id=invoice_id)
    found = await api.get(visit, "/invoices/{invoice_id}/creditable", invoice_id=invoice_id)
    open_lines = [line for line in found["lines"] if line["left"]["amount"].strip("-0.")]
    undoes = invoice["kind"] == "credit-note"
    fields = [
        Field(
            f"net-{line['line_id']}",
            f"{line['position']}. {line['item']}",
            "decimal",
            hint=f"{templating.amount(line['left'])} net are left of {templating.amount(line['net'])}",
            convert=decimal,
        )
        for line in open_lines
    ]
    return Form(
        f"{'Take back' if undoes else 'Credit'} {invoice['number']}",
        (*fields, _REASON, once()),
        Link(f"Invoice {invoice['number']}", f"/invoices/{invoice_id}"),
        _DEBIT_BUTTONS if undoes else _BUTTONS,
        (_DEBIT if undoes else _CREDIT) if open_lines else _NOTHING_LEFT,
    )


def _adjustment_form(customer: Mapping[str, Any]) -> Form:
    return Form(
        f"Adjust the account of {customer['name']}",
        (
            Field("item", "What", required=True, hint="as the document calls it, such as Goodwill"),
            Field("amount", "Amount", "decimal", required=True, unit=customer["currency"], convert=decimal,
                  hint="negative is given to the customer"),
            Field("included", "Tax", start="no", choices=_ON_TOP),
            Field("tax_percent", "Rate", "decimal", required=True, unit="%", start="19", convert=decimal),
            Field("tax_category", "Kind of tax", start="S", choices=_CATEGORIES),
            _REASON,
            once(),
        ),
        Link(customer["name"], f"/customers/{customer['customer_id']}"),
        (("adjust", "Issue document"),),
    )  # fmt: skip


async def _customer(api: Api, visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = await api.get(visit, "/customers/{customer_id}", customer_id=visit.path["customer_id"])
    return found

"""Pages of invoices: the document, its lines, and for each line the explanation down to the records it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from controller.domain.errors import NotFound
from controller.web.api import Api
from controller.web.office import card_charges, note_matches, write_offs
from controller.web.office.names import accounts_of, with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

STATES = ("open", "overdue", "unapplied", "paid")
INVOICES = (
    Column("Number", "number", link="/invoices/{invoice_id}"),
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("State", "state", "state"),
    Column("Issued", "issued_on"),
    Column("Due", "due_on"),
    Column("Net", "net", "money"),
    Column("Tax", "tax", "money"),
    Column("Total", "total", "money"),
    Column("Still open", "open", "money"),
)
OF_ONE_CUSTOMER = (INVOICES[0], *INVOICES[2:])
PAYMENTS = (
    Column("Received", "received_at", "instant"),
    Column("Reference", "reference", sub="method"),
    Column("Amount", "amount", "money"),
    Column("Not yet applied", "unapplied", "money"),
)
INVOICE = (
    *INVOICES[1:],
    Column("Kind", "kind"),
    Column("Bill run", "bill_run", link="/bill-runs/{bill_run_id}"),
)
TOTALS = (
    Column("Invoices", "count", "number"),
    Column("Invoiced", "total", "money"),
    Column("Still open", "open", "money"),
)
LINES = (
    Column("Description", "description", link="/invoice-lines/{line_id}", sub="kind"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Quantity", "quantity", "figure", sub="unit"),
    Column("Unit price", "unit_price", "figure"),
    Column("Tax %", "tax_percent", "figure"),
    Column("Net", "net", "money"),
)
LINE = (
    Column("Invoice", "number", link="/invoices/{invoice_id}"),
    Column("Net", "net", "money"),
    Column("Evidence", "evidence", "state"),
    Column("Charge", "charge_id", "mono"),
)
PRICE = (
    Column("Offering", "price.offering_name"),
    Column("Version", "price.number"),
    Column("Valid from", "price.effective_on"),
    Column("Monthly fee", "price.monthly_fee", "money"),
    Column("Usage", "price.beyond"),
)
RECORDS = (
    Column("Record", "record_id"),
    Column("Kind", "kind", sub="acct_session_id"),
    Column("Happened", "event_at", "instant"),
    Column("Arrived", "received_at", "instant"),
    Column("Added upstream", "added_upstream_octets", "octets"),
    Column("Added downstream", "added_downstream_octets", "octets"),
    Column("Packet, SHA-256", "packet_sha256", "digest"),
    Column("Intact", "intact", "flag"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def invoices(visit: Visit) -> Response:
        wanted = await _wanted(api, visit)
        page = await api.get(visit, "/invoices", query=wanted | {"after": visit.query("after")})
        totals = (await api.get(visit, "/invoice-totals", query=wanted))["totals"]
        today = visit.now.date()
        rows = await with_customers(api, visit, [row | {"state": state_of(row, today)} for row in page["items"]])
        return list_page(
            site, visit, "Invoices", page | {"items": rows}, INVOICES,
            filters=(Filter("q", "Search", "number or customer"), Filter("state", "State", choices=STATES)),
            nothing="No invoice fits." if any(wanted.values()) else "Nothing has been invoiced yet.",
            totals=[fact for total in totals for fact in facts(total, TOTALS)],
        )  # fmt: skip

    async def invoice(visit: Visit) -> Response:
        invoice_id = visit.path["invoice_id"]
        found = await api.get(visit, "/invoices/{invoice_id}", invoice_id=invoice_id)
        (row,) = await with_customers(api, visit, [found | {"state": state_of(found, visit.now.date())}])
        row["bill_run"] = await _run_of(api, visit, row)
        back = "Void" if row["kind"] == "credit-note" else "Credit or void"
        credit = Link(back, f"/invoices/{invoice_id}/credit")
        allocate, matched = await note_matches.of(api, visit, row)
        pay = Link("Code to pay it", f"/invoices/{invoice_id}/payment-code")
        to_pay = api.has("GET", "/invoices/{invoice_id}/payment-code") and row["state"] in ("open", "overdue")
        return detail_page(
            site, visit, f"Invoice {row['number']}", row, INVOICE,
            back=Link("Invoices", "/invoices"),
            links=[
                Link("PDF", f"/invoices/{invoice_id}/pdf"),
                Link("Factur-X", f"/invoices/{invoice_id}/factur-x"),
                Link("E-invoice (UBL)", f"/invoices/{invoice_id}/ubl"),
                *([pay] if to_pay else []),
                *([credit] if visit.principal.may("finance:write") else []),
                *card_charges.link(api, visit, row),
                *write_offs.link(api, visit, found),
                *allocate,
            ],
            parts=[Part("Lines", row["lines"], LINES), *matched],
        )  # fmt: skip

    async def explanation(visit: Visit) -> Response:
        line_id = visit.path["line_id"]
        row = await api.get(visit, "/invoice-lines/{line_id}/explanation", line_id=line_id)
        evidence = "verified" if row["intact"] else "mismatch"
        return detail_page(
            site, visit, row["description"], row | {"evidence": evidence}, LINE,
            back=Link(f"Invoice {row['number']}", f"/invoices/{row['invoice_id']}"),
            messages=row["faults"],
            parts=[
                *([Part("Price", facts=facts(row, PRICE))] if row["price"] else []),
                Part("How it was worked out", text="\n".join(row["steps"])),
                Part("Usage records", row["records"], RECORDS, "This line is not made of usage."),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/invoices", "finance:read", invoices),
        WebPage("GET", "/invoices/{invoice_id}", "finance:read", invoice),
        *(_file(api, f"/invoices/{{invoice_id}}/{name}") for name in ("pdf", "factur-x", "ubl", "payment-code")),
        WebPage("GET", "/invoice-lines/{line_id}", "billing:read", explanation),
    ]


def _file(api: Api, path: str) -> WebPage:
    """What the API answers at the same address."""

    async def fetch(visit: Visit) -> Response:
        return await api.fetch(visit, path, invoice_id=visit.path["invoice_id"])

    return WebPage("GET", path, "finance:read", fetch)


async def _wanted(api: Api, visit: Visit) -> dict[str, str | Sequence[str]]:
    """What the filters ask the API for. A text that no customer fits is part of a number."""
    state, text = visit.query("state"), visit.query("q")
    query: dict[str, str | Sequence[str]] = {"state": state if state in STATES else ""}
    if not text:
        return query
    accounts = await accounts_of(api, visit, text)
    return query | {"account_id": accounts} if accounts else query | {"q": text[:40]}


async def _run_of(api: Api, visit: Visit, row: Mapping[str, Any]) -> str | None:
    """What the link to its bill run says; None for a document of no run, such as a correction."""
    path = "/bill-runs/{bill_run_id}"
    if not visit.principal.may("billing:read") or not api.has("GET", path):
        return None
    try:
        await api.get(visit, path, bill_run_id=row["bill_run_id"])
    except NotFound:
        return None
    return "the run"


def state_of(invoice: Mapping[str, Any], today: date) -> str:
    """Paid when nothing is open of it any more, overdue past its day; of a credit note something may be unapplied."""
    left = Decimal(invoice["open"]["amount"])
    if left <= 0:
        return "unapplied" if left else "paid"
    return "overdue" if date.fromisoformat(invoice["due_on"]) < today else "open"

"""Pages of invoices: the document, its lines, and for each line the explanation down to the records it came from."""

from __future__ import annotations

import json

from starlette.responses import Response

from controller.web.api import Api
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

INVOICES = (
    Column("Number", "number", link="/invoices/{invoice_id}"),
    Column("State", "state", "state"),
    Column("Issued", "issued_on"),
    Column("Due", "due_on"),
    Column("Total", "total", "money"),
    Column("Open", "open", "money"),
)
LINES = (
    Column("Description", "description", sub="kind"),
    Column("From", "first_on"),
    Column("Until", "until_on"),
    Column("Quantity", "quantity", sub="unit"),
    Column("Unit price", "unit_price"),
    Column("Net", "net", "money"),
    Column("Where it came from", "line_id", "mono", link="/invoice-lines/{line_id}"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def invoices(visit: Visit) -> Response:
        page = await api.get(visit, "/invoices", query={"after": visit.query("after")})
        return list_page(site, visit, "Invoices", page, INVOICES, nothing="No invoice yet.")

    async def invoice(visit: Visit) -> Response:
        invoice_id = visit.path["invoice_id"]
        row = await api.get(visit, "/invoices/{invoice_id}", invoice_id=invoice_id)
        return detail_page(
            site, visit, f"Invoice {row['number']}", row, INVOICES[1:],
            back=Link("Invoices", "/invoices"),
            links=[Link("PDF", f"/invoices/{invoice_id}/pdf")],
            parts=[Part("Lines", row["lines"], LINES)],
        )  # fmt: skip

    async def pdf(visit: Visit) -> Response:
        return await api.fetch(visit, "/invoices/{invoice_id}/pdf", invoice_id=visit.path["invoice_id"])

    async def explanation(visit: Visit) -> Response:
        line_id = visit.path["line_id"]
        found = await api.get(visit, "/invoice-lines/{line_id}/explanation", line_id=line_id)
        return detail_page(
            site, visit, "Where this line came from", found, (),
            back=Link("Invoices", "/invoices"),
            parts=[Part("Explanation", text=json.dumps(found, indent=2, ensure_ascii=False))],
        )  # fmt: skip

    return [
        WebPage("GET", "/invoices", "finance:read", invoices),
        WebPage("GET", "/invoices/{invoice_id}", "finance:read", invoice),
        WebPage("GET", "/invoices/{invoice_id}/pdf", "finance:read", pdf),
        WebPage("GET", "/invoice-lines/{line_id}", "finance:read", explanation),
    ]

"""Legal entities: which there are, one more, and what stands on the papers of each."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.forms import both
from controller.web.office.table import Column
from controller.web.office.view import Link, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "crm:read", "finance:write"
ENTITIES = (
    Column("Name", "name", link="{href}", sub="address"),
    Column("Country", "country"),
    Column("Zone", "zone"),
    Column("Currency", "currency"),
    Column("Tax id", "tax_id"),
    Column("IBAN", "iban", "mono"),
    Column("Papers", "change", link="/legal-entities/{entity_id}/papers"),
)
PAPERS = (
    Field("address", "Address", "textarea", hint="as it stands on a letter"),
    Field("country", "Country", hint="where its taxes are: CH"),
    Field("tax_id", "Tax id"),
    Field("locale", "Locale", hint="of its papers: de_CH"),
    Field("iban", "IBAN", hint="what its customers pay to"),
)
ENTITY = (
    Field("name", "Name", required=True),
    Field("zone", "Zone", required=True, hint="in which its days are counted, for good: Europe/Zurich"),
    Field("currency", "Currency", required=True, hint="of its books, for good: CHF"),
    *(Field(f.key, f.label, f.kind, f.key in ("country", "locale"), f.hint) for f in PAPERS),
)
_BACK = Link("Legal entities", "/legal-entities")


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/legal-entities"):
        return []

    async def index(visit: Visit) -> Response:
        rows = (await api.get(visit, "/legal-entities"))["entities"]
        may = visit.principal.may(WRITE)
        for row in rows:
            row["href"] = "/ledger" if row["first"] else f"/ledger?entity_id={row['entity_id']}"
            row["change"] = "Change" if may else None
        return list_page(
            site, visit, "Legal entities", {"items": rows, "next": None}, ENTITIES,
            intro="Each has a chart, numbers, periods, taxes and bank accounts of its own; the name leads there.",
            make=Link("Add a legal entity", "/legal-entities/new"), make_scope=WRITE,
        )  # fmt: skip

    new = Form("New legal entity", ENTITY, _BACK, (("make", "Add it"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, new)

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/legal-entities", body=filled.body)
            return RedirectResponse("/legal-entities", status_code=303)

        return await sent(site, visit, new, send)

    async def papers(visit: Visit) -> Form:
        row: dict[str, Any] = await api.get(visit, "/legal-entities/{entity_id}", entity_id=visit.path["entity_id"])
        fields = [Field(f.key, f.label, f.kind, hint=f.hint, start=row[f.key] or "") for f in PAPERS]
        intro = "From now on; what was issued stays as it was."
        return Form(f"Papers of {row['name']}", fields, _BACK, (("change", "Change"),), intro)

    async def shown(visit: Visit) -> Response:
        return show(site, visit, await papers(visit))

    async def change(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            path = "/legal-entities/{entity_id}"
            emptied = {f.key: "" for f in PAPERS if f.key not in ("country", "locale")}
            await api.patch(visit, path, body=emptied | filled.body, entity_id=visit.path["entity_id"])
            return RedirectResponse("/legal-entities", status_code=303)

        return await sent(site, visit, await papers(visit), send)

    return [
        WebPage("GET", "/legal-entities", READ, index),
        *both("/legal-entities/new", WRITE, fresh, make),
        *both("/legal-entities/{entity_id}/papers", WRITE, shown, change),
    ]

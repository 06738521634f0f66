"""Direct debit mandates: who lets us collect, from which account, since when; added and ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api, address
from controller.web.office.accounts import named
from controller.web.office.form import Choice, Field, Filled, Form, account, sent, show
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
MANDATES = (
    Column("Customer", "customer", link="/customers/{customer_id}", sub="debtor"),
    Column("Reference", "reference", "mono", sub="scheme_name"),
    Column("Account", "iban_shown", "mono", sub="bic"),
    Column("Signed", "signed_on"),
    Column("State", "state", "state"),
    Column("Collected", "collected", "number", sub="last_on"),
    Column("", "end", link="/mandates/{mandate_id}/end"),
)
NEW = (
    account(),
    Field("reference", "Mandate reference", required=True,
          hint="no blanks, at most 35 characters; it stands on the customer's statement"),
    Field("scheme", "Scheme", start="CORE", choices=(Choice("CORE", "Core: people"), Choice("B2B", "B2B: businesses"))),
    Field("recurrent", "For", start="yes", choices=(Choice("yes", "every invoice"), Choice("no", "one collection")),
          convert=lambda text: text == "yes"),
    Field("signed_on", "Signed on", "date", required=True),
    Field("debtor", "Holder of the account", required=True),
    Field("iban", "IBAN", required=True),
    Field("bic", "BIC", hint="only for accounts outside the EEA"),
)  # fmt: skip
LAST = Field(
    "after_last_collection", "When", start="no", convert=lambda text: text == "yes",
    choices=(Choice("no", "now"), Choice("yes", "after the next file, which collects by it for the last time")),
)  # fmt: skip
WHY = Field("reason", "Why", required=True, hint="for the audit log")


def pages(site: Site, api: Api) -> list[WebPage]:
    async def mandates(visit: Visit) -> Response:
        page = await api.get(visit, "/mandates", query={"after": visit.query("after")})
        rows = await with_customers(api, visit, [_shown(row, visit) for row in page["items"]])
        return list_page(
            site, visit, "Mandates", page | {"items": rows}, MANDATES,
            intro="Who lets us collect by direct debit. What is due goes into the next file.",
            nothing="Nobody has signed a mandate yet.",
            make=Link("New mandate", "/mandates/new"), make_scope=WRITE,
        )  # fmt: skip

    form = Form("New mandate", NEW, Link("Mandates", "/mandates"), (("add", "Add mandate"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form)

    async def add(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/mandates", body=filled.body)
            return RedirectResponse("/mandates", status_code=303)

        return await sent(site, visit, form, send)

    def ending(visit: Visit) -> Form:
        intro = "Nothing more is collected by it; what is in a file already, is."
        return Form("End a mandate", (LAST, WHY), Link("Mandates", "/mandates"), (("end", "End mandate"),), intro)

    async def fresh_end(visit: Visit) -> Response:
        return show(site, visit, ending(visit))

    async def end(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            path, mandate_id = "/mandates/{mandate_id}/end", visit.path["mandate_id"]
            await api.post(visit, path, body=filled.body, mandate_id=mandate_id)
            return RedirectResponse("/mandates", status_code=303)

        return await sent(site, visit, ending(visit), send)

    if not api.has("GET", "/mandates"):
        return []
    return [
        WebPage("GET", "/mandates", READ, mandates),
        *both("/mandates/new", WRITE, fresh, add),
        *both("/mandates/{mandate_id}/end", WRITE, fresh_end, end),
    ]


async def card(api: Api, visit: Visit, customer: Mapping[str, Any]) -> list[Part]:
    """For a customer's page."""
    if not visit.principal.may(READ) or not api.has("GET", "/mandates"):
        return []
    found = await api.get(visit, "/mandates", query={"account_id": customer["account_id"], "limit": "50"})
    whose = named(customer["name"], customer["account_id"])
    new = Link("New mandate", address("/mandates/new", account_id=whose, debtor=customer["name"][:70]))
    return [
        Part(
            "Direct debit", [_shown(row, visit) for row in found["items"]], MANDATES[1:],
            nothing="No mandate: paid by transfer.", links=[new] if visit.principal.may(WRITE) else [],
        )
    ]  # fmt: skip


def _shown(row: Mapping[str, Any], visit: Visit) -> dict[str, Any]:
    iban = row["iban"]
    once = "" if row["recurrent"] else ", once"
    return {
        **row,
        "iban_shown": " ".join(iban[n : n + 4] for n in range(0, len(iban), 4)),
        "scheme_name": {"CORE": "Core", "B2B": "B2B"}.get(row["scheme"], row["scheme"]) + once,
        "last_on": row["last_on"] and f"last on {row['last_on']}",
        "end": "End" if row["state"] in ("active", "ending") and visit.principal.may(WRITE) else None,
    }

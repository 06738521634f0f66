"""Accounts beside the subledgers that they are the sum of: what the last look found, and one button to look now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.books import READ, account_at
from controller.web.office.names import of_entities
from controller.web.office.table import Column
from controller.web.office.view import Action, Link, Part, detail_page
from controller.web.site import Site, Visit, WebPage

ACCOUNTS = (
    Column("Account", "name", link="{href}", sub="whose"),
    Column("Verdict", "verdict", "state"),
    Column("Its rows", "subledger", "money", sub="at"),
    Column("By hand", "by_hand", "money"),
    Column("In the ledger", "ledger", "money"),
    Column("Difference", "difference", "money"),
)
LOOK = (Column("Looked at", "looked_at", "instant"), Column("Differences", "apart", "number"))
APART = (
    Column("Account", "name", link="{href}", sub="rows"),
    Column("Difference", "difference", "money"),
    Column("Where to look", "hint"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/control-accounts"):
        return []

    async def controls(visit: Visit) -> Response:
        found = await api.get(visit, "/control-accounts")
        entities = await of_entities(api, visit)
        rows = [row | _told(row, entities) for row in found["accounts"]]
        apart = [row for row in rows if row["verdict"] == "differs"]
        every = Part("Every account", rows, ACCOUNTS, "Nothing was compared yet: the first night does it.")
        parts = [Part("What differs", apart, APART), every] if apart else [every]
        may = visit.principal.may("finance:write")
        return detail_page(
            site, visit, "Control accounts", found, LOOK, back=Link("Ledger", "/ledger"), parts=parts,
            actions=[Action("Compare now", "/ledger/controls/look")] if may else [],
        )  # fmt: skip

    async def look(visit: Visit) -> Response:
        await api.post(visit, "/control-accounts")
        return RedirectResponse("/ledger/controls", status_code=303)

    return [
        WebPage("GET", "/ledger/controls", READ, controls),
        WebPage("POST", "/ledger/controls/look", "finance:write", look),
    ]


def _told(row: Mapping[str, Any], entities: Mapping[str, str]) -> dict[str, Any]:
    """The name in words, whose it is where there are several legal entities, and whether it agrees."""
    several = len(entities) > 1
    whose = f", {entities[row['entity_id']]}" if several else ""
    books = {"entity_id": row["entity_id"]} if several else {}
    differs = bool(row["difference"]["amount"].strip("-0."))
    return {
        "name": row["name"].replace("-", " ").capitalize(),
        "whose": f"{row['code']}{whose}",
        "verdict": "differs" if differs else "agrees",
        "at": f"end of {row['as_of']}" if row["as_of"] else "",
        "href": account_at(row["code"], books, row["ledger"]["currency"]),
    }

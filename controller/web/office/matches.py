"""What settles what, as pages of payments and credit notes show it: the table of matches, the fields of a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.web.api import Api
from controller.web.office.form import Choice, Field, decimal
from controller.web.office.table import Column
from controller.web.office.view import Part
from controller.web.site import Visit


def part(rows: Sequence[Mapping[str, Any]], may: bool, take_back: str, nothing: str) -> Part:
    """The answer's allocations; where one `may`, what stands has a link to `take_back`, a path of `{allocation_id}`."""
    columns = (
        Column("Invoice", "number", link="/invoices/{invoice_id}"),
        Column("State", "state", "state"),
        Column("Amount", "amount", "money"),
        Column("When", "at", "instant", sub="reason"),
        Column("By", "who"),
        Column("Take back", "take_back", link=take_back),
    )
    return Part("Settles", [_shown(row, may) for row in rows], columns, nothing)


def _shown(row: Mapping[str, Any], may: bool) -> dict[str, Any]:
    return {
        **row,
        "state": "applied" if row["standing"] else "reversal" if row["reverses"] else "taken back",
        "who": row["actor"] or "matched by itself",
        "take_back": "Take back" if may and row["standing"] else None,
    }


async def fields(api: Api, visit: Visit, account_id: str, left: Mapping[str, Any]) -> tuple[Field, Field]:
    """An open invoice of the account, of 200 at most, and how much of what is `left` settles it."""
    query = {"account_id": account_id, "state": "open", "limit": "200"}
    choices = [
        Choice(i["invoice_id"], f"{i['number']}, {i['open']['amount']} {i['open']['currency']} open")
        for i in (await api.get(visit, "/invoices", query=query))["items"]
    ]
    return (
        Field("invoice_id", "Invoice", "choice", required=True, choices=choices),
        Field("amount.amount", "Amount", "decimal", required=True, convert=decimal, start=left["amount"],
              unit=left["currency"]),
    )  # fmt: skip

"""The trial balance, and from it down: an account's postings, journal entries and the documents they came from."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from controller.web.api import Api, address
from controller.web.office.books import READ, account_at, day, of_entity, span_of, total_of, whose
from controller.web.office.table import Column, facts
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

ACCOUNTS = (
    Column("Account", "name", link="{href}", sub="code"),
    Column("Kind", "kind"),
    Column("Debit", "debit", "money"),
    Column("Credit", "credit", "money"),
    Column("Balance", "balance", "money"),
)
DIFFERENCE = (Column("Sum of all balances", "sum", "money"),)
POSTINGS = (
    Column("Booked", "booked_on", link="/ledger/entries/{entry_id}"),
    Column("What", "description", link="{href}", sub="document"),
    Column("Regards", "regards_on"),
    Column("Amount", "amount", "money"),
)
ENTRIES = (
    Column("Booked", "booked_on", link="/ledger/entries/{entry_id}"),
    Column("What", "description", link="{href}", sub="document"),
    Column("Accounts", "accounts"),
    Column("Sum of debits", "debit", "money"),
)
ENTRY = (
    Column("Booked", "booked_on"),
    Column("Regards", "regards_on"),
    Column("Posted", "posted_at", "instant"),
    Column("Document", "document", link="{href}"),
)
EXPORTS = (("csv", "CSV"), ("beancount", "Beancount"), ("ledger", "Ledger"))
LINES = (
    Column("Account", "name", link="/ledger/accounts/{code}", sub="code"),
    Column("Debit", "debit", "money"),
    Column("Credit", "credit", "money"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    async def trial_balance(visit: Visit) -> Response:
        span = span_of(visit, "since", "as_of", "currency")
        found = await api.get(visit, "/trial-balance", query=span)
        rows = [row | {"href": account_at(row["code"], span, row["balance"]["currency"])} for row in found["accounts"]]
        return list_page(
            site, visit, "Ledger", {"items": rows, "next": None}, ACCOUNTS,
            filters=(day("since", "From"), day("as_of", "Until"), *await whose(api, visit)),
            nothing="Nothing was booked.",
            totals=[fact for total in found["totals"] for fact in facts({"sum": total}, DIFFERENCE)],
        )  # fmt: skip

    async def account(visit: Visit) -> Response:
        code, span = visit.path["code"], span_of(visit, "since", "as_of", "currency")
        chart = (await api.get(visit, "/ledger-accounts", query=of_entity(visit)))["accounts"]
        page = await api.get(
            visit, "/ledger-accounts/{code}/postings", query=span | {"after": visit.query("after")}, code=code
        )
        name = next((a["name"] for a in chart if a["code"] == code), code)
        return list_page(
            site, visit, f"{code} {name}", page | {"items": [_with_document(row) for row in page["items"]]}, POSTINGS,
            filters=(
                day("since", "From"),
                day("as_of", "Until"),
                Filter("currency", "Currency", "EUR"),
                *await whose(api, visit),
            ),
            nothing="Nothing was posted to it.",
        )  # fmt: skip

    async def entries(visit: Visit) -> Response:
        span = span_of(visit, "since", "as_of")
        page = await api.get(visit, "/journal-entries", query=span | {"after": visit.query("after")})
        rows = [_with_document(row) | _summed(row) for row in page["items"]]
        return list_page(
            site, visit, "Journal", page | {"items": rows}, ENTRIES,
            links=[Link(label, address("/ledger/export", format=form, **span)) for form, label in EXPORTS],
            filters=(day("since", "From"), day("as_of", "Until"), *await whose(api, visit)),
            nothing="Nothing was booked.",
        )  # fmt: skip

    async def export(visit: Visit) -> Response:
        form, span = visit.query("format"), span_of(visit, "since", "as_of")
        found = await api.fetch(visit, "/ledger-export", query=span | {"format": form})
        ending = {"csv": "csv", "ledger": "ledger"}.get(form, "beancount")
        found.headers["Content-Disposition"] = f'attachment; filename="journal.{ending}"'
        return found

    async def entry(visit: Visit) -> Response:
        row = await api.get(visit, "/journal-entries/{entry_id}", entry_id=visit.path["entry_id"])
        may = row["source"].startswith("manual:") and visit.principal.may("finance:write")
        return detail_page(
            site, visit, row["description"], _with_document(row), ENTRY,
            back=Link("Journal", "/ledger/entries"),
            links=[Link("Take back", f"/ledger/entries/{row['entry_id']}/reversal")] if may else [],
            parts=[Part("Postings", [_two_sides(posting) for posting in row["postings"]], LINES)],
        )  # fmt: skip

    return [
        WebPage("GET", "/ledger", READ, trial_balance),
        WebPage("GET", "/ledger/accounts/{code}", READ, account),
        WebPage("GET", "/ledger/entries", READ, entries),
        WebPage("GET", "/ledger/export", READ, export),
        WebPage("GET", "/ledger/entries/{entry_id}", READ, entry),
    ]


def _summed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For a list: which accounts, and the sum of the debits, where they are of one currency."""
    currencies = {p["amount"]["currency"] for p in entry["postings"]}
    debits = [p["amount"] for p in entry["postings"] if Decimal(p["amount"]["amount"]) > 0]
    accounts = ", ".join(dict.fromkeys(p["code"] for p in entry["postings"]))
    return {"accounts": accounts, "debit": total_of(currencies.pop(), *debits) if len(currencies) == 1 else None}


def _two_sides(posting: Mapping[str, Any]) -> dict[str, Any]:
    amount, currency = posting["amount"]["amount"], posting["amount"]["currency"]
    side = "credit" if amount.startswith("-") else "debit"
    return dict(posting) | {side: {"amount": amount.lstrip("-"), "currency": currency}}


def _with_document(row: Mapping[str, Any]) -> dict[str, Any]:
    kind = row["source"].partition(":")[0]
    return dict(row) | {"document": kind, "href": _document(row["source"], row["entry_id"])}


def _document(source: str, entry_id: str) -> str:
    """Where the document of an entry is shown; without a page of its own, the entry."""
    kind, _, key = source.partition(":")
    if kind in ("invoice", "credit-note"):
        return f"/invoices/{key}"
    if kind == "reversal":
        return f"/ledger/entries/{key}"
    return f"/ledger/entries/{entry_id}"

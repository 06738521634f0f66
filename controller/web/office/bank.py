"""Pages of our bank accounts: balances beside the ledger, lines to be identified with their age, import of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, account, sent, show
from controller.web.office.forms import both
from controller.web.office.names import entity_field, with_customers
from controller.web.office.payments import READ, WHY, WRITE
from controller.web.office.table import Column
from controller.web.office.view import Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

LINES = (
    Column("Booked", "booked_on", link="/bank/lines/{line_id}", sub="age"),
    Column("Who", "party", sub="party_iban"),
    Column("Text", "remittance", sub="reference"),
    Column("State", "state", "state", sub="matched"),
    Column("Amount", "amount", "money"),
)
LINE = (
    Column("Amount", "amount", "money"),
    Column("State", "state", "state", sub="matched"),
    Column("Booked", "booked_on"),
    Column("Value", "value_on"),
    Column("Who", "party", sub="party_iban"),
    Column("Text", "remittance"),
    Column("Reference", "reference", "mono"),
    Column("End to end", "end_to_end", "mono"),
    Column("Bank's code", "code", sub="return_reason"),
    Column("Matched with", "subject", "mono"),
)
PROPOSALS = (
    Column("Customer", "customer", link="{href}", sub="why"),
    Column("Invoice", "number"),
    Column("Open", "left", "money"),
    Column("Likely", "score", "number"),
)
STATEMENTS = (
    Column("Until", "last_on", sub="ident"),
    Column("Opened with", "opening", "money"),
    Column("Closed with", "closing", "money"),
    Column("Lines", "lines", "number"),
    Column("Open", "open_lines", "number"),
    Column("Note", "note"),
)
ACCOUNT = (
    Field("name", "Holder", required=True),
    Field("iban", "IBAN", required=True),
    Field("bic", "BIC", hint="may be left empty"),
    Field("creditor_id", "Creditor identifier", hint="for direct debits, such as DE98ZZZ09999999999"),
    Field("ledger_code", "Account of the ledger", hint="its own, such as 1810; empty: the one all share"),
)
FEE = (
    Field(
        "claim_return_fee",
        "Fee of a returned direct debit",
        required=True,
        convert=lambda text: text == "yes",
        choices=(Choice("yes", "claimed from who was to pay"), Choice("no", "borne by us")),
    ),
)
MATCH = (
    account(),
    Field("invoice", "Invoice", hint="its number, where the payer meant one; else the oldest are settled"),
)
BOOK = (Field("code", "Account of the ledger", required=True, hint="such as 6300"), WHY)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/bank-lines"):
        return []
    return [*_overview(site, api), *_line_pages(site, api)]


def _overview(site: Site, api: Api) -> list[WebPage]:
    async def bank(visit: Visit) -> Response:
        accounts = (await api.get(visit, "/bank-accounts"))["accounts"]
        state = visit.query("state") or "open"
        query = {"state": state if state in ("open", "matched") else "", "after": visit.query("after")}
        page = await api.get(visit, "/bank-lines", query=query)
        first = Link("Add a bank account", "/bank/accounts/new")
        rows = [row | {"age": _age(row)} for row in page["items"]]
        return list_page(
            site, visit, "Bank", page | {"items": rows}, LINES,
            intro="Every line is in the ledger; open ones wait until somebody says what they are.",
            filters=(Filter("state", "State", choices=("open", "matched"), value=state, anything="open"),),
            nothing="Every line is identified.",
            links=[Link("Statements", "/bank/statements"), Link("Settings", "/bank/settings")],
            make=Link("Import a file", "/bank/import") if accounts else first,
            make_scope=WRITE, totals=[fact for account in accounts for fact in _balances(account)],
        )  # fmt: skip

    async def statements(visit: Visit) -> Response:
        found = (await api.get(visit, "/bank-statements"))["statements"]
        return list_page(
            site, visit, "Statements", {"items": found, "next": None}, STATEMENTS,
            intro="Opening balance and entries make the closing balance, or a file is refused.",
            nothing="No statement was imported.", links=[Link("Bank", "/bank")],
            make=Link("Import a file", "/bank/import"), make_scope=WRITE,
        )  # fmt: skip

    async def upload(visit: Visit) -> Response:
        return site.html(visit, "upload.html", title="Import a bank file", back=Link("Bank", "/bank"))

    async def form(visit: Visit) -> Form:
        fields = (*await entity_field(api, visit), *ACCOUNT)
        return Form("Add a bank account", fields, Link("Bank", "/bank"), (("make", "Add"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def add(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/bank-accounts", body=filled.body)
            return RedirectResponse("/bank", status_code=303)

        return await sent(site, visit, await form(visit), send)

    async def settings_form(visit: Visit) -> Form:
        decided = await api.get(visit, "/payment-settings")
        start = "yes" if decided["claim_return_fee"] else "no"
        fields = [replace(field, start=start) for field in FEE]
        return Form("Payment settings", fields, Link("Bank", "/bank"), (("decide", "Save"),))

    async def settings(visit: Visit) -> Response:
        return show(site, visit, await settings_form(visit))

    async def decide(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.put(visit, "/payment-settings", body=filled.body)
            return RedirectResponse("/bank", status_code=303)

        return await sent(site, visit, await settings_form(visit), send)

    return [
        *both("/bank/settings", WRITE, settings, decide),
        *both("/bank/accounts/new", WRITE, fresh, add),
        WebPage("GET", "/bank", READ, bank),
        WebPage("GET", "/bank/statements", READ, statements),
        WebPage("GET", "/bank/import", WRITE, upload),
    ]


def _line_pages(site: Site, api: Api) -> list[WebPage]:
    path = "/bank-lines/{line_id}"

    async def line(visit: Visit) -> Response:
        row = await api.get(visit, path, line_id=visit.path["line_id"])
        here = f"/bank/lines/{row['line_id']}"
        proposals = await with_customers(api, visit, row["proposals"])
        for proposal in proposals:
            proposal["href"] = f"{here}/match?account_id={proposal['account_id']}&invoice={proposal['number']}"
        may = visit.principal.may(WRITE)
        links = []
        if may and row["state"] == "open":
            came_in = not row["amount"]["amount"].startswith("-")
            links = [Link("A customer's payment", f"{here}/match")] if came_in else []
            links.append(Link("Something else", f"{here}/book"))
        elif may and row["matched"] == "payment":
            links = [Link("Payment", f"/payments/{row['subject']}"), Link("Take back", f"{here}/unmatch")]
        return detail_page(
            site, visit, f"Bank line of {row['booked_on']}", row, LINE, back=Link("Bank", "/bank"), links=links,
            parts=[Part("What it may be", proposals, PROPOSALS)] if proposals else [],
        )  # fmt: skip

    def changing(title: str, button: str, fields: tuple[Field, ...], verb: str) -> list[WebPage]:
        def form(visit: Visit) -> Form:
            return Form(title, fields, Link("Bank line", f"/bank/lines/{visit.path['line_id']}"), (("do", button),))

        async def fresh(visit: Visit) -> Response:
            return show(site, visit, form(visit))

        async def change(visit: Visit) -> Response:
            async def send(filled: Filled) -> Response:
                body = await _named(visit, filled.body) if verb == "match" else filled.body
                await api.post(visit, f"{path}/{verb}", body=body, line_id=visit.path["line_id"])
                return RedirectResponse(f"/bank/lines/{visit.path['line_id']}", status_code=303)

            return await sent(site, visit, form(visit), send)

        return both(f"/bank/lines/{{line_id}}/{verb}", WRITE, fresh, change)

    async def _named(visit: Visit, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the invoice that was named by its number, as far as the line and the invoice reach."""
        number = str(body.pop("invoice", "")).strip()
        if not number:
            return body
        row = await api.get(visit, path, line_id=visit.path["line_id"])
        query = {"q": number, "account_id": body["account_id"], "state": "open"}
        found = [i for i in (await api.get(visit, "/invoices", query=query))["items"] if i["number"] == number]
        parts = [{"invoice_id": i["invoice_id"], "amount": _less(i["open"], row["amount"])} for i in found]
        return body | {"invoices": parts} if parts else body

    return [
        *changing("Whose payment is it?", "Book as a payment", MATCH, "match"),
        *changing("What is it?", "Book", BOOK, "book"),
        *changing("Take back a match", "Take back", (WHY,), "unmatch"),
        WebPage("GET", "/bank/lines/{line_id}", READ, line),
    ]


def _less(one: Mapping[str, str], other: Mapping[str, str]) -> Mapping[str, str]:
    return min(one, other, key=lambda amount: Decimal(amount["amount"]))


def _age(row: Mapping[str, Any]) -> str:
    days = row["age_days"]
    return "" if row["state"] != "open" else f"{days} day{'s' if days != 1 else ''}"


def _balances(account: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    iban = account["iban"]
    until = f" on {account['last_on']}" if account["last_on"] else ""
    return [
        (f"{iban[:4]}…{iban[-4:]}{until}", templating.money(account["closing"])),
        ("In the ledger", templating.money(account["ledger"])),
        (f"To identify, {account['open_lines']} lines", templating.money(account["unidentified"])),
    ]

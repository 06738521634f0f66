"""Pages of the cash desk and of direct debit files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, account, decimal, sent, show, unseen_once
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.payments import READ, WHY, WRITE
from controller.web.office.table import Column
from controller.web.office.view import Action, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

TILLS = (
    Column("Till", "name", link="{href}"),
    Column("State", "state", "state"),
    Column("Holds", "holds", "money"),
)
SHIFT = (
    Column("Opened", "opened_at", "instant", sub="opened_by"),
    Column("Counted at opening", "opening", "money"),
    Column("Should hold", "holds", "money"),
    Column("Closed", "closed_at", "instant", sub="closed_by"),
    Column("Counted at closing", "counted", "money"),
    Column("Difference", "difference", "money"),
    Column("Reason", "reason"),
)
RECEIPTS = (
    Column("Receipt", "number", "mono"),
    Column("What", "kind", sub="note"),
    Column("At", "at", "instant", sub="actor"),
    Column("Amount", "amount", "money"),
)
COLLECTIONS = (
    Column("Collected on", "collect_on", link="/direct-debits/{collection_id}"),
    Column("State", "state", "state"),
    Column("Invoices", "items", "number"),
    Column("Total", "total", "money"),
    Column("Made", "made_at", "instant"),
    Column("Sent", "sent_at", "instant"),
)
ITEMS = (
    Column("Customer", "customer", link="/invoices/{invoice_id}"),
    Column("State", "state", "state", sub="reason"),
    Column("Sequence", "sequence"),
    Column("Amount", "amount", "money"),
)
COUNT = (
    Field("counted.amount", "Counted", "decimal", required=True, convert=decimal),
    Field("reason", "Why it differs", hint="needed where it is not what should be there"),
)
TAKE = (
    account(),
    Field("amount.amount", "Amount", "decimal", required=True, convert=decimal),
)
MOVE = (
    Field("amount.amount", "Amount", "decimal", required=True, convert=decimal, hint="negative: to the bank"),
    Field("note", "What for", required=True),
)
PAY_OUT = (Field("refund_id", "Refund", required=True, hint="the id of an approved refund in cash"),)
TILL = (Field("name", "Name", required=True, hint="A-Z and 0-9: it stands in the numbers of its receipts"),)
COLLECT = (
    Field("bank_account_id", "Bank account", required=True),
    Field("collect_on", "Collect on", "date", required=True, hint="a day on which banks settle"),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    found = _desk(site, api) if api.has("GET", "/tills") else []
    return [*found, *(_direct_debits(site, api) if api.has("GET", "/direct-debits") else [])]


def _desk(site: Site, api: Api) -> list[WebPage]:
    async def tills(visit: Visit) -> Response:
        found = (await api.get(visit, "/tills"))["tills"]
        rows = [
            row | {
                "state": "open" if row["shift_id"] else "closed",
                "href": f"/cash/shifts/{row['shift_id']}" if row["shift_id"] else f"/cash/tills/{row['till_id']}/open",
            }
            for row in found
        ]  # fmt: skip
        return list_page(
            site, visit, "Cash desk", {"items": rows, "next": None}, TILLS,
            intro="A till is opened and closed with a count; what is missing or too much is booked.",
            nothing="No till yet.",
            make=Link("Add a till", "/cash/tills/new"), make_scope=WRITE,
        )  # fmt: skip

    async def shift(visit: Visit) -> Response:
        row = await api.get(visit, "/shifts/{shift_id}", shift_id=visit.path["shift_id"])
        (till,) = [t for t in (await api.get(visit, "/tills"))["tills"] if t["till_id"] == row["till_id"]]
        here = f"/cash/shifts/{row['shift_id']}"
        links = []
        if row["closed_at"] is None and visit.principal.may(WRITE):
            links = [
                Link(label, f"{here}/{verb}")
                for label, verb in (
                    ("Take a payment", "payments"), ("Pay out a refund", "refunds"),
                    ("From or to the bank", "transfers"), ("Close", "close"),
                )
            ]  # fmt: skip
        return detail_page(
            site, visit, f"Till {till['name']}", row | {"holds": row["expected"] or till["holds"]}, SHIFT,
            back=Link("Cash desk", "/cash"), links=links,
            parts=[Part("Receipts", row["receipts"], RECEIPTS, "No cash has changed hands yet.")],
        )  # fmt: skip

    async def currency_of(visit: Visit) -> str:
        """Of the till that the address names, or the one whose shift it names."""
        till_id = visit.path.get("till_id")
        if till_id is None:
            till_id = (await api.get(visit, "/shifts/{shift_id}", shift_id=visit.path["shift_id"]))["till_id"]
        tills = (await api.get(visit, "/tills"))["tills"]
        return next((str(till["holds"]["currency"]) for till in tills if till["till_id"] == till_id), "")

    def changing(
        page: str, title: str, button: str, fields: tuple[Field, ...], path: str, back: Link, then: str
    ) -> list[WebPage]:
        moves = path.endswith(("/payments", "/transfers"))

        def form() -> Form:
            return Form(title, (*fields, unseen_once("request")) if moves else fields, back, (("do", button),))

        async def fresh(visit: Visit) -> Response:
            return show(site, visit, form())

        async def change(visit: Visit) -> Response:
            async def send(filled: Filled) -> Response:
                for part in ("counted", "amount"):
                    if part in filled.body:
                        filled.body[part]["currency"] = await currency_of(visit)
                answer = await api.post(visit, path, body=filled.body, **visit.path)
                return RedirectResponse(then.format_map(answer), status_code=303)

            return await sent(site, visit, form(), send)

        return both(page, WRITE, fresh, change)

    desk, here = Link("Cash desk", "/cash"), "/cash/shifts/{shift_id}"
    return [
        *changing("/cash/tills/new", "Add a till", "Add", TILL, "/tills", desk, "/cash"),
        *changing("/cash/tills/{till_id}/open", "Open a shift", "Open", COUNT, "/tills/{till_id}/shifts", desk, here),
        *changing(f"{here}/close", "Close the shift", "Close", COUNT, "/shifts/{shift_id}/close", desk, here),
        *changing(
            f"{here}/payments", "Take a payment in cash", "Take", TAKE, "/shifts/{shift_id}/payments", desk, here
        ),
        *changing(f"{here}/refunds", "Pay out a refund", "Pay out", PAY_OUT, "/shifts/{shift_id}/refunds", desk, here),
        *changing(
            f"{here}/transfers", "Cash from or to the bank", "Move", MOVE, "/shifts/{shift_id}/transfers", desk, here
        ),
        WebPage("GET", "/cash", READ, tills),
        WebPage("GET", here, READ, shift),
    ]


def _direct_debits(site: Site, api: Api) -> list[WebPage]:
    path = "/direct-debits/{collection_id}"

    async def collections(visit: Visit) -> Response:
        page = await api.get(visit, "/direct-debits", query={"after": visit.query("after")})
        return list_page(
            site, visit, "Direct debits", page, COLLECTIONS,
            intro="An invoice stands in one file at a time; its payment is booked when the file is sent.",
            nothing="No direct debit file yet.",
            make=Link("Make a file", "/direct-debits/new"), make_scope=WRITE,
        )  # fmt: skip

    async def collection(visit: Visit) -> Response:
        row = await api.get(visit, path, collection_id=visit.path["collection_id"])
        items = await with_customers(api, visit, row["entries"])
        here = f"/direct-debits/{row['collection_id']}"
        may = visit.principal.may(WRITE) and row["state"] == "made"
        links = [Link("The file", f"{here}/file"), *([Link("Give it up", f"{here}/drop")] if may else [])]
        return detail_page(
            site, visit, f"Direct debits of {row['collect_on']}", row, COLLECTIONS[1:],
            back=Link("Direct debits", "/direct-debits"), links=links,
            actions=[Action("It was sent", f"{here}/send", "Did it go to the bank?")] if may else [],
            parts=[Part("Invoices", items, ITEMS)],
        )  # fmt: skip

    async def file(visit: Visit) -> Response:
        return await api.fetch(visit, f"{path}/file", collection_id=visit.path["collection_id"])

    async def send_it(visit: Visit) -> Response:
        await api.post(visit, f"{path}/send", collection_id=visit.path["collection_id"])
        return RedirectResponse(f"/direct-debits/{visit.path['collection_id']}", status_code=303)

    async def form(visit: Visit) -> Form:
        accounts = (await api.get(visit, "/bank-accounts"))["accounts"]
        fields = (_chosen(COLLECT[0], accounts), COLLECT[1])
        back = Link("Direct debits", "/direct-debits")
        return Form("Make a direct debit file", fields, back, (("make", "Make the file"),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def make(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            made = await api.post(visit, "/direct-debits", body=filled.body)
            return RedirectResponse(f"/direct-debits/{made['collection_id']}", status_code=303)

        return await sent(site, visit, await form(visit), send)

    def giving_up(visit: Visit) -> Form:
        back = Link("Direct debits", f"/direct-debits/{visit.path['collection_id']}")
        intro = "Its invoices are collected by the next file instead."
        return Form("Give up a direct debit file", (WHY,), back, (("drop", "Give it up"),), intro)

    async def fresh_drop(visit: Visit) -> Response:
        return show(site, visit, giving_up(visit))

    async def drop(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, f"{path}/drop", body=filled.body, collection_id=visit.path["collection_id"])
            return RedirectResponse(giving_up(visit).back.href, status_code=303)

        return await sent(site, visit, giving_up(visit), send)

    return [
        *both(f"{path}/drop", WRITE, fresh_drop, drop),
        *both("/direct-debits/new", WRITE, fresh, make),
        WebPage("GET", "/direct-debits", READ, collections),
        WebPage("GET", path, READ, collection),
        WebPage("GET", f"{path}/file", READ, file),
        WebPage("POST", f"{path}/send", WRITE, send_it),
    ]


def _chosen(field: Field, accounts: list[Mapping[str, Any]]) -> Field:
    found = [Choice(a["bank_account_id"], f"{a['name']}, {a['iban']}") for a in accounts if a["creditor_id"]]
    return replace(field, choices=found)

"""Pages of the cash desk: tills, their shifts, and the cash that changes hands."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Field, Filled, Form, account, decimal, sent, show, unseen_once
from controller.web.office.forms import both
from controller.web.office.names import entity_field
from controller.web.office.payments import READ, WRITE
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, detail_page, list_page
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


DESK, SHIFT_PAGE = Link("Cash desk", "/cash"), "/cash/shifts/{shift_id}"


@dataclass(frozen=True, slots=True)
class Step:
    """A form at `page` that POSTs to `path` of the API and then goes to `then`, an address made of the answer."""

    page: str
    title: str
    button: str
    fields: tuple[Field, ...]
    path: str
    then: str


STEPS = (
    Step("/cash/tills/new", "Add a till", "Add", TILL, "/tills", "/cash"),
    Step("/cash/tills/{till_id}/open", "Open a shift", "Open", COUNT, "/tills/{till_id}/shifts", SHIFT_PAGE),
    Step(f"{SHIFT_PAGE}/close", "Close the shift", "Close", COUNT, "/shifts/{shift_id}/close", SHIFT_PAGE),
    Step(f"{SHIFT_PAGE}/payments", "Take a payment in cash", "Take", TAKE, "/shifts/{shift_id}/payments", SHIFT_PAGE),
    Step(f"{SHIFT_PAGE}/refunds", "Pay out a refund", "Pay out", PAY_OUT, "/shifts/{shift_id}/refunds", SHIFT_PAGE),
    Step(
        f"{SHIFT_PAGE}/transfers", "Cash from or to the bank", "Move", MOVE, "/shifts/{shift_id}/transfers", SHIFT_PAGE
    ),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/tills"):
        return []

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
            back=DESK, links=links,
            parts=[Part("Receipts", row["receipts"], RECEIPTS, "No cash has changed hands yet.")],
        )  # fmt: skip

    return [
        *(page for step in STEPS for page in _step(site, api, step)),
        WebPage("GET", "/cash", READ, tills),
        WebPage("GET", SHIFT_PAGE, READ, shift),
    ]


def _step(site: Site, api: Api, step: Step) -> list[WebPage]:
    async def form(visit: Visit) -> Form:
        moves = step.path.endswith(("/payments", "/transfers"))
        fields = (*step.fields, unseen_once("request")) if moves else step.fields
        if step.fields is TILL:
            fields = (*await entity_field(api, visit), *fields)
        return Form(step.title, fields, DESK, (("do", step.button),))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, await form(visit))

    async def change(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            for part in ("counted", "amount"):
                if part in filled.body:
                    filled.body[part]["currency"] = await _currency_of(api, visit)
            answer = await api.post(visit, step.path, body=filled.body, **visit.path)
            return RedirectResponse(step.then.format_map(answer), status_code=303)

        return await sent(site, visit, await form(visit), send)

    return both(step.page, WRITE, fresh, change)


async def _currency_of(api: Api, visit: Visit) -> str:
    """Of the till that the address names, or the one whose shift it names."""
    till_id = visit.path.get("till_id")
    if till_id is None:
        till_id = (await api.get(visit, "/shifts/{shift_id}", shift_id=visit.path["shift_id"]))["till_id"]
    tills = (await api.get(visit, "/tills"))["tills"]
    return next((str(till["holds"]["currency"]) for till in tills if till["till_id"] == till_id), "")

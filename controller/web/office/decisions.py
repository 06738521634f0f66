"""What a person decides about an account that owes: to leave it alone, a promise, a segment, a dispute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show
from controller.web.office.forms import both
from controller.web.office.view import Link
from controller.web.site import Site, Visit, WebPage

WRITE = "finance:write"
_DAY = Field("until_on", "Until (not included)", kind="date", hint="left empty: until somebody resumes it")
_WHY = Field("reason", "Why", required=True, hint="for the audit log")
HOLD = (
    _DAY,
    Field(
        "lifts", "Restrictions", choices=(Choice("no", "stay as they are"), Choice("yes", "are lifted meanwhile")),
        start="no", convert=lambda text: text == "yes",
    ),
    _WHY,
)  # fmt: skip
PROMISE = (Field("pays_on", "Pays by", kind="date", required=True), _WHY)
SEGMENT = (Field("segment", "Segment", required=True, hint="one that a ladder was written for, or standard"), _WHY)
DISPUTED = (
    Field("line_id", "Line", hint="its id, where one line is contested; the invoice's page has it"),
    Field("amount.amount", "Amount with tax", hint="left empty: all that is open of it", convert=decimal),
    Field("reason", "What the customer says", required=True),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/dunning/board"):
        return []
    return [*_decisions(site, api), *_dispute(site, api)]


def _decisions(site: Site, api: Api) -> list[WebPage]:
    def of_account(
        what: str, title: str, fields: Sequence[Field], button: str, send: Callable[[Visit, Filled], Any]
    ) -> list[WebPage]:
        path = f"/dunning/accounts/{{account_id}}/{what}"

        def form(visit: Visit) -> Form:
            back = Link("The account", f"/dunning/accounts/{visit.path['account_id']}")
            return Form(title, fields, back, (("send", button),))

        async def fresh(visit: Visit) -> Response:
            return show(site, visit, form(visit))

        async def post(visit: Visit) -> Response:
            async def go(filled: Filled) -> Response:
                await send(visit, filled)
                return RedirectResponse(f"/dunning/accounts/{visit.path['account_id']}", status_code=303)

            return await sent(site, visit, form(visit), go)

        return [WebPage("GET", path, WRITE, fresh), WebPage("POST", path, WRITE, post)]

    def to(path: str) -> Callable[[Visit, Filled], Any]:
        async def send(visit: Visit, filled: Filled) -> None:
            await api.post(
                visit, f"/dunning/accounts/{{account_id}}/{path}", body=filled.body,
                account_id=visit.path["account_id"],
            )  # fmt: skip

        return send

    def ending(visit: Visit) -> Form:
        back = Link("The account", f"/dunning/accounts/{visit.path['account_id']}")
        return Form("Resume dunning", (_WHY,), back, (("end", "Resume"),))

    async def fresh_end(visit: Visit) -> Response:
        return show(site, visit, ending(visit))

    async def end(visit: Visit) -> Response:
        async def go(filled: Filled) -> Response:
            await api.post(visit, "/dunning/pauses/{pause_id}/end", body=filled.body, pause_id=visit.path["pause_id"])
            return RedirectResponse(f"/dunning/accounts/{visit.path['account_id']}", status_code=303)

        return await sent(site, visit, ending(visit), go)

    return [
        *of_account("hold", "Leave an account alone", HOLD, "Hold", to("holds")),
        *of_account("promise", "A promise to pay", PROMISE, "Promised", to("promises")),
        *of_account("hand-over", "The claim was handed over", (_WHY,), "Handed over", to("hand-over")),
        *of_account("segment", "To another segment", SEGMENT, "Assign", to("segment")),
        WebPage("GET", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, fresh_end),
        WebPage("POST", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, end),
    ]


def _dispute(site: Site, api: Api) -> list[WebPage]:
    async def form(visit: Visit) -> tuple[Form, str]:
        account_id = visit.path["account_id"]
        row = await api.get(visit, "/dunning/accounts/{account_id}", account_id=account_id)
        owed = tuple(
            Choice(debt["invoice_id"], f"{debt['number']}, {templating.amount(debt['open'])} open")
            for debt in row["debts"]
        )
        which = Field("invoice_id", "Invoice", "choice", required=True, choices=owed)
        back = Link("The account", f"/dunning/accounts/{account_id}")
        intro = "Dunning leaves the amount alone until it is resolved; the evidence is frozen as it is now."
        made = Form("An amount is contested", (which, *DISPUTED), back, (("send", "Open dispute"),), intro)
        return made, row["open"]["currency"]

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, (await form(visit))[0])

    async def contest(visit: Visit) -> Response:
        known, currency = await form(visit)

        async def send(filled: Filled) -> Response:
            if "amount" in filled.body:
                filled.body["amount"]["currency"] = currency
            await api.post(visit, "/disputes", body=filled.body)
            return RedirectResponse(known.back.href, status_code=303)

        return await sent(site, visit, known, send)

    return both("/dunning/accounts/{account_id}/dispute", WRITE, fresh, contest)

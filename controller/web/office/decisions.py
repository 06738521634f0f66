"""What a person decides about an account that owes: to leave it alone, a promise, a segment, a dispute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show
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
DISPUTE_FIELDS = (
    Field("line_id", "Line", hint="its id, where one line is contested; the invoice's page has it"),
    Field("amount.amount", "Amount with tax", hint="left empty: all that is open of it", convert=decimal),
    Field("reason", "What the customer says", required=True),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    return _decisions(site, api) if api.has("GET", "/dunning/board") else []


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

    async def dispute(visit: Visit, filled: Filled) -> None:
        if "amount" in filled.body:
            row = await api.get(visit, "/dunning/accounts/{account_id}", account_id=visit.path["account_id"])
            filled.body["amount"]["currency"] = row["open"]["currency"]
        await api.post(visit, "/disputes", body=filled.body)

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
        *of_account("dispute", "An amount is contested", DISPUTE_FIELDS, "Open dispute", dispute),
        WebPage("GET", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, fresh_end),
        WebPage("POST", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, end),
    ]

"""The dunning board, where an account stands in it, what is decided about it, and disputes with their evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, decimal, sent, show, whole
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
PAGES = (Link("Notices", "/dunning/notices"), Link("Disputes", "/disputes"), Link("Policies", "/dunning/policies"))
_NAMES = {"overdue": "Overdue, told nothing yet", "resting": "Left alone for now"}
_RESTS = {
    "hold": "on hold", "promise": "promised to pay", "plan": "pays by instalments", "collections": "handed over",
    "seasonal": "seasonal pause",
}  # fmt: skip
STANDING = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Stage", "stage_name"),
    Column("What is restricted", "measure_name", "state"),
    Column("Overdue", "overdue", "money"),
    Column("Contested", "disputed", "money"),
    Column("Claimed", "claimed", "money"),
    Column("Since", "oldest_on", sub="age"),
    Column("Next step", "next_name", sub="next_on"),
    Column("Segment", "segment"),
)
DEBTS = (
    Column("Invoice", "number", link="/invoices/{invoice_id}"),
    Column("Counted from", "since"),
    Column("Still open", "open", "money"),
)
STEPS = (
    Column("Step", "step", sub="invoice"),
    Column("Taken", "taken_on"),
    Column("Notice", "notice_state", "state", sub="channel"),
    Column("Told", "told_at", "instant"),
    Column("Letter or mail", "notice_id", "mono", link="/dunning/notices/{notice_id}"),
)
PAUSES = (
    Column("What", "kind_name", sub="reason"),
    Column("From", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Restrictions lifted", "lifts", "flag"),
    Column("By", "actor"),
    Column("In force", "in_force", "flag"),
    Column("", "end", link="/dunning/accounts/{account_id}/pauses/{pause_id}/end"),
)
PLANS = (
    Column("Made", "made_on"),
    Column("Owed then", "opening", "money"),
    Column("Instalments", "parts"),
    Column("Kept", "kept", "flag"),
    Column("Ended", "ended_on"),
)
DISPUTES = (
    Column("Opened", "opened_on", link="/disputes/{dispute_id}", sub="opened_by"),
    Column("Customer", "customer", link="/dunning/accounts/{account_id}"),
    Column("Amount", "amount", "money"),
    Column("State", "state", "state"),
    Column("Why", "reason"),
)
DISPUTE = (
    *DISPUTES[1:],
    Column("Invoice", "invoice_id", "mono", link="/invoices/{invoice_id}"),
    Column("Dunning goes on", "until_on"),
    Column("Resolution", "resolution", sub="resolved_by"),
    Column("Credit note", "credit_note_id", "mono", link="/invoices/{credit_note_id}"),
)
NOTICES = (
    Column("Day", "day", link="/dunning/notices/{notice_id}"),
    Column("Customer", "customer", link="/dunning/accounts/{account_id}"),
    Column("Text", "text"),
    Column("By", "channel", sub="recipient"),
    Column("State", "state", "state"),
    Column("What became of it", "words"),
)
POLICIES = (
    Column("Segment", "segment", sub="currency"),
    Column("Version", "version", "number"),
    Column("For what is due from", "effective_on"),
    Column("Steps", "ladder"),
    Column("By", "actor"),
)
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
    Field("invoice_id", "Invoice", required=True, hint="its id"),
    Field("line_id", "Line", hint="its id, where one line is contested"),
    Field("amount.amount", "Amount with tax", hint="left empty: all that is open of it", convert=decimal),
    Field("reason", "What the customer says", required=True),
)
UPHOLD = (Field("resolution", "Why the customer is right", required=True),)
REJECT = (
    Field("resolution", "Why the invoice stands", required=True),
    Field("days", "Days until dunning goes on", hint="left empty: as the policy says", convert=whole),
)


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/dunning/board"):
        return []
    return [*_board(site, api), *_decisions(site, api), *_notices(site, api), *_disputes(site, api)]


def link(api: Api, visit: Visit, account_id: str) -> list[Link]:
    """Where an account stands, for its customer's page; nothing for who may not see it."""
    may = visit.principal.may(READ) and api.has("GET", "/dunning/board")
    return [Link("Dunning", f"/dunning/accounts/{account_id}")] if may else []


def _board(site: Site, api: Api) -> list[WebPage]:
    async def board(visit: Visit) -> Response:
        found = await api.get(visit, "/dunning/board")
        columns = [
            column
            | {
                "name": _NAMES.get(column["stage"], column["stage"].capitalize()),
                "sums": [templating.money(total) for total in column["totals"]],
                "cards": [row | _told(row) for row in column["accounts"]],
            }
            for column in found["columns"]
        ]
        last = found["last_run"]
        return site.html(
            visit,
            "dunning.html",
            title="Dunning",
            board=found,
            columns=columns,
            links=PAGES,
            last_run=last,
        )

    async def run(visit: Visit) -> Response:
        await api.post(visit, "/dunning/runs")
        return RedirectResponse("/dunning", status_code=303)

    async def account(visit: Visit) -> Response:
        account_id = visit.path["account_id"]
        row = await api.get(visit, "/dunning/accounts/{account_id}", account_id=account_id)
        here = f"/dunning/accounts/{account_id}"
        changes = (
            ("Hold", "hold"), ("Promise to pay", "promise"), ("Segment", "segment"), ("Dispute", "dispute"),
        )  # fmt: skip
        pauses = [p | {"kind_name": _RESTS.get(p["kind"], p["kind"])} for p in row["pauses"]]
        for pause in pauses:
            pause["end"] = "Resume" if pause["in_force"] and visit.principal.may(WRITE) else None
        plans = [plan | {"parts": _parts(plan)} for plan in row["plans"]]
        return detail_page(
            site, visit, f"Dunning of {row['customer']}", row | _told(row), STANDING,
            back=Link("Dunning", "/dunning"),
            links=[Link(label, f"{here}/{what}") for label, what in changes] if visit.principal.may(WRITE) else [],
            notes=[f"Nothing happens meanwhile: {_resting(row)}."] if row["rests"] else [],
            parts=[
                Part("Open invoices", row["debts"], DEBTS, "Nothing is open."),
                Part("Holds and promises", pauses, PAUSES, "There is none."),
                *([Part("Payment plans", plans, PLANS)] if plans else []),
                Part("What was done", row["steps"], STEPS, "Nothing yet."),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/dunning", READ, board),
        WebPage("POST", "/dunning/run", WRITE, run),
        WebPage("GET", "/dunning/accounts/{account_id}", READ, account),
    ]


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
        *of_account("segment", "To another segment", SEGMENT, "Assign", to("segment")),
        *of_account("dispute", "An amount is contested", DISPUTE_FIELDS, "Open dispute", dispute),
        WebPage("GET", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, fresh_end),
        WebPage("POST", "/dunning/accounts/{account_id}/pauses/{pause_id}/end", WRITE, end),
    ]


def _notices(site: Site, api: Api) -> list[WebPage]:
    async def notices(visit: Visit) -> Response:
        state = visit.query("state")
        states = ("waiting", "sending", "sent", "withdrawn", "uncertain")
        page = await api.get(
            visit, "/dunning/notices", query={"state": state if state in states else "", "after": visit.query("after")}
        )
        rows = await with_customers(api, visit, page["items"])
        return list_page(
            site, visit, "Notices", page | {"items": rows}, NOTICES,
            intro="Letters and e-mails about what is overdue. What was paid before one went out is withdrawn.",
            filters=(Filter("state", "State", choices=states),),
            nothing="Nobody was told anything yet.",
        )  # fmt: skip

    async def notice(visit: Visit) -> Response:
        notice_id = visit.path["notice_id"]
        found = await api.get(visit, "/dunning/notices/{notice_id}", notice_id=notice_id)
        (row,) = await with_customers(api, visit, [found])
        said = f"{row['subject']}\n\n{row['body']}" if row["subject"] else "It is written when it goes out."
        letter = row["channel"] == "letter" and row["state"] == "sent"
        undecided = row["state"] == "uncertain" and visit.principal.may(WRITE)
        here = f"/dunning/notices/{notice_id}"
        return detail_page(
            site, visit, f"Notice of {row['day']}", row, NOTICES[1:],
            back=Link("Notices", "/dunning/notices"),
            links=[Link("PDF", f"{here}/pdf")] if letter else [],
            actions=[
                Action("It arrived", f"{here}/arrived"),
                Action("Send it again", f"{here}/again", "Did it certainly not arrive?"),
            ] if undecided else [],
            parts=[Part("What it says", text=said)],
        )  # fmt: skip

    async def pdf(visit: Visit) -> Response:
        return await api.fetch(visit, "/dunning/notices/{notice_id}/pdf", notice_id=visit.path["notice_id"])

    def decide(arrived: bool) -> Callable[[Visit], Any]:
        async def page(visit: Visit) -> Response:
            notice_id = visit.path["notice_id"]
            body = {"arrived": arrived, "reason": "decided on its page"}
            await api.post(visit, "/dunning/notices/{notice_id}/decide", body=body, notice_id=notice_id)
            return RedirectResponse(f"/dunning/notices/{notice_id}", status_code=303)

        return page

    async def policies(visit: Visit) -> Response:
        found = await api.get(visit, "/dunning/policies")
        rows = [row | {"ladder": _ladder(row["policy"])} for row in found["policies"]]
        built_in = {
            "segment": "standard", "currency": "built in", "version": 0, "effective_on": None, "actor": None,
            "ladder": _ladder(found["built_in"]),
        }  # fmt: skip
        return list_page(
            site, visit, "Dunning policies", {"items": [*rows, built_in], "next": None}, POLICIES,
            intro="An invoice climbs the ladder that held on the day it was due. New versions are written by the API"
            " or with headend dunning policy.",
        )  # fmt: skip

    one = "/dunning/notices/{notice_id}"
    return [
        WebPage("GET", "/dunning/notices", READ, notices),
        WebPage("GET", "/dunning/policies", READ, policies),
        WebPage("GET", one, READ, notice),
        WebPage("GET", f"{one}/pdf", READ, pdf),
        WebPage("POST", f"{one}/arrived", WRITE, decide(True)),
        WebPage("POST", f"{one}/again", WRITE, decide(False)),
    ]


def _disputes(site: Site, api: Api) -> list[WebPage]:
    path = "/disputes/{dispute_id}"

    async def disputes(visit: Visit) -> Response:
        state = visit.query("state")
        states = ("open", "upheld", "rejected")
        page = await api.get(
            visit, "/disputes", query={"state": state if state in states else "", "after": visit.query("after")}
        )
        rows = await with_customers(api, visit, page["items"])
        return list_page(
            site, visit, "Disputes", page | {"items": rows}, DISPUTES,
            intro="What customers contest. Dunning leaves each amount alone until it is resolved.",
            filters=(Filter("state", "State", choices=states),),
            nothing="Nothing is contested.",
        )  # fmt: skip

    async def dispute(visit: Visit) -> Response:
        found = await api.get(visit, path, dispute_id=visit.path["dispute_id"])
        (row,) = await with_customers(api, visit, [found])
        here = f"/disputes/{row['dispute_id']}"
        may = row["state"] == "open" and visit.principal.may(WRITE)
        evidence = [
            Part(f"Evidence of line {one['line_id'][-12:]}, frozen {one['frozen_at']}", text=_evidence(one))
            for one in row["evidence"]
        ]
        return detail_page(
            site, visit, f"Dispute of {row['opened_on']}", row, DISPUTE,
            back=Link("Disputes", "/disputes"),
            links=[Link("Uphold", f"{here}/uphold"), Link("Reject", f"{here}/reject")] if may else [],
            parts=evidence,
        )  # fmt: skip

    def resolution(what: str, title: str, fields: Sequence[Field], button: str) -> list[WebPage]:
        def form(visit: Visit) -> Form:
            back = Link("The dispute", f"/disputes/{visit.path['dispute_id']}")
            return Form(title, fields, back, (("send", button),))

        async def fresh(visit: Visit) -> Response:
            return show(site, visit, form(visit))

        async def post(visit: Visit) -> Response:
            async def go(filled: Filled) -> Response:
                dispute_id = visit.path["dispute_id"]
                await api.post(visit, f"{path}/{what}", body=filled.body, dispute_id=dispute_id)
                return RedirectResponse(f"/disputes/{dispute_id}", status_code=303)

            return await sent(site, visit, form(visit), go)

        return [WebPage("GET", f"{path}/{what}", WRITE, fresh), WebPage("POST", f"{path}/{what}", WRITE, post)]

    return [
        WebPage("GET", "/disputes", READ, disputes),
        *resolution("uphold", "The customer is right", UPHOLD, "Uphold, with a credit note"),
        *resolution("reject", "The invoice stands", REJECT, "Reject"),
        WebPage("GET", path, READ, dispute),
    ]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a person reads of a standing."""
    return {
        "stage_name": row["stage"] or None,
        "measure_name": None if row["measure"] == "none" else row["measure"],
        "next_name": row["next_step"] or None,
        "age": f"{row['days_over']} days",
        "sum": templating.money(row["claimed"] if Decimal(row["claimed"]["amount"]) else row["overdue"]),
        "restricted": templating.state(row["measure"]),
        "resting": _resting(row),
    }


def _resting(row: Mapping[str, Any]) -> str:
    said = [_RESTS.get(kind, kind) for kind in row["rests"]]
    if not said and Decimal(row["disputed"]["amount"]) and not Decimal(row["claimed"]["amount"]):
        said = ["contested"]
    return ", ".join(said)


def _parts(plan: Mapping[str, Any]) -> str:
    return ", ".join(f"{part['amount']['amount']} on {part['due_on']}" for part in plan["instalments"])


def _ladder(policy: Mapping[str, Any]) -> str:
    steps = [f"{step['name']} after {step['days']} days" for step in policy["steps"]]
    return ", ".join(steps) or "nobody is dunned"


def _evidence(one: Mapping[str, Any]) -> str:
    """The explanation as it was, and the digest of what is kept."""
    said = json.loads(one["content"])
    return f"{said.get('text') or json.dumps(said, indent=2, ensure_ascii=False)}\n\nSHA-256 {one['sha256']}"

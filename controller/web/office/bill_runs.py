"""Pages of bill runs: what one would come to, how far it is, who waits in it, and the certificate that it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.money import Money
from controller.http.models import MoneyOut
from controller.http.problem import respond_to
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, account, sent, show
from controller.web.office.names import with_customers
from controller.web.office.table import Column, facts
from controller.web.office.view import Action, Link, Part, list_page
from controller.web.site import Site, Visit, WebPage

PLACE, ONE = "/bill-runs", "/bill-runs/{bill_run_id}"
READ, WRITE = "billing:read", "billing:write"
AT_WORK = ("queued", "running")
PHASES = {
    "waiting": "waits for usage and events",
    "rating": "rates and checks accounts",
    "proving": "proves the sums",
    "issuing": "issues documents",
    "certifying": "proves what was issued",
}

RUNS = (
    Column("Begun", "created_at", "instant", link=ONE, sub="what"),
    Column("State", "state", "state"),
    Column("Accounts", "accounts", "number"),
    Column("Charges", "charges", "number"),
    Column("Documents", "documents", "number"),
    Column("As of", "as_of", "instant"),
    Column("By", "actor"),
)
RUN = (
    Column("State", "state", "state"),
    Column("Kind", "what"),
    Column("As of", "as_of", "instant"),
    Column("Accounts", "accounts", "number"),
    Column("Charges", "charges", "number"),
    Column("Documents", "documents", "number"),
    Column("Begun", "created_at", "instant", sub="actor"),
    Column("Ended", "finished_at", "instant"),
    Column("Waits for", "waiting_for"),
)
HOLDS = (
    Column("Who", "who"),
    Column("State", "state", "state"),
    Column("Why", "reason", sub="source"),
    Column("Held", "held_at", "instant", sub="held_by"),
    Column("Let go", "released_at", "instant", sub="released_by"),
)
DRAFTS = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Charges", "charges", "number"),
    Column("Net", "net", "money"),
    Column("Tax", "tax", "money"),
    Column("Total", "total", "money"),
    Column("Issued", "issued", "flag"),
)
DIFFERENCES = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Preview", "shown", "money"),
    Column("Now", "now", "money"),
    Column("What differs", "changed"),
)
RATED_AGAIN = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("It waited with", "shown", "money"),
    Column("It has become", "now", "money"),
    Column("Since", "rated_at", "instant", sub="by"),
    Column("Outcome", "said", sub="changed"),
)
OUTCOMES = {
    "unchanged": "as it was",
    "changed": "another bill, which left",
    "held": "another bill, which waits",
    "blocked": "could not be rated alone, waits",
}
LATE = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Period from", "first_on"),
    Column("Until (not included)", "until_on"),
    Column("Kind", "kind"),
    Column("Octets", "octets", "octets"),
    Column("Net", "net", "money"),
)
SUSPENSE = (
    Column("Why it waits", "reason", link="/suspense?reason={reason}"),
    Column("Items", "items", "number"),
    Column("Octets", "octets", "octets"),
    Column("Oldest", "since", "instant"),
)
CHECKS = (
    Column("Proved", "name", "mono"),
    Column("Result", "state", "state"),
    Column("In figures", "detail"),
)
_SUMS = (
    ("Opening", "opening"), ("New", "new"), ("More", "up"), ("Less", "down"), ("Ended", "churn"), ("Prices", "price"),
    ("Closing", "closing"), ("Billed by earlier runs", "billed_by_earlier_runs"),
    ("Lines before proration", "lines_before_proration"), ("Proration", "proration"),
    ("Earlier periods", "earlier_periods"), ("Rounding", "rounding"), ("Recurring lines", "recurring_lines"),
    ("In arrears", "in_arrears"), ("Usage", "usage"), ("One-off", "one_off"),
)  # fmt: skip

_START = (
    Field("kind", "What", start="dry", choices=(
        Choice("dry", "Show what it would come to"), Choice("real", "Issue the documents"),
    )),
    account(required=False, hint="type a customer's name, to bill one alone; empty for all"),
    Field("hold", "Hold first, because", hint="then nothing is issued before somebody lets it go"),
)  # fmt: skip


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", PLACE):
        return []
    return [
        *_starting(site, api),
        *_looking(site, api),
        *_issuing(site, api),
        *(page for verb in ("hold", "release") for page in _deciding(site, api, verb)),
        _going_on(api),
    ]


def _looking(site: Site, api: Api) -> list[WebPage]:
    async def index(visit: Visit) -> Response:
        page = await api.get(visit, PLACE, query={"after": visit.query("after")})
        return list_page(
            site, visit, "Bill runs", page | {"items": [_named(row) for row in page["items"]]}, RUNS,
            intro="Each run is proved before its first number is taken, and ends with a signed certificate.",
            nothing="Nothing was billed yet.", make=Link("Bill run …", f"{PLACE}/new"), make_scope=WRITE,
        )  # fmt: skip

    async def show_run(visit: Visit) -> Response:
        row = await api.get(visit, ONE, bill_run_id=visit.path["bill_run_id"])
        again = await rated_again(api, visit, row["bill_run_id"])
        parts = [
            *await _waiting(api, visit, row), *again, *await _certificate(api, visit),
            *await _documents(api, visit, row),
        ]  # fmt: skip
        return site.html(
            visit, "bill_run.html", title=_named(row)["what"], row=row, facts=facts(_named(row), RUN),
            back=Link("Bill runs", PLACE), parts=parts, actions=_actions(visit, row), links=_links(row),
            at_work=row["state"] in AT_WORK, phases=PHASES, messages=[row["error"]] if row["error"] else [],
            notes=[],
        )  # fmt: skip

    async def stream(visit: Visit) -> Response:
        try:
            return await api.fetch(visit, f"{ONE}/stream", bill_run_id=visit.path["bill_run_id"])
        except Exception as error:  # told to the page's script in words, not as a page
            return respond_to(error)

    async def certificate(visit: Visit) -> Response:
        return await api.fetch(visit, f"{ONE}/certificate", bill_run_id=visit.path["bill_run_id"])

    return [
        WebPage("GET", PLACE, READ, index),
        WebPage("GET", ONE, READ, show_run),
        WebPage("GET", f"{ONE}/stream", READ, stream, fragment=True),
        WebPage("GET", f"{ONE}/certificate", READ, certificate),
    ]


def _starting(site: Site, api: Api) -> list[WebPage]:
    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _start_form())

    async def start(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = dict(filled.body)
            wanted = {"dry": body.pop("kind", "dry") == "dry"} | {k: v for k, v in body.items() if v}
            made = await api.post(visit, PLACE, body=wanted)
            return RedirectResponse(f"{PLACE}/{made['bill_run_id']}", status_code=303)

        return await sent(site, visit, _start_form(), send)

    return [WebPage("GET", f"{PLACE}/new", WRITE, fresh), WebPage("POST", f"{PLACE}/new", WRITE, start)]


def _issuing(site: Site, api: Api) -> list[WebPage]:
    async def ask(visit: Visit) -> Response:
        return show(site, visit, _issue_form(visit))

    async def issue(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            shown = {"preview_id": visit.path["bill_run_id"], "hold_changed": True}
            made = await api.post(visit, PLACE, body=shown | {k: v for k, v in filled.body.items() if v})
            return RedirectResponse(f"{PLACE}/{made['bill_run_id']}", status_code=303)

        return await sent(site, visit, _issue_form(visit), send)

    return [WebPage("GET", f"{ONE}/issue", WRITE, ask), WebPage("POST", f"{ONE}/issue", WRITE, issue)]


def _deciding(site: Site, api: Api, verb: str) -> list[WebPage]:
    async def ask(visit: Visit) -> Response:
        return show(site, visit, _decide_form(visit, verb))

    async def told(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = {k: v for k, v in filled.body.items() if v}
            await api.post(visit, f"{ONE}/{verb}", body=body, bill_run_id=visit.path["bill_run_id"])
            return RedirectResponse(f"{PLACE}/{visit.path['bill_run_id']}", status_code=303)

        return await sent(site, visit, _decide_form(visit, verb), send)

    return [WebPage("GET", f"{ONE}/{verb}", WRITE, ask), WebPage("POST", f"{ONE}/{verb}", WRITE, told)]


def _going_on(api: Api) -> WebPage:
    async def redrive(visit: Visit) -> Response:
        await api.post(visit, f"{ONE}/redrive", bill_run_id=visit.path["bill_run_id"])
        return RedirectResponse(f"{PLACE}/{visit.path['bill_run_id']}", status_code=303)

    return WebPage("POST", f"{ONE}/redrive", WRITE, redrive)


async def _waiting(api: Api, visit: Visit, row: Mapping[str, Any]) -> list[Part]:
    found = (await api.get(visit, f"{ONE}/holds", bill_run_id=row["bill_run_id"]))["holds"]
    named = await with_customers(api, visit, [h for h in found if h["account_id"]])
    names = {h["account_id"]: h.get("customer") for h in named}
    rows = [
        h | {
            "who": names.get(h["account_id"]) or h["account_id"] or "the whole run",
            "state": "waiting" if h["to_rate"] or not h["released_at"] else "released",
        }
        for h in found
    ]  # fmt: skip
    return [Part("Who waits", rows, HOLDS)] if rows else []


async def _certificate(api: Api, visit: Visit) -> list[Part]:
    found = await api.get(visit, f"{ONE}/certificates", bill_run_id=visit.path["bill_run_id"])
    if not found["certificates"]:
        return []
    file = json.loads(found["certificates"][-1])
    content = json.loads(file["signed"])
    rows = [c | {"state": "proved" if c["holds"] else "failed"} for c in content["checks"]]
    checks = Part(f"Certificate {content['number']}, signed by key {file['signature']['key_id']}", rows, CHECKS)
    return [checks, *_bridges(content), *await _late(api, visit, content["late"])]


async def _late(api: Api, visit: Visit, late: Mapping[str, Any]) -> list[Part]:
    """What corrects earlier bills, because it was learned after them, and what waits for a person still."""
    rows = [
        row | {"net": MoneyOut.of(Money(row["net_minor"], row["currency"])).model_dump()}
        for row in late["adjustments"][:50]
    ]
    found = len(late["adjustments"])
    title = "Came late for its own bill, and is on one of these" + (f", 50 of {found}" if found > 50 else "")
    parts = [Part(title, await with_customers(api, visit, rows), LATE, "Nothing.")]
    if late["suspense"]:
        parts.append(Part("In suspense when it was signed", late["suspense"], SUSPENSE))
    return parts


async def _documents(api: Api, visit: Visit, row: Mapping[str, Any]) -> list[Part]:
    path = {"bill_run_id": row["bill_run_id"]}
    found = await api.get(visit, f"{ONE}/drafts", query={"limit": "50"}, **path)
    parts = []
    if row["preview_id"]:
        differing = (await api.get(visit, f"{ONE}/differences", query={"limit": "50"}, **path))["items"]
        rows = [d | {"changed": ", ".join(c["where"] for c in d["changes"])[:200]} for d in differing]
        named = await with_customers(api, visit, rows)
        parts.append(Part("Differs from the preview", named, DIFFERENCES, "Nothing: it is what was shown."))
    title = "What it would come to" if row["dry"] else "What it comes to"
    more = ", the first 50" if found["next"] else ""
    return [*parts, Part(f"{title}{more}", await with_customers(api, visit, found["items"]), DRAFTS)]


async def rated_again(api: Api, visit: Visit, bill_run_id: str, account_id: str = "") -> list[Part]:
    """Who waited, was let go and rated again, and what became of the bill; of a run, or of one account in it."""
    if not api.has("GET", f"{ONE}/rated-again"):
        return []
    query = {"limit": "50"} | ({"account_id": account_id} if account_id else {})
    found = (await api.get(visit, f"{ONE}/rated-again", query=query, bill_run_id=bill_run_id))["items"]
    rows = [
        row | {
            "shown": document["shown"], "now": document["now"], "said": OUTCOMES[row["outcome"]],
            "by": f"let go by {row['released_by']}: {row['release_reason']}",
            "changed": ", ".join(c["where"] for c in document["changes"])[:200] or None,
        }
        for row in found for document in row["documents"] or [{"shown": None, "now": None, "changes": ()}]
    ]  # fmt: skip
    return [Part("Rated again before it left", await with_customers(api, visit, rows), RATED_AGAIN)] if rows else []


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    what = "Preview" if row["dry"] else "Bill run"
    return dict(row) | {"what": f"{what} of one account" if row["account_id"] else what}


def _actions(visit: Visit, row: Mapping[str, Any]) -> list[Action]:
    if row["state"] != "failed" or not visit.principal.may(WRITE):
        return []
    return [Action("Go on", f"{PLACE}/{row['bill_run_id']}/redrive")]


def _links(row: Mapping[str, Any]) -> list[Link]:
    here = f"{PLACE}/{row['bill_run_id']}"
    if row["dry"]:
        issue = Link("Issue what is shown …", f"{here}/issue")
        return [issue] if row["state"] == "done" else []
    certified = [Link("Certificate", f"{here}/certificate")] if row["state"] == "done" else []
    return [*certified, Link("Hold …", f"{here}/hold"), Link("Let go …", f"{here}/release")]


def _bridges(content: Mapping[str, Any]) -> list[Part]:
    """How recurring lines come from those of the run before, in minor units of each currency."""
    parts = []
    for currency, found in content["recurring"].items():
        flat = {**found, **found["movements"]}
        rows = [{"name": label, "minor": str(flat[key])} for label, key in _SUMS]
        columns = (Column(f"In minor units of {currency}", "name"), Column("Amount", "minor", "number"))
        parts.append(Part(f"From the opening to the lines, {currency}", rows, columns))
    return parts


def _start_form() -> Form:
    return Form(
        "Bill run", _START, Link("Bill runs", PLACE), (("start", "Start"),),
        "Fees of the running period are charged, and usage of every period that has ended.",
    )  # fmt: skip


def _issue_form(visit: Visit) -> Form:
    return Form(
        "Issue what was shown", (_START[2],), Link("Preview", f"{PLACE}/{visit.path['bill_run_id']}"),
        (("start", "Start"),),
        "The run is of the same instant and the same accounts. Whoever would get another document than the preview "
        "showed waits, and the difference is shown.",
    )  # fmt: skip


def _decide_form(visit: Visit, verb: str) -> Form:
    back = Link("Bill run", f"{PLACE}/{visit.path['bill_run_id']}")
    whose = account(required=False, hint="type a customer's name; empty for the whole run")
    reason = Field("reason", "Why", required=True, hint="for the audit log")
    if verb == "hold":
        return Form(
            "Let a run wait", (whose, reason), back, (("hold", "Hold"),),
            "No further document is issued for whom you name. What was issued stays issued.",
        )  # fmt: skip
    source = Field("source", "What held it", start="person", choices=(
        Choice("person", "Somebody's decision"), Choice("preview", "It is not what the preview showed"),
        Choice("proof", "It is not what was proved"),
    ))  # fmt: skip
    return Form(
        "Let go", (whose, source, reason), back, (("release", "Let go"),),
        "What waited is issued at once, unless something else holds it; an account is rated again first, by what is "
        "known now. Findings of the checks are let go in the queue of exceptions.",
    )  # fmt: skip

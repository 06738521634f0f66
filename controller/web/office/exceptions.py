"""Pages of bills that wait before they leave: the queue, one bill with what was expected of it, and what is decided."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office.bill_runs import rated_again
from controller.web.office.form import Field, Filled, Form, sent, show
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "billing:read", "billing:write"
STATES = ("released", "gone", "all")
QUEUE = (
    Column("Customer", "customer", link="/exceptions/{exception_id}", sub="why"),
    Column("State", "state", "state", sub="by"),
    Column("At stake", "at_stake", "money"),
    Column("Bill, net", "net", "money"),
    Column("With", "assigned_to"),
    Column("Found", "found_at", "instant"),
)
BILL = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("State", "state", "state"),
    Column("At stake", "at_stake", "money"),
    Column("Bill, net", "net", "money"),
    Column("Bill run", "bill_run_id", "mono"),
    Column("Started by", "created_by"),
    Column("Found", "found_at", "instant"),
    Column("With", "assigned_to"),
    Column("Released", "released_at", "instant", sub="release"),
    Column("Approved", "approved_at", "instant", sub="approval"),
)
RECORDS = (Column("Kind", "what"), Column("What it says", "detail"), Column("Id", "ref", "mono"))
REASON = (Field("reason", "Why", required=True, hint="for the audit log"),)
VERBS = {
    "release": "Release this bill",
    "approve": "Approve what another person released",
    "refuse": "Send it back to the queue",
}
_AGAIN = (
    "It is rated again by what is known now, so what was mended since is right on it. If it is another bill by then, "
    "the checks look at it once more."
)
EXPLAINED = {"release": _AGAIN, "approve": _AGAIN}


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", "/exceptions"):
        return []
    found = [
        WebPage("GET", "/exceptions", READ, _queue(site, api)),
        WebPage("GET", "/exceptions/{exception_id}", READ, _bill(site, api)),
        WebPage("POST", "/exceptions/{exception_id}/assign", WRITE, _assign(api)),
    ]
    for verb in VERBS:
        found += _decision(site, api, verb)
    return found


def _queue(site: Site, api: Api) -> Any:
    async def queue(visit: Visit) -> Response:
        state, check = visit.query("state"), visit.query("check")
        totals = (await api.get(visit, "/exceptions/totals"))["totals"]
        checks = sorted({total["check"] for total in totals} | ({check} if check else set()))
        query = {
            "state": state if state in STATES else "",
            "check": check if check in checks else "",
            "after": visit.query("after"),
        }
        page = await api.get(visit, "/exceptions", query=query)
        rows = [row | _told(row) for row in await with_customers(api, visit, page["items"])]
        return list_page(
            site, visit, "Bills that wait", page | {"items": rows}, QUEUE,
            intro="Found before they left. All other bills of their run are out.",
            filters=(
                Filter("state", "State", choices=STATES, anything="waiting"),
                Filter("check", "Check", choices=checks),
            ),
            nothing="No bill waits: all have left.",
            totals=[(total["check"].replace("-", " "), _sum(total)) for total in totals if total["state"] == "held"],
        )  # fmt: skip

    return queue


def _bill(site: Site, api: Api) -> Any:
    async def bill(visit: Visit) -> Response:
        row = await api.get(visit, "/exceptions/{exception_id}", exception_id=visit.path["exception_id"])
        (row,) = await with_customers(api, visit, [row])
        row |= {"release": _reason(row, "release"), "approval": _reason(row, "approval")}
        here, may = f"/exceptions/{row['exception_id']}", visit.principal.may(WRITE)
        me = visit.principal.actor
        links, actions = [], []
        if may and row["state"] == "held":
            links = [Link("Release", f"{here}/release")]
            if row["assigned_to"] != me:
                actions = [Action("I look at it", f"{here}/assign")]
        if may and row["state"] == "released":
            links = [Link("Approve", f"{here}/approve"), Link("Send back", f"{here}/refuse")]
        parts = await rated_again(api, visit, row["bill_run_id"], row["account_id"])
        parts += [part for finding in row["findings"] for part in _finding(finding)]
        return detail_page(
            site, visit, f"Bill of {row['customer']}", row, BILL, back=Link("Bills that wait", "/exceptions"),
            parts=parts, links=links, actions=actions,
            notes=["It waits for a second person: whoever released it, or ran the bills, is not one."]
            if row["state"] == "released" else (),
        )  # fmt: skip

    return bill


def _finding(finding: Mapping[str, Any]) -> list[Part]:
    low, high, actual = finding["expected_low"], finding["expected_high"], finding["actual"]
    facts = [
        ("What was found", templating.plain(finding["text"])),
        ("Expected and actual", range_picture(low, high, actual)),
        ("Expected", _range(low, high)),
        ("Actual", templating.money(actual)),
        ("At stake", templating.money(finding["at_stake"])),
        ("Measured by", templating.plain(finding["by"])),
    ]
    found = [Part(finding["check"].replace("-", " ").capitalize(), facts=facts)]
    if finding["records"]:
        found.append(Part("What contributes most", finding["records"], RECORDS))
    return found


def range_picture(low: dict[str, str] | None, high: dict[str, str] | None, actual: dict[str, str]) -> Markup:
    """The expected range on a line from nothing to the largest amount, and where the bill lies."""
    amounts = [Decimal(m["amount"]) for m in (low, high, actual) if m is not None]
    least, most = min(Decimal(0), *amounts), max(Decimal(0), *amounts)
    width = (most - least) or Decimal(1)

    def place(amount: Decimal) -> float:
        return float(4 + 192 * (amount - least) / width)

    since = place(Decimal(low["amount"])) if low else 4.0
    until = place(Decimal(high["amount"])) if high else 196.0
    at = place(Decimal(actual["amount"]))
    words = f"expected {_words(low, high)}, the bill has {actual['amount']} {actual['currency']}"
    return Markup(
        '<svg class="range" viewBox="0 0 200 22" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<rect class="line" x="4" y="10" width="192" height="2"/>'
        '<rect class="expected" x="{:.1f}" y="6" width="{:.1f}" height="10"/>'
        '<rect class="actual" x="{:.1f}" y="1" width="3" height="20"/></svg>'
    ).format(words, since, max(until - since, 2.0), at - 1.5)


def _range(low: dict[str, str] | None, high: dict[str, str] | None) -> Markup:
    if low is not None and high is not None and low["amount"] == high["amount"]:
        return templating.money(low)
    if low is None and high is None:
        return Markup("nothing can be said")
    since = templating.money(low) if low else Markup("anything")
    return Markup("{} to {}").format(since, templating.money(high) if high else Markup("anything"))


def _words(low: Mapping[str, str] | None, high: Mapping[str, str] | None) -> str:
    since, until = low["amount"] if low else "anything", high["amount"] if high else "anything"
    return since if since == until else f"{since} to {until}"


def _assign(api: Api) -> Any:
    async def assign(visit: Visit) -> Response:
        exception_id = visit.path["exception_id"]
        body = {"to": visit.principal.actor}
        await api.post(visit, "/exceptions/{exception_id}/assign", body=body, exception_id=exception_id)
        return RedirectResponse(f"/exceptions/{exception_id}", status_code=303)

    return assign


def _decision(site: Site, api: Api, verb: str) -> list[WebPage]:
    path = f"/exceptions/{{exception_id}}/{verb}"

    def form(visit: Visit) -> Form:
        back = Link("The bill", f"/exceptions/{visit.path['exception_id']}")
        return Form(VERBS[verb], REASON, back, ((verb, verb.capitalize()),), EXPLAINED.get(verb, ""))

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def decide(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, path, body=filled.body, exception_id=visit.path["exception_id"])
            return RedirectResponse(f"/exceptions/{visit.path['exception_id']}", status_code=303)

        return await sent(site, visit, form(visit), send)

    return [WebPage("GET", path, WRITE, fresh), WebPage("POST", path, WRITE, decide)]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    by = row["approved_by"] or row["released_by"]
    return {"why": ", ".join(check.replace("-", " ") for check in row["checks"]), "by": f"by {by}" if by else None}


def _reason(row: Mapping[str, Any], what: str) -> str | None:
    by = row["released_by" if what == "release" else "approved_by"]
    return f"{by}: {row[f'{what}_reason']}" if by else None


def _sum(total: Mapping[str, Any]) -> Markup:
    return Markup("{} <small>in {}</small>").format(templating.money(total["at_stake"]), total["bills"])

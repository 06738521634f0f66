"""The dunning board: who owes since when and what comes next, and where one account stands in it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web import templating
from controller.web.api import Api
from controller.web.office import instalments
from controller.web.office.table import Column
from controller.web.office.view import Link, Part, detail_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
_NAMES = {"overdue": "Overdue, told nothing yet", "resting": "Left alone for now"}
_RESTS = {
    "hold": "on hold", "promise": "promised to pay", "plan": "pays by instalments", "collections": "handed over",
    "seasonal": "seasonal pause",
}  # fmt: skip
STANDING = (
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Stage", "stage_name"),
    Column("What is restricted", "measure_name"),
    Column("Overdue", "overdue", "money"),
    Column("Contested", "disputed", "money"),
    Column("Claimed", "claimed", "money"),
    Column("Since", "oldest_on", sub="age"),
    Column("Next step", "next_name", sub="next_on"),
    Column("Segment", "segment"),
)
SERVICES = (
    Column("Service", "name", link="{href}", sub="reference"),
    Column("Kind", "kind"),
    Column("What is taken", "measure", "state"),
    Column("Billed meanwhile", "billed", "flag"),
    Column("Since", "since", "instant"),
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


def pages(site: Site, api: Api) -> list[WebPage]:
    return _board(site, api) if api.has("GET", "/dunning/board") else []


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
            last_run=last,
        )

    async def collections(visit: Visit) -> Response:
        found = await api.fetch(visit, "/dunning/collections")
        found.headers["Content-Disposition"] = 'attachment; filename="collections.csv"'
        return found

    async def run(visit: Visit) -> Response:
        await api.post(visit, "/dunning/runs")
        return RedirectResponse("/dunning", status_code=303)

    async def account(visit: Visit) -> Response:
        account_id = visit.path["account_id"]
        row = await api.get(visit, "/dunning/accounts/{account_id}", account_id=account_id)
        here = f"/dunning/accounts/{account_id}"
        changes = (
            ("Hold", "hold"), ("Promise to pay", "promise"), ("Payment plan", "plan"), ("Segment", "segment"),
            ("Dispute", "dispute"), ("Hand over", "hand-over"),
        )  # fmt: skip
        services = [service | _where(service) for service in row["services"]]
        pauses = [p | {"kind_name": _RESTS.get(p["kind"], p["kind"])} for p in row["pauses"]]
        for pause in pauses:
            pause["end"] = "Resume" if pause["in_force"] and visit.principal.may(WRITE) else None
        return detail_page(
            site, visit, f"Dunning of {row['customer']}", row | _told(row), STANDING,
            back=Link("Dunning", "/dunning"),
            links=[Link(label, f"{here}/{what}") for label, what in changes] if visit.principal.may(WRITE) else [],
            notes=[f"Nothing happens meanwhile: {_resting(row)}."] if row["rests"] else [],
            parts=[
                Part("Services", services, SERVICES, "There is none."),
                Part("Open invoices", row["debts"], DEBTS, "Nothing is open."),
                Part("Holds and promises", pauses, PAUSES, "There is none."),
                *instalments.card(row, visit.principal.may(WRITE)),
                Part("What was done", row["steps"], STEPS, "Nothing yet."),
            ],
        )  # fmt: skip

    return [
        WebPage("GET", "/dunning", READ, board),
        WebPage("POST", "/dunning/run", WRITE, run),
        WebPage("GET", "/dunning/collections", READ, collections),
        WebPage("GET", "/dunning/accounts/{account_id}", READ, account),
    ]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a person reads of a standing."""
    return {
        "stage_name": row["stage"] or None,
        "measure_name": ", ".join(f"{kind}: {measure}" for kind, measure in row["measures"].items()) or None,
        "next_name": row["next_step"] or None,
        "age": f"{row['days_over']} days",
        "sum": templating.money(row["claimed"] if Decimal(row["claimed"]["amount"]) else row["overdue"]),
        "resting": _resting(row),
    }


def _where(service: Mapping[str, Any]) -> dict[str, str]:
    of = "services" if service["item_id"] is None else "items"
    return {"href": f"/{of}/{service['service_id']}"}


def _resting(row: Mapping[str, Any]) -> str:
    said = [_RESTS.get(kind, kind) for kind in row["rests"]]
    if not said and Decimal(row["disputed"]["amount"]) and not Decimal(row["claimed"]["amount"]):
        said = ["contested"]
    return ", ".join(said)

"""What customers were told about what is overdue: letters and e-mails, and the ladders that say when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.web.api import Api
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Action, Filter, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

READ, WRITE = "finance:read", "finance:write"
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


def pages(site: Site, api: Api) -> list[WebPage]:
    return [*_notices(site, api), *_policies(site, api)] if api.has("GET", "/dunning/notices") else []


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

    one = "/dunning/notices/{notice_id}"
    return [
        WebPage("GET", "/dunning/notices", READ, notices),
        WebPage("GET", one, READ, notice),
        WebPage("GET", f"{one}/pdf", READ, pdf),
        WebPage("POST", f"{one}/arrived", WRITE, decide(True)),
        WebPage("POST", f"{one}/again", WRITE, decide(False)),
    ]


def _policies(site: Site, api: Api) -> list[WebPage]:
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

    return [WebPage("GET", "/dunning/policies", READ, policies)]


def _ladder(policy: Mapping[str, Any]) -> str:
    steps = [f"{step['name']} after {step['days']} days{_takes(step)}" for step in policy["steps"]]
    return ", ".join(steps) or "nobody is dunned"


def _takes(step: Mapping[str, Any]) -> str:
    """Of services that a step names itself."""
    named = [f"{kind}: {measure}" for kind, measure in step.get("services", {}).items()]
    return f" ({', '.join(named)})" if named else ""

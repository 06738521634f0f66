"""Payment plans: what is owed, in parts by the month or week; shown first, agreed then, ended when they are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.domain.clock import add_months
from controller.domain.errors import RuleError
from controller.domain.money import Money, allocate
from controller.web import templating
from controller.web.api import Api
from controller.web.office.form import Choice, Field, Filled, Form, sent, show, whole
from controller.web.office.forms import both
from controller.web.office.table import Column
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit, WebPage

WRITE = "finance:write"
MOST = 60
PARTS = (Column("Due", "due_on"), Column("Amount", "amount", "money"))
PLANS = (
    Column("Made", "made_on"),
    Column("Owed then", "opening", "money"),
    Column("Instalments", "parts"),
    Column("Kept", "kept", "flag"),
    Column("Ended", "ended_on"),
    Column("", "end", link="/dunning/accounts/{account_id}/plans/{plan_id}/end"),
)
_STEPS = {"month": "every month", "fortnight": "every two weeks", "week": "every week"}
_WHY = Field("reason", "Why", required=True, hint="for the audit log")
_ACCOUNT = "/dunning/accounts/{account_id}"


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("POST", f"{_ACCOUNT}/plans"):
        return []
    return [*_agreeing(site, api), *_ending(site, api)]


def card(row: Mapping[str, Any], may: bool) -> list[Part]:
    """The plans of an account as its standing has them; nothing where there never was one."""
    plans = [
        {
            **plan,
            "account_id": row["account_id"],
            "parts": _listed(plan["instalments"]),
            "end": "End" if may and plan["ended_on"] is None else None,
        }
        for plan in row["plans"]
    ]
    return [Part("Payment plans", plans, PLANS)] if plans else []


def _agreeing(site: Site, api: Api) -> list[WebPage]:
    async def form(visit: Visit) -> tuple[Form, Mapping[str, Any]]:
        account_id = visit.path["account_id"]
        row = await api.get(visit, _ACCOUNT, account_id=account_id)
        return _form(row), row

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, (await form(visit))[0])

    async def agree(visit: Visit) -> Response:
        known, row = await form(visit)

        async def send(filled: Filled) -> Response:
            debts = covered(row, filled.body["what"])
            if not debts:
                raise RuleError("nothing is owed by that: choose all that is open", code="nothing-owed")
            owed = _owed(row, debts)
            parts = instalments(owed, filled.body["count"], filled.body["first_on"], filled.body["step"])
            if visit.form.get("do") != "agree":
                shown = Part(f"{len(parts)} instalments", parts, PARTS)
                return show(site, visit, known, filled, parts=[shown])
            ids = [debt["invoice_id"] for debt in debts]
            body = {"instalments": parts, "invoice_ids": ids, "reason": filled.body["reason"]}
            await api.post(visit, f"{_ACCOUNT}/plans", body=body, account_id=row["account_id"])
            return RedirectResponse(known.back.href, status_code=303)

        return await sent(site, visit, known, send)

    return both(f"{_ACCOUNT}/plan", WRITE, fresh, agree)


def _ending(site: Site, api: Api) -> list[WebPage]:
    def form(visit: Visit) -> Form:
        back = Link("The account", _ACCOUNT.format(account_id=visit.path["account_id"]))
        return Form("End a payment plan", (_WHY,), back, (("end", "End plan"),), "Dunning goes on with what is open.")

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form(visit))

    async def end(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            await api.post(visit, "/dunning/plans/{plan_id}/end", body=filled.body, plan_id=visit.path["plan_id"])
            return RedirectResponse(form(visit).back.href, status_code=303)

        return await sent(site, visit, form(visit), send)

    return both(f"{_ACCOUNT}/plans/{{plan_id}}/end", WRITE, fresh, end)


def _form(row: Mapping[str, Any]) -> Form:
    owed = {what: templating.amount(_wire(_owed(row, covered(row, what)))) for what in ("overdue", "open")}
    choices = (
        Choice("overdue", f"what is overdue: {owed['overdue']}"),
        Choice("open", f"all that is open: {owed['open']}"),
    )
    fields = (
        Field("what", "What", start="overdue" if covered(row, "overdue") else "open", choices=choices),
        Field("count", "Instalments", "number", required=True, start="3", hint=f"2 to {MOST}", convert=_count),
        Field("first_on", "The first is due on", "date", required=True, convert=_day),
        Field("step", "Then", start="month", choices=[Choice(*pair) for pair in _STEPS.items()]),
        _WHY,
    )
    return Form(
        f"A payment plan for {row['customer']}", fields, Link("The account", _ACCOUNT.format_map(row)),
        (("preview", "Show the instalments"), ("agree", "Agree")),
        "Dunning leaves the account alone as long as the plan is kept; with an instalment missed it goes on.",
    )  # fmt: skip


def covered(row: Mapping[str, Any], what: str) -> list[Mapping[str, Any]]:
    """The invoices that a plan is about: what is overdue at the end of the standing's day, or all that is open."""
    return [debt for debt in row["debts"] if what == "open" or debt["since"] < row["day"]]


def instalments(owed: Money, count: int, first_on: date, step: str) -> list[dict[str, Any]]:
    """`owed` in `count` parts that differ by a cent at most, the greater ones first."""
    parts = allocate(owed.minor, [1] * count)
    return [
        {"due_on": _later(first_on, step, n).isoformat(), "amount": _wire(Money(minor, owed.currency))}
        for n, minor in enumerate(parts)
    ]


def _owed(row: Mapping[str, Any], debts: Sequence[Mapping[str, Any]]) -> Money:
    amounts = (Money.exact(debt["open"]["amount"], debt["open"]["currency"]) for debt in debts)
    return sum(amounts, Money.zero(row["open"]["currency"]))


def _wire(amount: Money) -> dict[str, str]:
    return {"amount": f"{amount.amount:f}", "currency": amount.currency}


def _later(first_on: date, step: str, n: int) -> date:
    return (
        add_months(first_on, n) if step == "month" else first_on + n * timedelta(weeks=2 if step == "fortnight" else 1)
    )


def _count(text: str) -> int:
    count = whole(text)
    if not 2 <= count <= MOST:
        raise ValueError(f"2 to {MOST}")
    return count


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("a day, such as 2026-12-01") from None


def _listed(parts: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{templating.amount(part['amount'])} on {part['due_on']}" for part in parts)

"""Contracts of several promises: what is earned of each and when, as a picture and by the month; signed and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from starlette.responses import RedirectResponse, Response

from controller.http.problem import FieldError, Problem
from controller.web.api import Api
from controller.web.office.bars import bars_of
from controller.web.office.books import READ
from controller.web.office.form import Choice, Field, Filled, Form, account, decimal, sent, show, whole
from controller.web.office.forms import both
from controller.web.office.names import with_customers
from controller.web.office.table import Column
from controller.web.office.view import Chart, Link, Part, detail_page, list_page
from controller.web.site import Site, Visit, WebPage

WRITE = "finance:write"
PATH = "/revenue-contracts"
"""Of the API."""
CONTRACTS = (
    Column("Contract", "reference", link="/ledger/contracts/{contract_id}"),
    Column("Customer", "customer", link="/customers/{customer_id}"),
    Column("Price", "price", "money"),
    Column("Billed", "billed", "money"),
    Column("Earned", "earned", "money"),
    Column("Billed less earned", "position", "money", sub="side"),
)
CONTRACT = CONTRACTS[1:]
CHANGES = (
    Column("Change", "version", "number"),
    Column("From the day", "at_on"),
    Column("Added to the price", "added", "money"),
    Column("Why", "reason"),
)
PROMISES = (
    Column("Promised", "name", sub="kind"),
    Column("Alone it costs", "stand_alone", "money"),
    Column("Its share of the price", "share", "money"),
    Column("Earned from", "first_on"),
    Column("Until (not included)", "until_on"),
)
KINDS = {
    "recurring": "Service over time", "usage": "Usage", "one-off": "One-off", "equipment": "Equipment",
}  # fmt: skip
_ROWS, _MOST_ROWS, _MOST_BARS = 4, 50, 36
"""As many promises as the API takes."""
_BACK = Link("Contracts", "/ledger/contracts")
_RULE = "The price is allocated by what each promise costs alone; services are earned evenly over their days."


def pages(site: Site, api: Api) -> list[WebPage]:
    if not api.has("GET", PATH):
        return []
    return [
        WebPage("GET", "/ledger/contracts", READ, _list(site, api)),
        *_signing(site, api),
        WebPage("GET", "/ledger/contracts/{contract_id}", READ, _one(site, api)),
        *_changing(site, api),
    ]


def _list(site: Site, api: Api) -> Any:
    async def contracts(visit: Visit) -> Response:
        page = await api.get(visit, PATH, query={"after": visit.query("after")})
        rows = await with_customers(api, visit, [_sided(row) for row in page["items"]])
        return list_page(
            site, visit, "Contracts", page | {"items": rows}, CONTRACTS,
            intro="What was sold as one, with its price earned by what was promised (ASC 606, IFRS 15).",
            nothing="No contract yet: what is sold by itself is earned as its lines say.",
            make=Link("New contract", "/ledger/contracts/new"), make_scope=WRITE,
        )  # fmt: skip

    return contracts


def _one(site: Site, api: Api) -> Any:
    async def contract(visit: Visit) -> Response:
        found = await _contract(api, visit)
        (row,) = await with_customers(api, visit, [_sided(found)])
        links = [Link("Change", f"/ledger/contracts/{found['contract_id']}/change")]
        return detail_page(
            site, visit, f"Contract {found['reference']}", row, CONTRACT,
            back=_BACK, links=links if visit.principal.may(WRITE) else [],
            parts=[*_plan(visit, found["plan"]), Part("Changes", found["changes"], CHANGES)],
        )  # fmt: skip

    return contract


def _signing(site: Site, api: Api) -> list[WebPage]:
    fields = (
        account(),
        Field("reference", "Contract", required=True, hint="its number; the same again is the same contract"),
        Field("price.amount", "Price of the whole", "decimal", required=True, convert=decimal),
        Field("price.currency", "Currency", required=True, start="EUR"),
        Field("signed_on", "Signed on", "date", required=True),
        Field(
            "subscription_id", "Subscription or item", hint="its id: what is billed for it is billed on the contract"
        ),
        *_promise_fields([]),
    )
    buttons = (("preview", "Show the plan"), ("sign", "Record contract"))
    form = Form("New contract", fields, _BACK, buttons, _RULE)

    async def fresh(visit: Visit) -> Response:
        return show(site, visit, form)

    async def sign(visit: Visit) -> Response:
        async def send(filled: Filled) -> Response:
            body = _promised(filled.body, str(filled.body["price"]["currency"]), filled.body["signed_on"])
            if visit.form.get("do") != "sign":
                found = await api.post(visit, f"{PATH}/dry-run", body=body)
                return show(site, visit, form, filled, parts=_plan(visit, found["plan"]))
            made = await api.post(visit, PATH, body=body)
            return RedirectResponse(f"/ledger/contracts/{made['contract_id']}", status_code=303)

        return await sent(site, visit, form, send)

    return both("/ledger/contracts/new", WRITE, fresh, sign)


def _changing(site: Site, api: Api) -> list[WebPage]:
    async def fresh(visit: Visit) -> Response:
        return show(site, visit, _change_form(visit, await _contract(api, visit)))

    async def change(visit: Visit) -> Response:
        found = await _contract(api, visit)
        form, contract_id = _change_form(visit, found), found["contract_id"]

        async def send(filled: Filled) -> Response:
            currency = found["price"]["currency"]
            body = _promised(filled.body, currency, filled.body["at_on"])
            body["added"] = {"amount": body["added"]["amount"], "currency": currency}
            path = f"{PATH}/{{contract_id}}/changes"
            if visit.form.get("do") != "change":
                planned = await api.post(visit, f"{path}/dry-run", body=body, contract_id=contract_id)
                return show(site, visit, form, filled, parts=_plan(visit, planned["plan"]))
            await api.post(visit, path, body=body, contract_id=contract_id)
            return RedirectResponse(f"/ledger/contracts/{contract_id}", status_code=303)

        return await sent(site, visit, form, send)

    return both("/ledger/contracts/{contract_id}/change", WRITE, fresh, change)


def _change_form(visit: Visit, found: Mapping[str, Any]) -> Form:
    on = max(visit.now.date().isoformat(), str(found["changes"][-1]["at_on"]))
    remaining = [p for p in found["plan"] if (_ends(p) > on if p["until_on"] else p["first_on"] >= on)]
    fields = (
        Field("at_on", "From the day", "date", required=True, start=on),
        Field("added.amount", "Added to the price", "decimal", required=True, start="0",
              unit=found["price"]["currency"], hint="negative is less", convert=decimal),
        Field("reason", "Why", required=True, hint="for the audit log"),
        Field("version", "", "hidden", start=str(found["changes"][-1]["version"]), convert=whole),
        *_promise_fields(remaining, "all that remains of it, by itself", on),
    )  # fmt: skip
    here = Link(f"Contract {found['reference']}", f"/ledger/contracts/{found['contract_id']}")
    return Form(
        f"Change contract {found['reference']}", fields, here,
        (("preview", "Show the plan"), ("change", "Change contract")),
        "What was earned before that day stays. What was not, and what is added, is the price of all that remains.",
    )  # fmt: skip


def _promise_fields(
    known: Sequence[Mapping[str, Any]], costs: str = "what it costs by itself", on: str = ""
) -> list[Field]:
    """Rows of a form, those that are known filled in, with their price where all of it is still to come after `on`:
    what remains of the others, people say. A row without a name and a price says nothing."""
    kinds = tuple(Choice(kind, label) for kind, label in KINDS.items())
    found = []
    for n in range(max(_ROWS, min(len(known) + 1, _MOST_ROWS))):
        row = known[n] if n < len(known) else None
        key, number = f"promises.{n}", n + 1
        name, kind = (row["name"], _kind(row)) if row else ("", "recurring")
        last = _ends(row) if row and row["until_on"] else ""
        first, price = (row["first_on"], row["stand_alone"]["amount"]) if row and row["first_on"] > on else ("", "")
        was = f"; from {row['first_on']} on: {row['stand_alone']['amount']}" if row and not price else ""
        found += [
            Field(f"{key}.name", f"Promise {number}", required=not n, start=name, first=True,
                  hint="such as Fibre 100 for 24 months"),
            Field(f"{key}.kind", f"Kind {number}", start=kind, choices=kinds),
            Field(f"{key}.stand_alone.amount", f"Alone it costs {number}", "decimal", required=not n, start=price,
                  convert=decimal, hint=costs + was),
            Field(f"{key}.first_on", f"First day {number}", "date", start=first, hint="empty: the day above"),
            Field(f"{key}.until_on", f"Until {number}", "date", start=last, hint="empty: delivered at once"),
        ]  # fmt: skip
    return found


def _promised(filled: Mapping[str, Any], currency: str, on: object) -> dict[str, Any]:
    """The body that the API takes: its promises in order, each of the contract's currency, from the day of the form.

    Raises Problem for a row with a price and no name, or a name and no price: neither is left out silently.
    """
    rows = filled.get("promises", {})
    promises, wrong = [], []
    for n in sorted(rows, key=int):
        row = dict(rows[n])
        if "name" not in row and "stand_alone" not in row:
            continue
        if "name" not in row:
            what = f"row {int(n) + 1} has a price: say what is promised for it, or clear the price"
            wrong.append(FieldError(pointer=f"#/promises/{n}/name", detail=what))
        elif "stand_alone" not in row:
            what = f"row {int(n) + 1} has a name: say what it costs by itself, or clear the name"
            wrong.append(FieldError(pointer=f"#/promises/{n}/stand_alone", detail=what))
        else:
            row["stand_alone"] = {"amount": row["stand_alone"]["amount"], "currency": currency}
            promises.append({"first_on": on, **row})
    if wrong:
        raise Problem(422, "A promise has a name and a price.", code="promises", errors=wrong)
    return {**filled, "promises": promises}


def _plan(visit: Visit, plan: Sequence[Mapping[str, Any]]) -> list[Part]:
    """When it is earned: a line that rises to the price, a bar and a row for each month, and what was promised."""
    if not plan:
        return [Part("When it is earned", nothing="Nothing is planned.")]
    months, today = _by_month(plan), visit.now.date().isoformat()[:7]
    currency = plan[0]["share"]["currency"]
    columns = [Column("Month", "month"), *(Column(p["name"], f"p{n}", "money") for n, p in enumerate(plan))]
    columns.append(Column("Together", "sum", "money"))
    rows = [
        {"month": month, "sum": _money(sum(by.values()), currency)}
        | {f"p{n}": _money(amount, currency) for n, amount in by.items()}
        for month, by in months.items()
    ]
    bars = [(m, _money(sum(by.values()), currency), "good" if m < today else "plain") for m, by in months.items()]
    promises = [{**p, "kind": KINDS[_kind(p)], "until_on": p["until_on"] and _ends(p)} for p in plan]
    return [
        *_rising(months, currency),
        Part("Promises", promises, PROMISES),
        Part("Earned by the month", rows, columns, pictures=bars_of(currency, bars) if len(bars) <= _MOST_BARS else ()),
    ]


def _rising(months: Mapping[str, Mapping[int, Decimal]], currency: str) -> list[Part]:
    """What is earned until the end of each month; nothing where that is one point."""
    if len(months) < 2:
        return []
    begin = date.fromisoformat(f"{min(months)}-01")
    at, sums, sum_ = [_seconds(begin)], ["0"], Decimal(0)
    for month, by in months.items():
        sum_ += sum(by.values())
        at.append(_seconds(_after(month)))
        sums.append(f"{sum_:f}")
    chart = Chart("money", (f"Earned until then, {currency}",), [at, sums], "at the end of each month, by plan")
    return [Part("When it is earned", chart=chart)]


def _by_month(plan: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, Decimal]]:
    """By month, in order, and by the number of the promise."""
    found: dict[str, dict[int, Decimal]] = {}
    for n, promise in enumerate(plan):
        for piece in promise["slices"]:
            by = found.setdefault(piece["first_on"][:7], {})
            by[n] = by.get(n, Decimal(0)) + Decimal(piece["amount"]["amount"])
    return dict(sorted(found.items()))


def _after(month: str) -> date:
    year, number = (int(part) for part in month.split("-"))
    return date(year + number // 12, number % 12 + 1, 1)


def _seconds(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _ends(promise: Mapping[str, Any]) -> str:
    """The day until which it is earned: a later change may have ended it."""
    return str(promise["slices"][-1]["until_on"]) if promise["slices"] else str(promise["until_on"] or "")


def _kind(promise: Mapping[str, Any]) -> str:
    return str(promise["role"]).removeprefix("revenue-")


def _money(amount: Decimal | int, currency: str) -> dict[str, str]:
    return {"amount": f"{Decimal(amount):f}", "currency": currency}


def _sided(row: Mapping[str, Any]) -> dict[str, Any]:
    amount = Decimal(row["position"]["amount"])
    side = "owed in service" if amount > 0 else "earned ahead of the bill" if amount < 0 else None
    return {**row, "side": side}


async def _contract(api: Api, visit: Visit) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await api.get(visit, f"{PATH}/{{contract_id}}", contract_id=visit.path["contract_id"])
    return found

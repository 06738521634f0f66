"""`headend finance …`: the books of a running controller over its API, with the caller's token."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

from controller.app import remote
from controller.app.entity_cli import Whose, of_entity
from controller.app.remote import Remote
from controller.domain.errors import RuleError

finance_app = typer.Typer(no_args_is_help=True, help="The books of a running controller: statements, ageing, periods.")

Day = Annotated[str, typer.Option(help="The last day counted, such as 2026-12-31; else everything until now.")]
Since = Annotated[str, typer.Option(help="The first day counted.")]
Month = Annotated[str, typer.Argument(help="Such as 2026-11.")]


@finance_app.command("trial-balance")
def trial_balance(as_of: Day = "", since: Since = "", entity: Whose = "") -> None:
    """Debits, credits and balance of every account. Exit status 1 when they do not add up to zero."""
    with connected() as api:
        found = api.get("/trial-balance", **_given(since=since, as_of=as_of), **of_entity(api, entity))
    rows = [
        (a["code"], a["name"], money(a["debit"]), money(a["credit"]), money(a["balance"])) for a in found["accounts"]
    ]
    table(("account", "name", "debit", "credit", "balance"), rows, left=2)
    for total in found["totals"]:
        print(f"sum of all balances: {money(total)}")
    sys.exit(1 if any(t["amount"].strip("-0.") for t in found["totals"]) else 0)


@finance_app.command()
def income(as_of: Day = "", since: Since = "", entity: Whose = "") -> None:
    """Profit and loss of some days; by default of this year."""
    with connected() as api:
        found = api.get("/income-statement", **_given(since=since, as_of=as_of), **of_entity(api, entity))
    print(f"From {found['since']} until {found['as_of']}")
    for sheet in found["statements"]:
        rows = [*_section(sheet["revenue"]), *_section(sheet["expense"]), ("", "result", money(sheet["result"]))]
        table(("account", "name", sheet["currency"]), rows, left=2)


@finance_app.command("balance-sheet")
def balance_sheet(as_of: Day = "", entity: Whose = "") -> None:
    """Assets, liabilities and equity at the end of a day. Exit status 1 when the sides differ."""
    with connected() as api:
        found = api.get("/balance-sheet", **_given(as_of=as_of), **of_entity(api, entity))
    print(f"At the end of {found['as_of']}")
    for sheet in found["statements"]:
        rows = [row for part in ("assets", "liabilities", "equity") for row in _section(sheet[part])]
        rows.append(("", "results of earlier years", money(sheet["earlier_results"])))
        rows.append(("", "result of the year", money(sheet["result_of_the_year"])))
        table(("account", "name", sheet["currency"]), rows, left=2)
    sys.exit(1 if any(s["difference"]["amount"].strip("-0.") for s in found["statements"]) else 0)


@finance_app.command("cash-flow")
def cash_flow(as_of: Day = "", since: Since = "", entity: Whose = "") -> None:
    """What came into bank and cash and what went, by what it was for. Exit status 1 when that is not the change."""
    with connected() as api:
        found = api.get("/cash-flow", **_given(since=since, as_of=as_of), **of_entity(api, entity))
    print(f"From {found['since']} until {found['as_of']}")
    for sheet in found["statements"]:
        rows = [("", "at the beginning", money(sheet["opening"]))]
        for activity in ("operating", "investing", "financing"):
            rows += [(row["code"], f"{activity}: {row['name']}", money(row["amount"])) for row in sheet[activity]]
        rows.append(("", "at the end", money(sheet["closing"])))
        table(("account", "what", sheet["currency"]), rows, left=2)
    sys.exit(1 if any(s["difference"]["amount"].strip("-0.") for s in found["statements"]) else 0)


@finance_app.command()
def ageing(as_of: Day = "", entity: Whose = "") -> None:
    """What every account owed at the end of a day, by age. Exit status 1 when the ledger says another sum."""
    with connected() as api:
        day = _given(as_of=as_of) | of_entity(api, entity)
        totals = api.get("/receivables-totals", **day)
        rows = [_aged(row["account_id"], row) for row in api.all("/receivables", **day)]
    print(f"At the end of {totals['as_of']}")
    rows += [_aged("all of them", total) for total in totals["totals"]]
    table(("account", "not due", "1-30", "31-60", "61-90", "over 90", "credits", "total"), rows, left=1)
    sys.exit(1 if any(t["total"] != t["ledger"] for t in totals["totals"]) else 0)


@finance_app.command()
def controls(
    now: Annotated[bool, typer.Option("--now", help="Compare now; else what the last look has found.")] = False,
) -> None:
    """Accounts beside the subledgers that they are the sum of. Exit status 1 when one differs."""
    with connected() as api:
        found = api.post("/control-accounts", {}) if now else api.get("/control-accounts")
    print(f"Looked at {found['looked_at']}" if found["looked_at"] else "Nothing was compared yet: look --now")
    rows = [
        (a["code"], a["name"], *(money(a[side]) for side in ("subledger", "by_hand", "ledger", "difference")))
        for a in found["accounts"]
    ]
    table(("account", "what", "its rows", "by hand", "ledger", "difference"), rows, left=2)
    for account in found["accounts"]:
        if account["hint"]:
            print(f"{account['name']}, entity {account['entity_id']}: {account['hint']}")
    sys.exit(1 if found["apart"] else 0)


@finance_app.command()
def export(
    form: Annotated[Literal["beancount", "ledger", "csv"], typer.Argument(help="For which program.")] = "beancount",
    as_of: Day = "",
    since: Since = "",
    entity: Whose = "",
) -> None:
    """Write every entry to standard output, for beancount, ledger or a spreadsheet."""
    with connected() as api:
        for piece in api.text(
            "/ledger-export", format=form, **_given(since=since, as_of=as_of), **of_entity(api, entity)
        ):
            sys.stdout.write(piece)


@finance_app.command()
def periods(entity: Whose = "") -> None:
    """Up to which day the books are closed, and who closed and reopened them."""
    with connected() as api:
        _print_periods(api.get("/ledger-periods", **of_entity(api, entity)))


@finance_app.command()
def close(month: Month, reason: Annotated[str, typer.Option(help="Kept with it.")] = "", entity: Whose = "") -> None:
    """Close a month, and every one before it: nothing is booked there any more."""
    with connected() as api:
        _print_periods(api.post(f"/ledger-periods/{month}/close", {"reason": reason, **of_entity(api, entity)}))


@finance_app.command()
def reopen(
    month: Month, reason: Annotated[str, typer.Option(help="Goes into the audit log.")], entity: Whose = ""
) -> None:
    """Reopen a month, and every one after it."""
    with connected() as api:
        _print_periods(api.post(f"/ledger-periods/{month}/reopen", {"reason": reason, **of_entity(api, entity)}))


@finance_app.command()
def revenue(entity: Whose = "") -> None:
    """What was billed or sold ahead, by the month in which it is earned, and what of it was posted."""
    with connected() as api:
        found = api.get("/revenue-months", **of_entity(api, entity))["months"]
    rows = [(m["month"], m["code"], money(m["planned"]), money(m["posted"])) for m in found]
    table(("month", "account", "planned", "posted"), rows, left=2)


@finance_app.command()
def recognise(month: Month, entity: Whose = "") -> None:
    """Post what was earned until the end of a month; again it posts what came since."""
    with connected() as api:
        for entry in api.post("/revenue-recognitions", {"month": month, **of_entity(api, entity)})["entries"]:
            print(f"{entry['entry_id']} booked on {entry['booked_on']}: {entry['description']}")


@finance_app.command()
def post(
    description: Annotated[str, typer.Argument(help="What for.")],
    posting: Annotated[list[str], typer.Argument(help="ACCOUNT=AMOUNT, debits positive: 6300=12.50 1800=-12.50")],
    reference: Annotated[str, typer.Option(help="The same again is the same entry.")],
    currency: Annotated[str, typer.Option(help="Of every amount.")] = "EUR",
    booked_on: Annotated[str, typer.Option(help="The day it counts for; else today.")] = "",
    entity: Whose = "",
) -> None:
    """Book an entry by hand; above the limit it waits for somebody else (`headend finance approve`)."""
    postings = []
    for one in posting:
        code, _, amount = one.partition("=")
        postings.append({"code": code, "amount": {"amount": amount, "currency": currency}})
    body: dict[str, Any] = {"reference": reference, "description": description, "postings": postings}
    if booked_on:
        body["booked_on"] = booked_on
    with connected() as api:
        _print_proposal(api.post("/entry-proposals", body | of_entity(api, entity)))


@finance_app.command()
def reverse(
    entry: Annotated[str, typer.Argument(help="An entry that was made by hand.")],
    reason: Annotated[str, typer.Argument(help="Why it is taken back.")],
    booked_on: Annotated[str, typer.Option(help="The day it counts for; else today.")] = "",
) -> None:
    """Take an entry back; above the limit that waits for somebody else (`headend finance approve`)."""
    body = {"entry_id": entry, "reason": reason} | ({"booked_on": booked_on} if booked_on else {})
    with connected() as api:
        _print_proposal(api.post("/entry-proposals/reversals", body))


def _print_proposal(made: dict[str, Any]) -> None:
    print(f"{made['proposal_id']} {made['state']}" + (f": entry {made['entry_id']}" if made["entry_id"] else ""))


def _section(section: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for row in section["rows"]:
        yield row["code"], "  " * row["depth"] + row["name"], money(row["amount"])
    yield "", f"total {section['kind']}", money(section["total"])


def _aged(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    parts = ("not_due", "days_1_30", "days_31_60", "days_61_90", "days_over_90", "unapplied", "total")
    return (name, *(money(row[part]) for part in parts))


def _print_periods(found: dict[str, Any]) -> None:
    print(f"Closed until {found['closed_until']}" if found["closed_until"] else "Nothing is closed")
    for change in found["changes"]:
        print(f"{change['at']}  until {change['closed_until']}  {change['actor']}  {change['reason']}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> None:
    """Columns as wide as they must be; the first `left` of them begin at the left."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        cells = [c.ljust(w) if n < left else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def money(amount: dict[str, str]) -> str:
    return f"{amount['amount']} {amount['currency']}"


def _given(**query: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}


@contextmanager
def connected() -> Iterator[Remote]:
    """A refusal becomes one line and exit status 2."""
    try:
        with Remote(remote.find()) as api:
            yield api
    except RuleError as error:
        print(f"headend: {error}", file=sys.stderr)
        raise typer.Exit(2) from None

"""`headend dunning …`: who owes and what comes next, holds, disputes and ladders, over a running controller's API."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.app.remote import opened
from controller.domain.errors import RuleError

dunning_app = typer.Typer(no_args_is_help=True, help="Reminders, restrictions and disputes of a running controller.")

Account = Annotated[str, typer.Argument(help="Id of the billing account.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]
DisputeId = Annotated[str, typer.Argument(help="Id of the dispute.")]
Resolution = Annotated[str, typer.Option(help="Why; the customer may ask.")]


@dunning_app.command()
def board() -> None:
    """Every account that owes, by stage. Exit status 1 when notices are uncertain or accounts failed last night."""
    with opened() as api:
        found = api.get("/dunning/board")
    for column in found["columns"]:
        print(f"{column['stage']}: {column['count']}, {', '.join(_money(t) for t in column['totals'])}")
        for row in column["accounts"]:
            owes = f"{row['days_over']:>4} days  {_money(row['claimed']):>14}"
            print(f"  {row['account_id']}  {owes}  {_what(row)}{_taken(row)}")
    failed = found["last_run"]["failed"] if found["last_run"] else 0
    if found["notices_uncertain"]:
        print(f"{found['notices_uncertain']} notices may or may not have arrived: headend dunning notices")
    if failed:
        print(f"{failed} accounts could not be looked at in the last night")
    sys.exit(1 if found["notices_uncertain"] or failed else 0)


@dunning_app.command()
def account(account_id: Account, day: Annotated[str, typer.Option(help="At the end of a past day.")] = "") -> None:
    """Where an account stands, and why."""
    with opened() as api:
        row = api.get(f"/dunning/accounts/{account_id}", **({"day": day} if day else {}))
    print(f"{row['customer']} ({row['segment']}) on {row['day']}: {row['stage'] or 'no stage'}, {row['measure']}")
    print(f"open {_money(row['open'])}, overdue {_money(row['overdue'])}, claimed {_money(row['claimed'])}")
    print(_what(row))
    for service in row["services"]:
        unbilled = "" if service["billed"] else ", not billed"
        print(f"  {service['kind']:<8} {service['name']} ({service['reference']}): {service['measure']}{unbilled}")
    for debt in row["debts"]:
        print(f"  {debt['number']}  since {debt['since']}  {_money(debt['open'])}")
    for step in row["steps"]:
        print(f"  {step['taken_on']}  {step['step']} for {step['invoice']}  {step['notice_state']}")
    for agreed in row["plans"]:
        kept = f"ended {agreed['ended_on']}" if agreed["ended_on"] else "kept" if agreed["kept"] else "not kept"
        print(f"  plan {agreed['plan_id']} of {agreed['made_on']} over {_money(agreed['opening'])}: {kept}")
    for pause in row["pauses"]:
        until = pause["until_on"] or "further notice"
        print(f"  {pause['kind']} {pause['pause_id']} from {pause['first_on']} until {until}: {pause['reason']}")


@dunning_app.command()
def run() -> None:
    """Look at everybody who owes now, and take the steps that are due."""
    with opened() as api:
        print(api.post("/dunning/runs", {})["job_id"])


@dunning_app.command()
def hold(
    account_id: Account,
    reason: Reason,
    until: Annotated[str, typer.Option(help="First day on which it goes on; else until it is resumed.")] = "",
    lift: Annotated[bool, typer.Option(help="Lift what is restricted meanwhile.")] = False,
) -> None:
    """Leave an account alone."""
    body: dict[str, Any] = {"reason": reason, "lifts": lift} | ({"until_on": until} if until else {})
    with opened() as api:
        print(api.post(f"/dunning/accounts/{account_id}/holds", body)["pause_id"])


@dunning_app.command()
def promise(
    account_id: Account, by: Annotated[str, typer.Argument(help="Day, such as 2026-12-01.")], reason: Reason
) -> None:
    """The customer promises to pay by a day."""
    with opened() as api:
        made = api.post(f"/dunning/accounts/{account_id}/promises", {"pays_on": by, "reason": reason})
    print(f"{made['pause_id']} until {made['until_on']}")


@dunning_app.command()
def resume(pause_id: Annotated[str, typer.Argument(help="Of a hold or a promise.")], reason: Reason) -> None:
    """Dunning goes on."""
    with opened() as api:
        api.post(f"/dunning/pauses/{pause_id}/end", {"reason": reason})


@dunning_app.command()
def plan(
    account_id: Account,
    instalments: Annotated[list[str], typer.Argument(help="DAY=AMOUNT, adding up to what is overdue.")],
    reason: Reason,
    currency: Annotated[str, typer.Option()] = "EUR",
) -> None:
    """Agree on instalments."""
    parts = []
    for one in instalments:
        day, _, amount = one.partition("=")
        parts.append({"due_on": day, "amount": {"amount": amount, "currency": currency}})
    with opened() as api:
        made = api.post(f"/dunning/accounts/{account_id}/plans", {"instalments": parts, "reason": reason})
    print(f"{made['plan_id']} over {_money(made['opening'])}")


@dunning_app.command("plan-end")
def plan_end(plan_id: Annotated[str, typer.Argument(help="Of a payment plan.")], reason: Reason) -> None:
    """A payment plan ends; dunning goes on with what is open."""
    with opened() as api:
        api.post(f"/dunning/plans/{plan_id}/end", {"reason": reason})


@dunning_app.command()
def segment(account_id: Account, name: Annotated[str, typer.Argument(help="Such as vip.")], reason: Reason) -> None:
    """Put an account into another segment."""
    with opened() as api:
        api.post(f"/dunning/accounts/{account_id}/segment", {"segment": name, "reason": reason})


@dunning_app.command()
def policies() -> None:
    """Every ladder, newest version first."""
    with opened() as api:
        found = api.get("/dunning/policies")
    for row in found["policies"]:
        print(
            f"{row['segment']} {row['currency']} {row['version']} from {row['effective_on']}: {_ladder(row['policy'])}"
        )
    print(f"built in: {_ladder(found['built_in'])}")


@dunning_app.command()
def policy(
    name: Annotated[str, typer.Argument(help="Segment.")],
    file: Annotated[Path, typer.Argument(help="JSON with steps; headend dunning policies shows the words.")],
    effective_on: Annotated[str, typer.Option(help="For what becomes due from that day on.")],
    currency: Annotated[str, typer.Option()] = "EUR",
) -> None:
    """Write the next version of a segment's ladder."""
    with opened() as api:
        try:
            written = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise RuleError(f"{file} cannot be read: {error}") from None
        body = {"segment": name, "currency": currency, "effective_on": effective_on, "policy": written}
        made = api.post("/dunning/policies", body)
    print(f"{made['segment']} version {made['version']} from {made['effective_on']}")


@dunning_app.command()
def notices(state: Annotated[str, typer.Option(help="waiting, sent, withdrawn or uncertain.")] = "uncertain") -> None:
    """Letters and e-mails in a state."""
    with opened() as api:
        for row in api.all("/dunning/notices", state=state):
            print(f"{row['notice_id']}  {row['day']}  {row['text']} by {row['channel']} to {row['recipient']}")


@dunning_app.command()
def decide(
    notice_id: Annotated[str, typer.Argument(help="Of an uncertain notice.")],
    reason: Reason,
    arrived: Annotated[bool, typer.Option(help="Whether it arrived; else it is sent again.")] = True,
) -> None:
    """Say whether a notice arrived."""
    with opened() as api:
        print(api.post(f"/dunning/notices/{notice_id}/decide", {"arrived": arrived, "reason": reason})["state"])


@dunning_app.command()
def collections() -> None:
    """Claims that are proposed for collection, as CSV."""
    with opened() as api:
        for piece in api.text("/dunning/collections"):
            sys.stdout.write(piece)


@dunning_app.command("hand-over")
def hand_over(account_id: Account, reason: Reason) -> None:
    """The claim was handed over: no further step."""
    with opened() as api:
        api.post(f"/dunning/accounts/{account_id}/hand-over", {"reason": reason})


@dunning_app.command()
def disputes(state: Annotated[str, typer.Option(help="open, upheld or rejected.")] = "open") -> None:
    """What customers contest."""
    with opened() as api:
        for row in api.all("/disputes", state=state):
            gone = f"  (of its credit {_money(row['taken_back'])} was taken back)" if row["taken_back"] else ""
            print(f"{row['dispute_id']}  {row['opened_on']}  {_money(row['amount'])}  {row['reason']}{gone}")


@dunning_app.command()
def dispute(
    invoice_id: Annotated[str, typer.Argument(help="Id of the invoice.")],
    reason: Annotated[str, typer.Option(help="What the customer says.")],
    line: Annotated[str, typer.Option(help="Id of one of its lines.")] = "",
    amount: Annotated[str, typer.Option(help="With tax; else all that is open.")] = "",
    currency: Annotated[str, typer.Option()] = "EUR",
) -> None:
    """Open a dispute; its evidence is frozen."""
    body: dict[str, Any] = {"invoice_id": invoice_id, "reason": reason}
    if line:
        body["line_id"] = line
    if amount:
        body["amount"] = {"amount": amount, "currency": currency}
    with opened() as api:
        made = api.post("/disputes", body)
    print(f"{made['dispute_id']} over {_money(made['amount'])}")


@dunning_app.command()
def uphold(dispute_id: DisputeId, resolution: Resolution) -> None:
    """The customer is right: a credit note."""
    with opened() as api:
        print(api.post(f"/disputes/{dispute_id}/uphold", {"resolution": resolution})["credit_note_id"])


@dunning_app.command()
def reject(
    dispute_id: DisputeId,
    resolution: Resolution,
    days: Annotated[int, typer.Option(help="Until dunning goes on; else as the policy says.")] = -1,
) -> None:
    """The invoice stands."""
    body: dict[str, Any] = {"resolution": resolution} | ({"days": days} if days >= 0 else {})
    with opened() as api:
        print(f"dunning goes on {api.post(f'/disputes/{dispute_id}/reject', body)['until_on']}")


def _what(row: dict[str, Any]) -> str:
    if row["rests"]:
        return f"rests: {', '.join(row['rests'])}"
    if row["due_now"]:
        return f"due now: {', '.join(row['due_now'])}"
    return f"next: {row['next_step']} on {row['next_on']}" if row["next_on"] else "nothing follows"


def _taken(row: dict[str, Any]) -> str:
    """Of which kinds of service, on the board."""
    return "".join(f"; {kind}: {measure}" for kind, measure in row["measures"].items())


def _ladder(written: dict[str, Any]) -> str:
    return ", ".join(f"{step['name']} {step['days']}{_takes(step)}" for step in written["steps"]) or "nobody is dunned"


def _takes(step: dict[str, Any]) -> str:
    """What a step takes, and what else of services that it names."""
    said = [step["measure"]] if step.get("measure") else []
    said += [f"{kind}: {measure}" for kind, measure in step.get("services", {}).items()]
    return f" ({'; '.join(said)})" if said else ""


def _money(amount: dict[str, str]) -> str:
    return f"{amount['amount']} {amount['currency']}"

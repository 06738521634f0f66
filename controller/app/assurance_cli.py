"""`headend assurance …`: bills that wait, leakage and reconciliation of a running controller, over its API."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from controller.app.remote import Json, opened
from controller.domain.units import human_octets

assurance_app = typer.Typer(
    no_args_is_help=True, help="What is checked before bills leave, and what is carried beside what is billed."
)

Bill = Annotated[str, typer.Argument(help="Id of a bill that waits: see `headend assurance queue`.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]


@assurance_app.command()
def queue(
    state: Annotated[Literal["held", "released", "gone", "all"], typer.Option(help="Which of them.")] = "held",
) -> None:
    """Bills that wait for a person; with --state gone those that were let go, and by whom."""
    with opened() as api:
        for row in api.all("/exceptions", state=state):
            who = " then ".join(by for by in (row["released_by"], row["approved_by"]) if by)
            print(
                f"{row['exception_id']}  {row['state']:<8} {_money(row['at_stake']):>14} at stake"
                f"  account {row['account_id']}  {', '.join(row['checks'])}{f'  by {who}' if who else ''}"
            )


@assurance_app.command()
def show(bill: Bill) -> None:
    """Every finding of a bill: what was expected, what it says, and the records that contribute most."""
    with opened() as api:
        row = api.get(f"/exceptions/{bill}")
    print(f"account {row['account_id']}, bill run {row['bill_run_id']}: {row['state']}, net {_money(row['net'])}")
    for finding in row["findings"]:
        low, high = (_money(finding[key]) if finding[key] else "anything" for key in ("expected_low", "expected_high"))
        print(f"{finding['check']} ({finding['by']}): {finding['text']}")
        expected = low if low == high else f"{low} to {high}"
        print(f"  expected {expected}, actual {_money(finding['actual'])}, at stake {_money(finding['at_stake'])}")
        for record in finding["records"]:
            print(f"  {record['what']} {record['ref']}: {record['detail']}")


@assurance_app.command()
def release(bill: Bill, reason: Reason) -> None:
    """Let a bill go as it is; above the limit of the site another person must approve."""
    _decide("release", bill, reason)


@assurance_app.command()
def approve(bill: Bill, reason: Reason) -> None:
    """Let go a bill that another person has released."""
    _decide("approve", bill, reason)


@assurance_app.command()
def refuse(bill: Bill, reason: Reason) -> None:
    """Send a released bill back to the queue."""
    _decide("refuse", bill, reason)


@assurance_app.command()
def limits() -> None:
    """From what on a deviation holds a bill, and above what at stake two people let it go."""
    with opened() as api:
        for row in api.get("/check-limits")["limits"]:
            by = f"{row['changed_by']} at {row['changed_at']}" if row["changed_by"] else "nobody: the defaults hold"
            print(
                f"{row['currency']}  two people above {row['four_eyes']}, held from {row['usage']} of usage on, "
                f"from {row['other']} of all else  set by {by}"
            )


@assurance_app.command("limits-set")
def limits_set(
    currency: Annotated[str, typer.Argument(help="Such as EUR.")],
    four_eyes: Annotated[str, typer.Option(help="Above so much at stake two people let a bill go.")],
    usage: Annotated[str, typer.Option(help="Least deviation of usage that holds a bill.")],
    other: Annotated[str, typer.Option(help="Least deviation of everything else.")],
    reason: Reason,
) -> None:
    """Set the limits of the checks of bills in a currency, from now on."""
    body = {"four_eyes": four_eyes, "usage": usage, "other": other, "reason": reason}
    with opened() as api:
        row = api.put(f"/check-limits/{currency}", body)
    print(f"{row['currency']}: two people above {row['four_eyes']}, usage {row['usage']}, all else {row['other']}")


@assurance_app.command()
def leakage(
    side: Annotated[Literal["live-not-billed", "billed-not-live"], typer.Argument(help="Which list.")],
    now: Annotated[bool, typer.Option("--now", help="Look now; else what the last look of a night has found.")] = False,
) -> None:
    """What is live and not billed, or billed and not live, with its price. Exit status 1 when there is any."""
    with opened() as api:
        if now:
            api.post("/leakage", {})
        rows = list(api.all("/leakage", side=side))
    for row in rows:
        print(
            f"{_money(row['per_day']):>12} a day  {_money(row['monthly']):>12} a month  since {row['since_on']}"
            f"  {_money(row['lost']):>12} so far  {row['title']}  ({row['price_from']})"
        )
        for sight in row["evidence"]:
            print(f"  {sight['what']} {sight['ref']}: {sight['detail']}")
    sys.exit(1 if rows else 0)


@assurance_app.command()
def reconcile(
    day: Annotated[str, typer.Option(help="The last day to look at, such as 2026-11-20; else yesterday.")] = "",
    days: Annotated[int, typer.Option(help="How many days up to it.", min=1, max=62)] = 4,
) -> None:
    """Compare RADIUS, counters and billed octets now. Exit status 1 when a difference has no reason."""
    body: Json = {"days": days} | ({"day": day} if day else {})
    with opened() as api:
        totals = api.post("/reconciliation", body)["days"]
        differing = [
            row for total in totals if total["differing"]
            for row in api.all("/reconciliation", day=total["day"], verdict="differs")
        ]  # fmt: skip
    for total in totals:
        print(
            f"{total['day']}  {total['services']} services, {total['differing']} unexplained"
            f"  RADIUS {human_octets(total['radius_octets'])}  counters {human_octets(total['counter_octets'])}"
            f"  billed {human_octets(total['billed_octets'])}"
        )
    for row in differing:
        reasons = "; ".join(f"{r['text']} {human_octets(r['octets'])}" for r in row["reasons"] if r["octets"])
        service = row["service_id"] or "no known service"
        print(f"  {row['day']}  {service}: {human_octets(row['unexplained_octets'])} unexplained ({reasons})")
    sys.exit(1 if differing else 0)


def _decide(verb: str, bill: str, reason: str) -> None:
    with opened() as api:
        row = api.post(f"/exceptions/{bill}/{verb}", {"reason": reason})
    waits = {"held": "waits", "released": "waits for a second person", "gone": "leaves with its run"}[row["state"]]
    print(f"bill of account {row['account_id']} {waits}")


def _money(amount: dict[str, Any]) -> str:
    return f"{amount['amount']} {amount['currency']}"

"""`headend prepaid …`: balances of prepaid services, over a running controller's API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.app.catalogue_cli import offering_of
from controller.app.remote import Remote, opened
from controller.domain.errors import RuleError
from controller.domain.money import Money

prepaid_app = typer.Typer(no_args_is_help=True, help="Prepaid services of a running controller.")

Service = Annotated[str, typer.Argument(help="Id of the service.")]


@prepaid_app.command("list")
def balances(account: Annotated[str, typer.Option(help="Id of a billing account.")] = "") -> None:
    """Every prepaid balance."""
    with opened() as api:
        for row in api.all("/prepaid", **({"account_id": account} if account else {})):
            owed = f"  {_amount(row, row['owed'])} owed" if row["owed"] else ""
            print(f"{row['service_id']}  {_amount(row, row['balance']):>16}  {row['standing']}{owed}")


@prepaid_app.command()
def show(service: Service) -> None:
    """A balance, what is reserved of it, and for which sessions."""
    with opened() as api:
        _print(api.get(f"/services/{service}/prepaid"))


@prepaid_app.command("open")
def open_(
    service: Service,
    account: Annotated[str, typer.Argument(help="Id of the billing account.")],
    plan: Annotated[str, typer.Option(help="Offering whose prices hold; else the unit is bought.")] = "",
    unit: Annotated[str, typer.Option(help="money (by the plan's prices), octets or seconds.")] = "money",
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    slice_: Annotated[int, typer.Option("--slice", help="Octets, or seconds, reserved at a time.")] = 100_000_000,
    validity: Annotated[int, typer.Option(help="Seconds that a slice is kept for a silent session.")] = 1_800,
    when_empty: Annotated[str, typer.Option(help="disconnect or garden.")] = "disconnect",
    credit_days: Annotated[int, typer.Option(help="Days that credit is kept after a top-up; 0 is for ever.")] = 0,
    notice_days: Annotated[int, typer.Option(help="Days before it is gone that customers are told; 0: never.")] = -1,
    low_balance: Annotated[int, typer.Option(help="Tell customers when less is left, in the unit; 0: never.")] = 0,
) -> None:
    """Make a service prepaid, or change how it is paid from now on."""
    body: dict[str, Any] = {
        "account_id": account, "unit": unit, "currency": currency, "slice": slice_, "validity_s": validity,
        "when_empty": when_empty, "credit_days": credit_days or None,
        "notice_days": None if notice_days < 0 else notice_days, "low_balance": low_balance or None,
    }  # fmt: skip
    with opened() as api:
        if plan:
            body["version_id"] = _newest(api, plan)
        _print(api.put(f"/services/{service}/prepaid", body))


@prepaid_app.command("top-up")
def top_up(
    service: Service,
    paid: Annotated[str, typer.Argument(help="What was paid, with its tax, such as 10.00.")],
    reference: Annotated[str, typer.Option(help="Yours; the same again adds nothing.")],
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "EUR",
    into: Annotated[str, typer.Option(help="bank or cash.")] = "cash",
    units: Annotated[int, typer.Option(help="Octets or seconds that were bought, for a balance of those.")] = 0,
    tax_percent: Annotated[str, typer.Option(help="The tax in what was paid, for a balance of units.")] = "",
) -> None:
    """Take money for a balance; sessions in the garden go on."""
    body: dict[str, Any] = {"paid": {"amount": paid, "currency": currency}, "into": into, "reference": reference}
    body |= ({"units": units} if units else {}) | ({"tax_percent": tax_percent} if tax_percent else {})
    with opened() as api:
        _print(api.post(f"/services/{service}/prepaid/top-ups", body))


@prepaid_app.command()
def movements(service: Service) -> None:
    """What moved a balance, newest first."""
    with opened() as api:
        for row in api.all(f"/services/{service}/prepaid/movements"):
            over = f"  {row['overshoot']} beyond the balance" if row["overshoot"] else ""
            print(
                f"{row['at']}  {row['kind']:<12} {row['amount']:>14}  reserved {row['reserved_change']:>+14}  "
                f"→ {row['balance_after']}, {row['reserved_after']} reserved{over}"
            )


@prepaid_app.command()
def receipts(service: Service) -> None:
    """What was paid for a balance, and given back of it, newest first; the papers are GET /receipts/ID/pdf."""
    with opened() as api:
        for row in api.all("/receipts", service_id=service):
            total = f"{row['total']['amount']} {row['total']['currency']}"
            print(f"{row['number']}  {row['issued_on']}  {row['kind']:<8} {total:>14}  {row['receipt_id']}")


@prepaid_app.command()
def notices(state: Annotated[str, typer.Option(help="waiting, sending, sent, withdrawn or uncertain.")] = "") -> None:
    """What customers were told of their credit: that it expires, or that little is left."""
    with opened() as api:
        for row in api.all("/prepaid-notices", **({"state": state} if state else {})):
            print(f"{row['notice_id']}  {row['state']:<10} {row['recipient'] or 'no address':<30} {row['title']}")
            if row["words"]:
                print(f"    {row['words']}")


@prepaid_app.command("decide-notice")
def decide_notice(
    notice_id: Annotated[str, typer.Argument(help="Of an uncertain notice.")],
    reason: Annotated[str, typer.Option(help="For the audit log.")],
    arrived: Annotated[bool, typer.Option("--arrived/--again", help="The customer was told, or send it again.")] = True,
) -> None:
    """Say what became of a notice that may not have arrived."""
    with opened() as api:
        print(api.post(f"/prepaid-notices/{notice_id}/decide", {"arrived": arrived, "reason": reason})["state"])


@prepaid_app.command()
def close(
    service: Service,
    reason: Annotated[str, typer.Option(help="For the audit log.")],
    keep: Annotated[bool, typer.Option("--keep", help="What is left stays, for when it is opened again.")] = False,
) -> None:
    """A service is prepaid no more; once all use is debited, what is left becomes a payment of the account."""
    with opened() as api:
        _print(api.post(f"/services/{service}/prepaid/close", {"reason": reason, "pay_out": not keep}))


def _newest(api: Remote, plan: str) -> str:
    versions = offering_of(api, plan)["versions"]
    if not versions:
        raise RuleError(f"{plan} has no version; make one first")
    return str(max(versions, key=lambda version: version["number"])["version_id"])


def _amount(row: dict[str, Any], amount: int) -> str:
    unit = row["unit"]
    return f"{amount} {unit}" if unit in ("octets", "seconds") else str(Money(amount, unit))


def _print(row: dict[str, Any]) -> None:
    print(
        f"{_amount(row, row['balance'])}, {_amount(row, row['reserved'])} reserved"
        + (f", {_amount(row, row['owed'])} owed until others give back" if row["owed"] else "")
        + (f", {_amount(row, row['overshoot'])} used beyond it" if row["overshoot"] else "")
        + f": {row['standing']} (when empty: {row['when_empty']})"
        + (f"; gone on {row['expires_on']}" if row["expires_on"] else "")
    )
    if row["standing"] == "closing":
        then = "what is left is paid out" if row["pays_out"] else "what is left stays"
        print(f"  what its sessions have used is counted, until {row['closing_until']} at most; then {then}")
    for session in row["sessions"]:
        print(
            f"  {session['session_key'] or 'no record yet':<32}  {session['state']:<8} {session['reserved']} reserved"
            f" until {session['expires_at']}"
        )

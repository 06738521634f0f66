"""`headend finance contracts|contract|…`: contracts of several promises, and when what they cost is earned."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.app.finance_cli import connected, finance_app, money, table
from controller.domain.errors import RuleError

__all__ = ["finance_app"]

Contract = Annotated[str, typer.Argument(help="Id of a contract: see `headend finance contracts`.")]
Promises = Annotated[
    list[str],
    typer.Argument(
        help="NAME=KIND:PRICE:FIRST[:UNTIL], such as Router=equipment:60:2026-11-01 or "
        "Line=recurring:480:2026-11-01:2027-11-01. KIND is recurring, usage, one-off or equipment, PRICE what it "
        "costs alone. Without UNTIL it is delivered on FIRST."
    ),
]
Currency = Annotated[str, typer.Option(help="Of every amount.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and write nothing.")]


@finance_app.command()
def contracts(account: Annotated[str, typer.Option(help="Id of an account; else everybody's.")] = "") -> None:
    """Contracts with what was billed and earned of each."""
    with connected() as api:
        found = list(api.all("/revenue-contracts", **({"account_id": account} if account else {})))
    rows = [
        (c["contract_id"], c["reference"], money(c["price"]), money(c["billed"]), money(c["earned"])) for c in found
    ]
    table(("contract", "reference", "price", "billed", "earned"), rows, left=2)


@finance_app.command()
def contract(contract_id: Contract) -> None:
    """One contract: its changes, and what is earned when."""
    with connected() as api:
        found = api.get(f"/revenue-contracts/{contract_id}")
    _print(found)


@finance_app.command("sign-contract")
def sign(
    account: Annotated[str, typer.Argument(help="Id of a billing account.")],
    price: Annotated[str, typer.Argument(help="Of the whole contract.")],
    promises: Promises,
    reference: Annotated[str, typer.Option(help="The same again is the same contract.")],
    signed_on: Annotated[str, typer.Option(help="Such as 2026-11-01.")],
    subscription: Annotated[str, typer.Option(help="What is billed for it is billed on the contract.")] = "",
    currency: Currency = "EUR",
    dry_run: DryRun = False,
) -> None:
    """Record a contract: its price is allocated to its promises by what each costs alone, and scheduled."""
    body: dict[str, Any] = {
        "account_id": account, "reference": reference, "price": {"amount": price, "currency": currency},
        "signed_on": signed_on,
    }  # fmt: skip
    if subscription:
        body["subscription_id"] = subscription
    with connected() as api:
        body["promises"] = _promises(promises, currency)
        path = "/revenue-contracts/dry-run" if dry_run else "/revenue-contracts"
        found = api.post(path, body)
    _print(found)


@finance_app.command("change-contract")
def change(
    contract_id: Contract,
    promises: Promises,
    on: Annotated[str, typer.Option(help="The day from which on the rest is planned anew.")],
    reason: Annotated[str, typer.Option(help="Goes into the audit log.")],
    added: Annotated[str, typer.Option(help="To the price; negative is less.")] = "0",
    currency: Currency = "EUR",
    dry_run: DryRun = False,
) -> None:
    """Change a contract on a day: what was not earned by then is planned over all that remains to be delivered."""
    with connected() as api:
        body: dict[str, Any] = {
            "at_on": on, "added": {"amount": added, "currency": currency}, "reason": reason,
            "promises": _promises(promises, currency),
        }  # fmt: skip
        found = api.post(f"/revenue-contracts/{contract_id}/changes{'/dry-run' if dry_run else ''}", body)
    _print(found)


def _promises(told: list[str], currency: str) -> list[dict[str, Any]]:
    """Raises RuleError naming what is not written as it should be."""
    found = []
    for one in told:
        name, _, rest = one.rpartition("=")
        parts = rest.split(":")
        if not name or len(parts) not in (3, 4):
            raise RuleError(f"{one!r} is not written as NAME=KIND:PRICE:FIRST[:UNTIL]")
        kind, price, first_on, *until = parts
        promise: dict[str, Any] = {
            "name": name, "kind": kind, "stand_alone": {"amount": price, "currency": currency}, "first_on": first_on,
        }  # fmt: skip
        found.append(promise | ({"until_on": until[0]} if until else {}))
    return found


def _print(found: dict[str, Any]) -> None:
    if "contract_id" in found:
        print(f"{found['contract_id']}  {found['reference']}: {money(found['price'])}, account {found['account_id']}")
        print(f"billed {money(found['billed'])}, earned {money(found['earned'])}, {money(found['position'])} owed")
        for one in found["changes"]:
            print(f"change {one['version']} on {one['at_on']}: {money(one['added'])}  {one['reason']}")
    rows = [
        (piece["first_on"], piece["until_on"], planned["name"], money(piece["amount"]))
        for planned in found["plan"]
        for piece in planned["slices"]
    ]
    table(("from", "until", "what", "earned"), sorted(rows), left=3)

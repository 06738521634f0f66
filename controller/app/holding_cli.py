"""`headend account deposits|items|…`: what is held for an account, and what it holds beside its lines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from controller.app.account_cli import account_app
from controller.app.catalogue_cli import money, offering_of
from controller.app.remote import Json, opened

__all__ = ["account_app"]

Account = Annotated[str, typer.Argument(help="Id of a billing account.")]
Item = Annotated[str, typer.Argument(help="Id of an item.")]
Reference = Annotated[str, typer.Option(help="The same again is done once.")]


@account_app.command()
def deposits(account: Annotated[str, typer.Argument(help="Id of an account; else everybody's.")] = "") -> None:
    """What is held as security."""
    with opened() as api:
        for row in api.all("/deposits", **({"account_id": account} if account else {})):
            back = f", given back {row['released_at']}" if row["released_at"] else ""
            print(f"{row['deposit_id']}  account {row['account_id']}  {money(row['amount'])}  {row['reference']}{back}")


@account_app.command()
def deposit(
    account: Account,
    amount: Annotated[str, typer.Argument(help="Such as 50.00.")],
    reference: Reference,
    into: Annotated[Literal["bank", "cash"], typer.Option(help="Where it was received.")] = "bank",
    currency: Annotated[str, typer.Option(help="That of the account.")] = "EUR",
) -> None:
    """Take a deposit, to be held."""
    body: Json = {"amount": {"amount": amount, "currency": currency}, "into": into, "reference": reference}
    with opened() as api:
        print(api.post(f"/accounts/{account}/deposits", body)["deposit_id"])


@account_app.command("deposit-release")
def deposit_release(deposit_id: str, reason: Annotated[str, typer.Option(help="Goes into the audit log.")]) -> None:
    """Give a deposit back: it becomes a payment of the account, and what settles nothing can be refunded."""
    with opened() as api:
        made = api.post(f"/deposits/{deposit_id}/release", {"reason": reason})
    print(f"payment {made['payment_id']}")


@account_app.command()
def items(account: Account) -> None:
    """Products beside lines."""
    with opened() as api:
        for row in api.all("/items", account_id=account):
            ended = f" until {row['ended_at']}" if row["ended_at"] else ""
            off = f", suspended since {row['suspended_since']}" if row["suspended_since"] else ""
            what = f"{row['item_id']}  {row['quantity']} x version {row['version_id']}"
            print(f"{what}  since {row['held_since']}{ended}{off}")


@account_app.command("item-add")
def item_add(
    account: Account,
    plan: Annotated[str, typer.Argument(help="Id or name of an offering.")],
    reference: Reference,
    quantity: Annotated[int, typer.Option()] = 1,
    on: Annotated[str, typer.Option(help="The first day; else today.")] = "",
) -> None:
    """Sell a product that is no line."""
    with opened() as api:
        offering = offering_of(api, plan)
        body: Json = {"account_id": account, "offering_id": offering["offering_id"], "quantity": quantity}
        body |= {"reference": reference} | ({"on": on} if on else {})
        print(api.post("/items", body)["item_id"])


@account_app.command("item-end")
def item_end(item: Item, on: Annotated[str, typer.Option(help="The first day without it; else today.")] = "") -> None:
    """A product is held no more."""
    with opened() as api:
        print(api.post(f"/items/{item}/end", {"on": on} if on else {})["ended_at"])


@account_app.command()
def contract(
    held: Annotated[str, typer.Argument(help="Id of a line's subscription, or of an item.")],
    item: Annotated[bool, typer.Option("--item", help="It is an item.")] = False,
) -> None:
    """What binds a line or an item, and what leaving today costs."""
    with opened() as api:
        found = api.get(f"/items/{held}/contract" if item else f"/subscriptions/{held}/contract")
    print(f"{found['terms']}: first free day {found['ends_on']}, leaving costs {money(found['fee'])} net")

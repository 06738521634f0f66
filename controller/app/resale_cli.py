"""`headend reseller …`: whose customers are whose, what was sold to them, the commission of a month."""

from __future__ import annotations

from typing import Annotated

import typer

from controller.app.catalogue_cli import money
from controller.app.remote import Json, opened

reseller_app = typer.Typer(no_args_is_help=True, help="Resellers and their commission.")

Reseller = Annotated[str, typer.Argument(help="Id of the reseller's account.")]
Month = Annotated[str, typer.Argument(help="Such as 2026-11.")]


@reseller_app.command("list")
def resellers() -> None:
    """Who brought customers, and how many are theirs today."""
    with opened() as api:
        for row in api.get("/resellers")["resellers"]:
            print(f"{row['account_id']}  {row['customers']} customers")


@reseller_app.command()
def customers(reseller: Reseller) -> None:
    """The accounts that are a reseller's today."""
    with opened() as api:
        for row in api.all(f"/resellers/{reseller}/customers"):
            print(f"{row['account_id']}  {row['percent']} % since {row['since']}")


@reseller_app.command()
def assign(
    account: Annotated[str, typer.Argument(help="Id of the customer's account.")],
    to: Annotated[str, typer.Argument(help="Id of the reseller's account, or - for nobody.")],
    percent: Annotated[str, typer.Option(help="Of the net of what is sold.")] = "0",
    since: Annotated[str, typer.Option(help="The first day; else today.")] = "",
) -> None:
    """From a day on an account is a reseller's customer."""
    body: Json = {"reseller_id": None if to == "-" else to, "percent": percent} | ({"since": since} if since else {})
    with opened() as api:
        made = api.put(f"/accounts/{account}/reseller", body)
    whose = f"{made['reseller_id']} at {made['percent']} %" if made["reseller_id"] else "nobody"
    print(f"{made['account_id']} belongs to {whose} from {made['since']}")


@reseller_app.command()
def history(account: Annotated[str, typer.Argument(help="Id of the customer's account.")]) -> None:
    """Whose customer an account was, is and will be."""
    with opened() as api:
        for row in api.get(f"/accounts/{account}/reseller")["assignments"]:
            whose = f"{row['reseller_id']} at {row['percent']} %" if row["reseller_id"] else "nobody"
            print(f"from {row['since']}: {whose}, said by {row['changed_by']}")


@reseller_app.command()
def statement(reseller: Reseller, month: Month) -> None:
    """What was sold to a reseller's customers in a month, and the share."""
    with opened() as api:
        _print(api.get(f"/resellers/{reseller}/statement", month=month))


@reseller_app.command()
def settle(reseller: Reseller, month: Month) -> None:
    """Post what a reseller is owed for a month that is over, once."""
    with opened() as api:
        _print(api.post(f"/resellers/{reseller}/settlements", {"month": month}))


def _print(found: Json) -> None:
    for each in found["statements"]:
        for sale in each["sales"]:
            share = f"{money(sale['net'])} × {sale['percent']} % = {money(sale['share'])}"
            print(f"{sale['number']}  {sale['issued_on']}  {share}")
        settled = f"settled {each['settled_at']}" if each["settled_at"] else "not settled"
        print(f"net {money(each['net'])}, commission {money(each['share'])}, {settled}")
    if not found["statements"]:
        print(f"Nothing was sold to their customers in {found['month']}.")

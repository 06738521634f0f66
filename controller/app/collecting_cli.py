"""`headend payments mandates|refunds|chargebacks|charge|…`: who lets us collect, and what came back."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from controller.app.catalogue_cli import money
from controller.app.remote import Json, opened
from controller.app.settling_cli import payments_app

__all__ = ["payments_app"]

Account = Annotated[str, typer.Argument(help="Id of a billing account.")]
Reason = Annotated[str, typer.Option(help="Goes into the audit log.")]


@payments_app.command()
def mandates(account: Annotated[str, typer.Option(help="Id of an account; else everybody's.")] = "") -> None:
    """Direct debit mandates."""
    with opened() as api:
        for row in api.all("/mandates", **({"account_id": account} if account else {})):
            last = f", last on {row['last_on']}" if row["last_on"] else ""
            print(
                f"{row['mandate_id']}  {row['reference']}  {row['state']}  account {row['account_id']}  {row['iban']}  "
                f"{row['debtor']}, signed {row['signed_on']}, collected {row['collected']} times{last}"
            )


@payments_app.command()
def mandate(
    account: Account,
    reference: Annotated[str, typer.Argument(help="Without blanks; it stands on the customer's statement.")],
    iban: Annotated[str, typer.Argument(help="Of the customer.")],
    debtor: Annotated[str, typer.Argument(help="Holder of that account.")],
    signed_on: Annotated[str, typer.Option(help="Such as 2026-11-30.")],
    scheme: Annotated[Literal["CORE", "B2B"], typer.Option(help="B2B is for businesses.")] = "CORE",
    bic: Annotated[str, typer.Option(help="Only outside the EEA.")] = "",
    once: Annotated[bool, typer.Option("--once", help="For one collection.")] = False,
) -> None:
    """A customer lets us collect by direct debit."""
    body: Json = {
        "account_id": account, "reference": reference, "iban": iban, "debtor": debtor, "signed_on": signed_on,
        "scheme": scheme, "bic": bic, "recurrent": not once,
    }  # fmt: skip
    with opened() as api:
        print(api.post("/mandates", body)["mandate_id"])


@payments_app.command("mandate-end")
def mandate_end(
    mandate_id: str,
    reason: Reason,
    after_last: Annotated[
        bool, typer.Option(help="Collect what is due in the next file, and say that it is the last.")
    ] = False,
) -> None:
    """Nothing more is collected by a mandate, or one last time."""
    with opened() as api:
        print(api.post(f"/mandates/{mandate_id}/end", {"reason": reason, "after_last_collection": after_last})["state"])


@payments_app.command("direct-debits")
def direct_debits() -> None:
    """Direct debit files, newest first."""
    with opened() as api:
        for row in api.all("/direct-debits"):
            print(
                f"{row['collection_id']}  {row['collect_on']}  {row['state']}  {row['items']} x {money(row['total'])}"
            )


@payments_app.command()
def refunds(
    state: Annotated[
        Literal["requested", "approved", "sent", "done", "refused"] | None, typer.Option(help="Which.")
    ] = None,
) -> None:
    """Refunds, newest first."""
    with opened() as api:
        for row in api.all("/refunds", **({"state": state} if state else {})):
            print(f"{row['refund_id']}  {row['state']}  {money(row['amount'])} by {row['way']}  {row['reason']}")


@payments_app.command()
def chargebacks() -> None:
    """Card payments that the cardholder's bank took back."""
    with opened() as api:
        for row in api.all("/payment-disputes"):
            ended = "decided" if row["final"] else "open"
            print(f"{row['dispute_id']}  {ended}, {row['status']}  {money(row['withdrawn'])}  {row['reason']}")


@payments_app.command()
def charge(
    gateway: Annotated[str, typer.Argument(help="Such as stripe.")],
    invoice_id: str,
    customer: Annotated[str, typer.Argument(help="The gateway's customer, such as cus_….")],
    method: Annotated[str, typer.Argument(help="The card that was left there, such as pm_….")],
    reference: Annotated[str, typer.Option(help="Yours: the same again is the same charge.")] = "",
) -> None:
    """Charge a card that a customer left with a gateway what is open of an invoice."""
    body = {"gateway": gateway, "invoice_id": invoice_id, "customer": customer, "method": method}
    if reference:
        body["reference"] = reference
    with opened() as api:
        made = api.post("/card-charges", body)
    print(f"{made['attempt_id']}  {made['state']}: {made['detail']}".rstrip(": "))


@payments_app.command()
def charges(
    account: Annotated[str, typer.Option(help="Id of an account; else everybody's.")] = "",
    state: Annotated[
        Literal["asked", "unsure", "pending", "paid", "failed"] | None, typer.Option(help="Which.")
    ] = None,
) -> None:
    """Cards that were to be charged, newest first, and what came of it."""
    query = ({"account_id": account} if account else {}) | ({"state": state} if state else {})
    with opened() as api:
        for row in api.all("/card-charges", **query):
            what = f"{row['state']}: {row['detail']}".rstrip(": ")
            print(
                f"{row['attempt_id']}  {row['asked_at']}  {money(row['amount'])}  account {row['account_id']}  {what}"
            )


@payments_app.command("saved-cards")
def saved_cards(account: Account) -> None:
    """Cards that an account left with gateways, to charge again."""
    with opened() as api:
        for row in api.get(f"/accounts/{account}/saved-cards")["cards"]:
            last = f"{row['state']} at {row['last_at']}" if row["state"] else "never charged"
            print(f"{row['gateway']}  {row['customer']}  {row['method'] or '-'}  {last}")


@payments_app.command("charge-repeat")
def charge_repeat(attempt_id: str) -> None:
    """Ask the gateway again for a charge whose answer did not come."""
    with opened() as api:
        made = api.post(f"/card-charges/{attempt_id}/repeat")
    print(f"{made['state']}: {made['detail']}".rstrip(": "))

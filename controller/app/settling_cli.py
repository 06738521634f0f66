"""`headend payments apply|take-back|write-off|void|…`: what settles what, and how each of it is undone."""

from __future__ import annotations

from typing import Annotated

import typer

from controller.app.catalogue_cli import money
from controller.app.payments_cli import Amount, Currency, Reason, amount_of, payments_app
from controller.app.remote import Json, opened

__all__ = ["payments_app"]

Note = Annotated[str, typer.Argument(help="Id of a credit note.")]


@payments_app.command()
def waiting() -> None:
    """Payments of which something settles nothing yet."""
    with opened() as api:
        for row in api.all("/payments", unapplied="true"):
            print(f"{row['payment_id']}  {row['account_id']}  {money(row['unapplied'])} of {money(row['amount'])}")


@payments_app.command()
def apply(payment_id: str, invoice_id: str, amount: Amount, currency: Currency = "EUR") -> None:
    """Settle an invoice with what is unapplied of a payment."""
    with opened() as api:
        body = {"invoice_id": invoice_id, "amount": amount_of(amount, currency)}
        print(f"unapplied now: {money(api.post(f'/payments/{payment_id}/allocations', body)['unapplied'])}")


@payments_app.command("take-back")
def take_back(allocation_id: int, reason: Reason) -> None:
    """Take back that a payment settled an invoice."""
    with opened() as api:
        found = api.post(f"/allocations/{allocation_id}/reverse", {"reason": reason})
        print(f"payment {found['payment_id']}, unapplied now: {money(found['unapplied'])}")


@payments_app.command("credit-matches")
def credit_matches(note: Note) -> None:
    """Which invoices a credit note settles."""
    with opened() as api:
        _matches(api.get(f"/invoices/{note}/allocations"))


@payments_app.command("apply-credit")
def apply_credit(note: Note, invoice_id: str, amount: Amount, currency: Currency = "EUR") -> None:
    """Settle an invoice with what is unapplied of a credit note."""
    with opened() as api:
        body = {"invoice_id": invoice_id, "amount": amount_of(amount, currency)}
        _matches(api.post(f"/invoices/{note}/allocations", body))


@payments_app.command("take-back-credit")
def take_back_credit(allocation_id: int, reason: Reason) -> None:
    """Take back that a credit note settled an invoice."""
    with opened() as api:
        _matches(api.post(f"/credit-allocations/{allocation_id}/reverse", {"reason": reason}))


def _matches(found: Json) -> None:
    for row in found["allocations"]:
        if row["standing"]:
            print(f"{row['allocation_id']}  {row['number']}  {money(row['amount'])}")
    print(f"{found['number']}, unapplied: {money(found['unapplied'])}")


@payments_app.command()
def void(payment_id: str, reason: Reason) -> None:
    """Take back a payment that was booked by hand and never came: what it settled is owed again."""
    with opened() as api:
        found = api.post(f"/payments/{payment_id}/void", {"reason": reason})
        print(f"void: {money(found['reversed'])}")


@payments_app.command("write-off")
def write_off(
    invoice_id: str,
    reason: Reason,
    amount: str = "",
    currency: Currency = "EUR",
    relieve_tax: bool = False,
    reference: str = "",
) -> None:
    """Give up what is open of an invoice, or a part of it. The same reference again is the same write-off."""
    body: Json = {"reason": reason, "relieve_tax": relieve_tax, "reference": reference or None}
    if amount:
        body["amount"] = amount_of(amount, currency)
    with opened() as api:
        made = api.post(f"/invoices/{invoice_id}/write-off", body)
        print(f"{made['payment_id']} written off: {money(made['amount'])}")


@payments_app.command("take-back-write-off")
def take_back_write_off(payment_id: str, reason: Reason) -> None:
    """A write-off was a mistake: its invoice is owed again, its loss is none."""
    with opened() as api:
        found = api.post(f"/write-offs/{payment_id}/reverse", {"reason": reason})
        print(f"taken back: {money(found['amount'])}")

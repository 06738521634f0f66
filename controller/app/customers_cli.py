"""`headend customer …` and `headend invoice …`: who is billed, and the documents, over a running controller's API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from controller.app.catalogue_cli import money
from controller.app.entity_cli import entity_id
from controller.app.remote import Json, opened
from controller.domain.money import Money

customer_app = typer.Typer(no_args_is_help=True, help="Customers and their accounts.")
invoice_app = typer.Typer(no_args_is_help=True, help="Invoices and credit notes: lists, lines, documents, previews.")

Document = Annotated[str, typer.Argument(help="Id of an invoice or credit note.")]
File = Annotated[Path, typer.Argument(help="Where to write it.")]
State = Annotated[Literal["open", "overdue", "unapplied", "paid"] | None, typer.Option(help="Which.")]


@customer_app.command("list")
def customers(search: Annotated[str, typer.Argument(help="Part of a name, an e-mail or an address.")] = "") -> None:
    """Customers, each with its account."""
    with opened() as api:
        for row in api.all("/customers", **({"q": search} if search else {})):
            print(f"{row['customer_id']}  account {row['account_id']}  {row['name']}  {row['email']}  {row['zone']}")


@customer_app.command()
def add(
    name: str,
    email: Annotated[str, typer.Option()] = "",
    phone: Annotated[str, typer.Option()] = "",
    address: Annotated[str, typer.Option(help="As it stands on a letter.")] = "",
    language: Annotated[str, typer.Option(help="Of documents, such as de.")] = "",
    tax_id: Annotated[str, typer.Option(help="Of a business.")] = "",
    currency: Annotated[str, typer.Option(help="Else that of the legal entity.")] = "",
    entity: Annotated[str, typer.Option(help="Name or id of a legal entity; else the first.")] = "",
    zone: Annotated[str, typer.Option(help="By whose days it is billed for good, such as Pacific/Apia.")] = "",
) -> None:
    """A new customer with an account."""
    told = {
        "email": email, "phone": phone, "address": address, "language": language, "tax_id": tax_id,
        "currency": currency, "zone": zone,
    }  # fmt: skip
    body: Json = {"name": name} | {key: value for key, value in told.items() if value}
    with opened() as api:
        if entity:
            body["entity_id"] = entity_id(api, entity)
        made = api.post("/customers", body)
    print(f"{made['customer_id']}  account {made['account_id']}, in {made['zone']}")


@invoice_app.command("list")
def invoices(
    search: Annotated[str, typer.Argument(help="Part of a number.")] = "",
    state: State = None,
    account: Annotated[str, typer.Option(help="Id of an account.")] = "",
) -> None:
    """Documents, newest first, and what they come to."""
    query = {k: v for k, v in {"q": search, "state": state or "", "account_id": account}.items() if v}
    with opened() as api:
        for row in api.all("/invoices", **query):
            print(
                f"{row['invoice_id']}  {row['number']}  {row['issued_on']}  account {row['account_id']}  "
                f"{money(row['total']):>14}, open {money(row['open'])}"
            )
        for total in api.get("/invoice-totals", **query)["totals"]:
            print(f"{total['count']} documents: {money(total['total'])}, open {money(total['open'])}")


@invoice_app.command()
def show(document: Document) -> None:
    """A document with its lines; `headend explain LINE` says how one was worked out."""
    with opened() as api:
        row = api.get(f"/invoices/{document}")
    print(f"{row['kind']} {row['number']} of {row['issued_on']}, due {row['due_on']}, account {row['account_id']}")
    for line in row["lines"]:
        days = f"{line['first_on']} until {line['until_on']}"
        print(
            f"  {line['line_id']}  {days}  {money(line['net']):>14} net  {line['tax_percent']} %  {line['description']}"
        )
    print(f"net {money(row['net'])}, tax {money(row['tax'])}, total {money(row['total'])}, open {money(row['open'])}")


@invoice_app.command()
def save(
    document: Document,
    file: File,
    form: Annotated[
        Literal["pdf", "factur-x", "ubl", "payment-code"], typer.Option("--as", help="The document, or an e-invoice.")
    ] = "pdf",
) -> None:
    """Write a document to a file: its PDF, an e-invoice, or the code that a banking program scans to pay it."""
    with opened() as api:
        file.write_bytes(api.raw("GET", f"/invoices/{document}/{form}"))
    print(f"written to {file}")


@invoice_app.command()
def preview(account: Annotated[str, typer.Argument(help="Id of an account.")]) -> None:
    """What an account would be billed now."""
    with opened() as api:
        found = api.get(f"/accounts/{account}/invoice-preview")["documents"]
    for document in found:
        content = document["content"]
        for line in content["lines"]:
            net = Money(line["net_minor"], content["currency"])
            print(f"  {line['first_on']} until {line['until_on']}  {net!s:>14} net  {line['item']}")
        print(f"net {money(document['net'])}, tax {money(document['tax'])}, total {money(document['total'])}")
    if not found:
        print("Nothing would be billed now.")

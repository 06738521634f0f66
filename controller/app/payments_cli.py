"""`headend payments …`: bank files, direct debits, matches, refunds, gateways, the cash desk of a running program."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from controller.app.entity_cli import Whose, of_entity
from controller.app.remote import Json, Remote, opened
from controller.domain.errors import RuleError

payments_app = typer.Typer(no_args_is_help=True, help="How money comes and goes, on a running controller.")

Amount = Annotated[str, typer.Argument(help="Such as 12.50.")]
Currency = Annotated[str, typer.Option(help="Of the amount.")]
Reason = Annotated[str, typer.Option(help="Goes into the audit log.")]
Iban = Annotated[str, typer.Argument(help="Of our bank account.")]
Day = Annotated[str, typer.Argument(help="On which banks settle, such as 2026-12-07.")]
Output = Annotated[Path | None, typer.Option(help="Where to write the file; else only its id is told.")]


@payments_app.command()
def bank() -> None:
    """Our bank accounts: the bank's balance, the ledger's, and what is not identified."""
    with opened() as api:
        for row in api.get("/bank-accounts")["accounts"]:
            told = f"{_money(row['closing'])} on {row['last_on']}" if row["last_on"] else "no statement yet"
            print(
                f"{row['iban']}  {told}, ledger {_money(row['ledger'])}, to identify {_money(row['unidentified'])} "
                f"in {row['open_lines']} lines"
            )


@payments_app.command()
def ledger(
    iban: Annotated[str, typer.Argument(help="A bank account of ours.")],
    code: Annotated[str, typer.Argument(help="Its own account of the ledger, such as 1810; 1800 is shared by all.")],
) -> None:
    """Post the lines of a bank account to an account of the ledger of its own, from now on."""
    with opened() as api:
        made = api.put(f"/bank-accounts/{_account(api, iban)}/ledger-account", {"ledger_code": code})
    print(f"{made['iban']} is account {made['ledger_code']}")


@payments_app.command()
def settings(
    claim_return_fee: Annotated[
        bool | None, typer.Option(help="Claim what a bank takes for a returned direct debit from who was to pay.")
    ] = None,
) -> None:
    """What is decided about payments; with an option, decide it."""
    with opened() as api:
        told = {} if claim_return_fee is None else {"claim_return_fee": claim_return_fee}
        found = api.put("/payment-settings", told) if told else api.get("/payment-settings")
    print(f"fee of a returned direct debit: {'claimed' if found['claim_return_fee'] else 'borne by us'}")


@payments_app.command("import")
def import_file(file: Annotated[Path, typer.Argument(help="camt.053, camt.054, pain.002, or a ZIP of those.")]) -> None:
    """Import a bank's file; the same again changes nothing."""
    with opened() as api:
        raw = _read(file)
        if b"pain.002" in raw[:4096]:
            print(f"rejected by it: {api.upload('/payment-status-reports', raw)['rejected']}")
            return
        if raw.startswith(b"PK\x03\x04"):
            packed = api.upload("/bank-archives", raw, "application/zip", name=file.name[:120])["files"]
        else:
            made = api.upload("/bank-files", raw, name=file.name[:120])
            packed = [{"name": "", "imported": made, "refused": "", "rejected": None}]
    for member in packed:
        if member["name"]:
            print(f"{member['name']}:")
        if member["refused"]:
            print(f"refused: {member['refused']}")
        elif member["rejected"] is not None:
            print(f"rejected by it: {member['rejected']}")
        else:
            _imported(member["imported"])
    if any(member["refused"] for member in packed):
        raise typer.Exit(2)


def _imported(found: Json) -> None:
    new = "new" if found["is_new"] else "known, nothing changed"
    print(
        f"{found['kind']}, {new}: {found['statements']} statements, {found['lines']} lines, {found['matched']} matched"
    )
    for note in found["notes"]:
        print(f"look at this: {note}")


@payments_app.command()
def lines(state: Annotated[Literal["open", "matched"], typer.Option(help="Which.")] = "open") -> None:
    """Movements on our bank accounts, oldest first, with their age."""
    with opened() as api:
        for row in api.all("/bank-lines", state=state):
            print(
                f"{row['line_id']}  {row['booked_on']}  {row['age_days']:>3} days  {_money(row['amount']):>16}  "
                f"{row['party']}  {row['remittance']}"
            )


@payments_app.command()
def match(line_id: str, account_id: str) -> None:
    """Book a bank line as a payment of a customer's account."""
    with opened() as api:
        print(f"payment {api.post(f'/bank-lines/{line_id}/match', {'account_id': account_id})['subject']}")


@payments_app.command()
def book(line_id: str, code: Annotated[str, typer.Argument(help="Account of the ledger.")], reason: Reason) -> None:
    """Book a bank line that is no customer's to an account of the ledger."""
    with opened() as api:
        api.post(f"/bank-lines/{line_id}/book", {"code": code, "reason": reason})
        print(f"booked to {code}")


@payments_app.command()
def unmatch(line_id: str, reason: Reason) -> None:
    """Take back that a bank line was a customer's payment."""
    with opened() as api:
        api.post(f"/bank-lines/{line_id}/unmatch", {"reason": reason})
        print("open again")


@payments_app.command()
def collect(iban: Iban, collect_on: Day, output: Output = None) -> None:
    """Make a direct debit file (pain.008) of what is due by a day."""
    with opened() as api:
        made = api.post("/direct-debits", {"bank_account_id": _account(api, iban), "collect_on": collect_on})
        print(f"{made['collection_id']}  {made['items']} invoices, {_money(made['total'])}")
        _write(api, f"/direct-debits/{made['collection_id']}/file", output)


@payments_app.command()
def send(collection_id: str) -> None:
    """Say that a direct debit file went to the bank: its payments are booked."""
    with opened() as api:
        print(api.post(f"/direct-debits/{collection_id}/send")["state"])


@payments_app.command()
def drop(collection_id: str, reason: Reason) -> None:
    """Give up a direct debit file that was not sent."""
    with opened() as api:
        print(api.post(f"/direct-debits/{collection_id}/drop", {"reason": reason})["state"])


@payments_app.command()
def refund(
    payment_id: str,
    amount: Amount,
    way: Literal["gateway", "bank", "cash"],
    reason: Reason,
    creditor: Annotated[str, typer.Option(help="Holder of the account, by bank.")] = "",
    iban: Annotated[str, typer.Option(help="By bank.")] = "",
    currency: Currency = "EUR",
) -> None:
    """Ask for a refund of what is unapplied, or covered by a credit note."""
    body = {
        "payment_id": payment_id, "amount": amount_of(amount, currency), "way": way, "reason": reason,
        "creditor": creditor, "iban": iban,
    }  # fmt: skip
    with opened() as api:
        print(api.post("/refunds", body)["refund_id"])


@payments_app.command()
def approve(refund_id: str) -> None:
    """Approve a refund; by gateway it is sent at once."""
    with opened() as api:
        print(api.post(f"/refunds/{refund_id}/approve")["state"])


@payments_app.command()
def refuse(refund_id: str, reason: Reason) -> None:
    """Refuse a refund that was not sent."""
    with opened() as api:
        print(api.post(f"/refunds/{refund_id}/refuse", {"reason": reason})["state"])


@payments_app.command()
def transfer(iban: Iban, execute_on: Day, output: Output = None) -> None:
    """Make a credit transfer file (pain.001) of every approved refund by bank."""
    with opened() as api:
        body = {"bank_account_id": _account(api, iban), "execute_on": execute_on}
        made = api.post("/refund-transfers", body)
        file_id = made["file_id"]
        print(file_id)
        for refund_id in made["refused"]:
            print(f"refused, its money is gone: refund {refund_id}")
        _write(api, f"/refund-transfers/{file_id}/file", output)


@payments_app.command()
def gateway(
    name: Annotated[str, typer.Argument(help="Such as stripe.")],
    webhook_secret: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="HEADEND_WEBHOOK_SECRET")],
    api_key: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="HEADEND_GATEWAY_KEY")],
    entity: Whose = "",
) -> None:
    """Add a payment gateway or roll its secrets; they are asked for, or taken from the environment."""
    secrets = {"webhook_secret": webhook_secret, "api_key": api_key}
    with opened() as api:
        made = api.put(f"/payment-gateways/{name}", secrets | of_entity(api, entity))
        print(f"{made['name']}: events go to /api/v1/payment-gateways/{name}/webhook")


@payments_app.command()
def gateways() -> None:
    """Payment gateways; their secrets are never told."""
    with opened() as api:
        for row in api.get("/payment-gateways")["gateways"]:
            asked = "can be asked" if row["can_be_asked"] else "tells events only"
            print(f"{row['name']}  {row['kind']} at {row['api_base']}, {asked}, changed {row['updated_at']}")


@payments_app.command()
def events(
    state: Annotated[
        Literal["received", "booked", "waiting", "unknown", "stale", "failed"] | None, typer.Option(help="Which.")
    ] = None,
) -> None:
    """What gateways told and what became of it, newest first."""
    query = {"state": state} if state else {}
    with opened() as api:
        for row in api.all("/payment-events", **query):
            print(f"{row['event_key']:>8}  {row['state']:<8}  {row['type']}  {row['provider_id']}  {row['detail']}")


@payments_app.command()
def payouts() -> None:
    """What gateways sent to our bank, whether it arrived, and whether its transactions make it."""
    with opened() as api:
        for row in api.get("/payouts")["payouts"]:
            print(
                f"{row['arrival_on']}  {row['payout_id']}  {_money(row['amount'])}  {row['state']}  {row['checked']}  "
                f"{row['detail']}"
            )


@payments_app.command()
def retry(event_key: int) -> None:
    """Handle an event again that failed or waits."""
    with opened() as api:
        found = api.post(f"/payment-events/{event_key}/retry")
        print(f"{found['state']}: {found['detail']}")


@payments_app.command()
def unknown() -> None:
    """Card payments that nobody is known to have made."""
    with opened() as api:
        for row in api.all("/unknown-card-payments"):
            print(f"{row['gateway']}  {row['intent_id']}  {_money(row['amount'])}  {row['paid_at']}  {row['payer']}")


@payments_app.command()
def assign(gateway: str, intent_id: str, account_id: str) -> None:
    """Say whose a card payment was."""
    with opened() as api:
        found = api.post(f"/unknown-card-payments/{gateway}/{intent_id}/assign", {"account_id": account_id})
        print(f"payment {found['payment_id']}")


@payments_app.command("shift-open")
def shift_open(till: str, counted: Amount, reason: str = "") -> None:
    """Open a shift of a till with what is counted."""
    with opened() as api:
        desk = _till(api, till)
        body = {"counted": amount_of(counted, desk["holds"]["currency"]), "reason": reason}
        print(api.post(f"/tills/{desk['till_id']}/shifts", body)["shift_id"])


@payments_app.command()
def cash(till: str, account_id: str, amount: Amount) -> None:
    """Take cash of a customer; prints the number of the receipt."""
    with opened() as api:
        desk = _till(api, till)
        body = {
            "account_id": account_id, "amount": amount_of(amount, desk["holds"]["currency"]),
            "request": secrets.token_hex(8),
        }  # fmt: skip
        print(api.post(f"/shifts/{desk['shift_id']}/payments", body)["number"])


@payments_app.command("shift-close")
def shift_close(till: str, counted: Amount, reason: str = "") -> None:
    """Close the shift of a till with what is counted."""
    with opened() as api:
        desk = _till(api, till)
        body = {"counted": amount_of(counted, desk["holds"]["currency"]), "reason": reason}
        closed = api.post(f"/shifts/{desk['shift_id']}/close", body)
        print(f"difference: {_money(closed['difference'])}")


def _till(api: Remote, name: str) -> Json:
    for row in api.get("/tills")["tills"]:
        if row["name"] == name:
            return dict(row)
    raise RuleError(f"no till is called {name}")


def _account(api: Remote, iban: str) -> str:
    wanted = iban.replace(" ", "").upper()
    for row in api.get("/bank-accounts")["accounts"]:
        if row["iban"] == wanted:
            return str(row["bank_account_id"])
    raise RuleError(f"{wanted} is no bank account of ours")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RuleError(f"{file}: {error.strerror}") from None


def _write(api: Remote, path: str, output: Path | None) -> None:
    if output is not None:
        output.write_text("".join(api.text(path)), encoding="utf-8")
        print(f"written to {output}")


def amount_of(amount: str, currency: str) -> Json:
    """As the API takes it."""
    return {"amount": amount, "currency": currency}


def _money(amount: Mapping[str, Any]) -> str:
    return f"{amount['amount']} {amount['currency']}"

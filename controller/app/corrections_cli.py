"""`headend finance credit|void|adjust|…` and `headend tax …`: corrections, four eyes, rates, places and levies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.app.entity_cli import Whose, of_entity
from controller.app.finance_cli import connected, finance_app, money, table

tax_app = typer.Typer(no_args_is_help=True, help="Rates, exemptions, tax areas and levies of a running controller.")

Document = Annotated[str, typer.Argument(help="Id of an invoice.")]
Account = Annotated[str, typer.Argument(help="Id of a billing account.")]
Reason = Annotated[str, typer.Option(help="Printed on the document and kept in the audit log.")]
Reference = Annotated[str, typer.Option(help="The same again is the same document.")]
Proposed = Annotated[str, typer.Argument(help="Id of a proposed entry.")]
SinceDay = Annotated[str, typer.Option(help="The first day it holds, such as 2027-01-01.")]


@finance_app.command()
def creditable(invoice: Document) -> None:
    """What of each line of a document may still be credited."""
    with connected() as api:
        lines = api.get(f"/invoices/{invoice}/creditable")["lines"]
    rows = [(str(x["position"]), x["line_id"], x["item"], money(x["net"]), money(x["left"])) for x in lines]
    table(("#", "line", "item", "net", "left"), rows, left=3)


@finance_app.command()
def credit(
    invoice: Document,
    line: Annotated[list[str], typer.Argument(help="LINE_ID=NET, or LINE_ID alone for all that is left of it.")],
    reason: Reason,
    reference: Reference,
) -> None:
    """Credit lines of a document, or take back those of a credit note; never more than they say."""
    wanted = []
    for one in line:
        line_id, _, net = one.partition("=")
        wanted.append({"line_id": line_id, "net": net} if net else {"line_id": line_id})
    with connected() as api:
        body = {"reason": reason, "reference": reference, "lines": wanted}
        _print_document(api.post(f"/invoices/{invoice}/credit-notes", body))


@finance_app.command()
def void(invoice: Document, reason: Reason) -> None:
    """Take back all that is left of a document, by a credit note; of a credit note by a debit note."""
    with connected() as api:
        _print_document(api.post(f"/invoices/{invoice}/void", {"reason": reason}))


@finance_app.command()
def adjust(
    account: Account,
    amount: Annotated[str, typer.Argument(help="Charged; negative is given. Put -- before a negative amount.")],
    item: Annotated[str, typer.Option(help="As the document calls it.")],
    reason: Reason,
    reference: Reference,
    tax_percent: Annotated[str, typer.Option(help="Rate.")] = "19",
    tax_included: Annotated[bool, typer.Option(help="The tax is in the amount.")] = False,
    currency: Annotated[str, typer.Option(help="That of the account.")] = "EUR",
) -> None:
    """Charge or give something that belongs to no offering, by a document of its own."""
    body = {
        "account_id": account,
        "net": {"amount": amount, "currency": currency},
        "tax_percent": tax_percent,
        "tax_included": tax_included,
        "item": item,
        "reason": reason,
        "reference": reference,
    }
    with connected() as api:
        _print_document(api.post("/adjustments", body))


@finance_app.command("waiting-adjustments")
def waiting_adjustments() -> None:
    """Late fees and the like that wait for the tax service to answer."""
    with connected() as api:
        found = api.get("/adjustments/waiting")["adjustments"]
    rows = [
        (a["account_id"], a["reference"], a["item"], a["noted_at"], money(a["net"]), str(a["attempts"]), a["detail"])
        for a in found
    ]
    table(("account", "reference", "what", "since", "net", "tries", "the last came to"), rows, left=4)


@finance_app.command("try-adjustments")
def try_adjustments() -> None:
    """Ask the tax service now for the adjustments that wait."""
    with connected() as api:
        told = api.post("/adjustments/waiting/try")
    print(f"{told['issued']} issued, {told['waiting']} wait")


@finance_app.command("withdraw-adjustment")
def withdraw_adjustment(
    account: Account,
    reference: Annotated[str, typer.Argument(help="As waiting-adjustments tells it.")],
    reason: Annotated[str, typer.Option(help="For the audit log.")],
) -> None:
    """Issue an adjustment that waits no more."""
    with connected() as api:
        body = {"account_id": account, "reference": reference, "reason": reason}
        made = api.post("/adjustments/waiting/withdraw", body)
    print(f"{made['item']} of {money(made['net'])} is withdrawn")


@finance_app.command()
def proposals(state: Annotated[str, typer.Option(help="waiting, posted or refused.")] = "waiting") -> None:
    """Entries by hand that were proposed."""
    with connected() as api:
        found = list(api.all("/entry-proposals", **({"state": state} if state else {})))
    rows = [(p["proposal_id"], p["state"], p["actor"], p["description"]) for p in found]
    table(("proposal", "state", "by", "what"), rows, left=4)


@finance_app.command()
def approve(proposal: Proposed) -> None:
    """Post a proposed entry; somebody else than who proposed it."""
    with connected() as api:
        made = api.post(f"/entry-proposals/{proposal}/approve", {})
    print(f"{made['proposal_id']} {made['state']}: entry {made['entry_id']}")


@finance_app.command()
def refuse(proposal: Proposed, reason: Reason) -> None:
    """Refuse or withdraw a proposed entry."""
    with connected() as api:
        made = api.post(f"/entry-proposals/{proposal}/refuse", {"reason": reason})
    print(f"{made['proposal_id']} {made['state']}")


@tax_app.command()
def rates(entity: Whose = "") -> None:
    """At what each class of tax is taxed, where and since when."""
    with connected() as api:
        found = api.get("/tax-rates", **of_entity(api, entity))["rates"]
    rows = [(r["agreed"], r["area"] or "everywhere", r["since"], r["percent"]) for r in found]
    table(("class", "area", "since", "percent"), rows, left=3)


@tax_app.command()
def rate(
    agreed: Annotated[str, typer.Argument(help="The class: the percent that offerings agree.")],
    percent: Annotated[str, typer.Argument(help="At what it is taxed from then on.")],
    since: SinceDay,
    area: Annotated[str, typer.Option(help="Only there, such as ES-CN.")] = "",
    entity: Whose = "",
) -> None:
    """A class of tax changes on a day."""
    body = {"agreed": agreed, "percent": percent, "since": since} | ({"area": area} if area else {})
    with connected() as api:
        made = api.post("/tax-rates", body | of_entity(api, entity))
    print(f"{made['agreed']} % is {made['percent']} % since {made['since']}")


@tax_app.command()
def place(
    account: Account, area: Annotated[str, typer.Argument(help="Such as US-TX-Austin.")], since: SinceDay
) -> None:
    """An account is in a tax area from a day on."""
    with connected() as api:
        made = api.post("/tax-places", {"account_id": account, "area": area, "since": since})
    print(f"{account} is in {made['area']} since {made['since']}")


@tax_app.command()
def places(account: Account) -> None:
    """In which tax areas an account is, and since when."""
    with connected() as api:
        found = api.get(f"/tax-places/{account}")["places"]
    table(("area", "since"), [(row["area"], row["since"]) for row in found], left=2)


@tax_app.command()
def exemptions(account: Account) -> None:
    """The certificates of an account."""
    with connected() as api:
        found = api.get(f"/tax-exemptions/{account}")["exemptions"]
    rows = [(e["first_on"], e["until_on"], e["category"], e["code"], e["reason"]) for e in found]
    table(("from", "until", "category", "code", "reason"), rows, left=5)


@tax_app.command()
def exempt(
    account: Account,
    first: Annotated[str, typer.Option(help="The first day, as the certificate says.")],
    until: Annotated[str, typer.Option(help="The first day on which it no longer holds.")],
    reason: Annotated[str, typer.Option(help="Printed on documents and in e-invoices.")],
    category: Annotated[str, typer.Option(help="E exempt, AE reverse charge, K, G or O.")] = "E",
    code: Annotated[str, typer.Option(help="Of the VATEX list.")] = "",
) -> None:
    """An account is exempt from tax for some days."""
    body = {
        "account_id": account, "first_on": first, "until_on": until, "reason": reason, "category": category,
        "code": code,
    }  # fmt: skip
    with connected() as api:
        made = api.post("/tax-exemptions", body)
    print(f"{account} is exempt from {made['first_on']} until {made['until_on']}")


@tax_app.command()
def levies(entity: Whose = "") -> None:
    """Communications taxes of the built-in table."""
    with connected() as api:
        found = api.get("/levy-rules", **of_entity(api, entity))["rules"]
    rows = [(r["code"], r["area"] or "everywhere", r["since"], r["rate"], " ".join(r["upon"])) for r in found]
    table(("levy", "area", "since", "rate", "also upon"), rows, left=5)


@tax_app.command()
def levy(
    code: Annotated[str, typer.Argument(help="Short, such as fusf.")],
    name: Annotated[str, typer.Argument(help="As documents print it.")],
    since: SinceDay,
    percent: Annotated[str, typer.Option(help="Of the amount.")] = "0",
    per_line: Annotated[str, typer.Option(help="For each line provided, in major units.")] = "0",
    area: Annotated[str, typer.Option(help="Where it holds, with all that is narrower.")] = "",
    authority: Annotated[str, typer.Option(help="To whom it is paid.")] = "",
    kind: Annotated[list[str] | None, typer.Option(help="Kinds of product; none is all.")] = None,
    upon: Annotated[list[str] | None, typer.Option(help="Levies that it is levied on, too.")] = None,
    entity: Whose = "",
) -> None:
    """A communications tax begins or changes on a day."""
    body: dict[str, Any] = {"code": code, "name": name, "since": since, "percent": percent, "per_line": per_line}
    body |= {"authority": authority, "kinds": kind or [], "upon": upon or []} | ({"area": area} if area else {})
    with connected() as api:
        made = api.post("/levy-rules", body | of_entity(api, entity))
    print(f"{made['code']}: {made['rate']} since {made['since']}")


def _print_document(made: dict[str, Any]) -> None:
    print(f"{made['invoice_id']} {made['number']}: {money(made['total'])}")

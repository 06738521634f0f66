"""`headend billing …`: bill runs of a running controller over its API, and certificates without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.app.remote import Remote, opened
from controller.domain.errors import RuleError

billing_app = typer.Typer(no_args_is_help=True, help="Bill runs: start, preview, watch, hold, release, certificates.")

RunId = Annotated[str, typer.Argument(help="Id of the bill run.")]
Account = Annotated[str, typer.Option(help="Id of an account; else the whole run.")]
Reason = Annotated[str, typer.Option(help="Goes into the audit log.")]


@billing_app.command()
def run(
    as_of: Annotated[str, typer.Option(help="An instant such as 2026-12-01T06:00:00Z; else now.")] = "",
    account: Annotated[str, typer.Option(help="Id of the one account to bill.")] = "",
    dry: Annotated[bool, typer.Option("--dry", help="Only show what it would come to.")] = False,
    preview: Annotated[str, typer.Option(help="Id of the dry run that this one is compared with.")] = "",
    hold_changed: Annotated[bool, typer.Option("--hold-changed", help="Let wait what differs from it.")] = False,
    hold: Annotated[str, typer.Option(help="Why it shall wait before its first document.")] = "",
) -> None:
    """Start a bill run and watch it. Exit status 1 when it fails."""
    body: dict[str, Any] = {"dry": dry, "hold_changed": hold_changed, "hold": hold}
    body |= {k: v for k, v in {"as_of": as_of, "account_id": account, "preview_id": preview}.items() if v}
    with opened() as api:
        made = api.post("/bill-runs", body)
        print(made["bill_run_id"])
        _watched(api, made["bill_run_id"])


@billing_app.command()
def watch(run_id: RunId) -> None:
    """Watch a bill run until it stands still. Exit status 1 when it failed."""
    with opened() as api:
        _watched(api, run_id)


@billing_app.command()
def runs() -> None:
    """The newest bill runs."""
    with opened() as api:
        for row in api.get("/bill-runs")["items"]:
            what = "dry run" if row["dry"] else "run"
            print(f"{row['bill_run_id']}  {row['created_at']}  {what} {row['state']}, {row['documents']} documents")


@billing_app.command()
def differences(run_id: RunId) -> None:
    """How a run differs from its preview, by account. Exit status 1 when it does."""
    found = False
    with opened() as api:
        for row in api.all(f"/bill-runs/{run_id}/differences"):
            found = True
            print(f"{row['account_id']}: {_money(row['shown'])} → {_money(row['now'])}")
            for change in row["changes"]:
                print(f"    {change['where']}: {change['shown']} → {change['now']}")
    if not found:
        print("Every account is billed what the preview showed.")
    sys.exit(1 if found else 0)


@billing_app.command("rated-again")
def rated_again(run_id: RunId) -> None:
    """Who waited, was let go and rated again: by whom and why, and what has changed until it left."""
    with opened() as api:
        for row in api.all(f"/bill-runs/{run_id}/rated-again"):
            by = f"released by {row['released_by']}: {row['release_reason']}"
            print(f"{row['account_id']}  {row['rated_at']}  {row['outcome']}  {by}")
            for document in row["documents"]:
                print(f"    {_money(document['shown'])} → {_money(document['now'])}")
                for change in document["changes"]:
                    print(f"    {change['where']}: {change['shown']} → {change['now']}")


@billing_app.command()
def hold(run_id: RunId, reason: Reason, account: Account = "") -> None:
    """Let an account of a run, or all of it, wait before its next document."""
    with opened() as api:
        api.post(f"/bill-runs/{run_id}/hold", {"account_id": account or None, "reason": reason})


@billing_app.command()
def release(
    run_id: RunId,
    reason: Reason,
    account: Account = "",
    source: Annotated[str, typer.Option(help="Whose hold: person, preview or proof.")] = "person",
) -> None:
    """End a hold and watch what waited for it being issued."""
    with opened() as api:
        api.post(f"/bill-runs/{run_id}/release", {"account_id": account or None, "reason": reason, "source": source})
        _watched(api, run_id)


@billing_app.command()
def certificate(run_id: RunId) -> None:
    """Write the newest certificate of a run to standard output."""
    with opened() as api:
        found = api.get(f"/bill-runs/{run_id}/certificates")["certificates"]
    if not found:
        print("This run has no certificate.", file=sys.stderr)
        sys.exit(1)
    sys.stdout.write(found[-1])


@billing_app.command("certificate-key")
def certificate_key() -> None:
    """Print the public key that certificates are checked with: hand it to whoever shall check them."""
    with opened() as api:
        print(api.get("/bill-run-certificate-key")["public_key"])


@billing_app.command("verify-certificate")
def verify_certificate(
    file: Annotated[Path, typer.Argument(help="The certificate.", exists=True, dir_okay=False)],
    key: Annotated[str, typer.Option(help="The public key that was handed out; else the one in the file.")] = "",
) -> None:
    """Check the signature of a certificate and print what it proves, without a controller. Exit status 1: it is bad."""
    from controller.workflows import certificate as certificates
    from controller.workflows.certificate_text import render

    try:
        content, key_id = certificates.read(file.read_text(), public_key=key)
    except (RuleError, UnicodeDecodeError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        sys.exit(1)
    print(render(content))
    print(f"The signature of key {key_id} holds.")
    if not key:
        print("Whose key that is, this does not show: compare it with the one that was handed out (--key).")
    sys.exit(0 if all(check["holds"] for check in content["checks"]) else 1)


@billing_app.command("mrr")
def recurring_revenue(
    since: Annotated[str, typer.Option(help="The first day, such as 2026-12-01; else that of this month.")] = "",
    until: Annotated[str, typer.Option(help="The last day; else today.")] = "",
    movements: Annotated[bool, typer.Option("--movements", help="Line by line, what moved.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Line by line, whose fees the last day closes with.")] = False,
) -> None:
    """Monthly recurring revenue by the day: opening, what moved, closing. Prints how it is defined."""
    days = {name: day for name, day in (("since", since), ("until", until)) if day}
    with opened() as api:
        if lines:
            for row in api.all("/recurring-revenue/lines", **({"on": until} if until else {})):
                what = f"{row['quantity']} × {row['offering']}"
                print(f"{row['account_id']}  {row['subscription_id']}  {_money(row['value'])}  {what}")
            return
        if movements:
            for row in api.all("/recurring-revenue/movements", **days):
                what = f"{row['before'] or 'nothing'} → {row['after'] or 'nothing'}"
                print(f"{row['on']}  {row['kind']:12}  {_money(row['amount']):>14}  {row['subscription_id']}  {what}")
            return
        found = api.get("/recurring-revenue", **days)
    kinds = ("opening", "new", "expansion", "contraction", "churn", "reactivation", "closing")
    for currency in found["currencies"]:
        print(f"{currency['currency']:10}" + "".join(f"{kind:>14}" for kind in kinds))
        for day in currency["days"]:
            if day is currency["days"][-1] or any(float(day[kind]["amount"]) for kind in kinds[1:-1]):
                print(f"{day['on']}" + "".join(f"{day[kind]['amount']:>14}" for kind in kinds))
        total = currency["total"]
        print(f"{'in all':10}" + "".join(f"{total[kind]['amount']:>14}" for kind in kinds))
    print(found["definition"])


def _watched(api: Remote, run_id: str) -> None:
    """One line that changes on a terminal, and a line for every change of phase elsewhere."""
    told = ""
    row: dict[str, Any] = {"state": "failed", "charges": 0, "documents": 0, "error": "the stream ended early"}
    for _, row in api.events(f"/bill-runs/{run_id}/stream"):
        if sys.stdout.isatty():
            print(f"\r\x1b[K{_line(row)}", end="", flush=True)
        elif row["progress"]["phase"] != told:
            print(_line(row), flush=True)
        told = row["progress"]["phase"]
    ended = f"{row['state']}: {row['charges']} charges, {row['documents']} documents"
    print(f"\n{ended}" if sys.stdout.isatty() else ended)
    if row["error"]:
        print(row["error"], file=sys.stderr)
    sys.exit(1 if row["state"] == "failed" else 0)


def _line(row: dict[str, Any]) -> str:
    progress = row["progress"]
    text = f"{progress['done'] * 100:5.1f} %  {progress['phase']}"
    if progress["accounts_per_s"]:
        left = int(progress["left_s"] or 0)
        text += f", {progress['accounts_per_s']:.0f} accounts/s, {left // 60}:{left % 60:02d} left"
    return text + (f", waits for {row['waiting_for']}" if row["waiting_for"] else "")


def _money(found: dict[str, str] | None) -> str:
    return f"{found['amount']} {found['currency']}" if found else "nothing"

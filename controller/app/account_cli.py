"""`headend account …` and `headend rerate`: an account's days, pauses, family and anchor, and a month rated again.

All of it asks a running controller over its API, with the caller's token.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any

import typer

from controller.app.catalogue_cli import money, offering_of
from controller.app.remote import opened
from controller.domain.errors import RuleError

account_app = typer.Typer(no_args_is_help=True, help="Accounts: what they are entitled to, pauses, families.")

Account = Annotated[str, typer.Argument(help="Id of a billing account.")]
Day = Annotated[str, typer.Option(help="Such as 2026-12-31.")]


@account_app.command()
def timeline(account: Account, since: Day = "", until: Day = "") -> None:
    """What the account is entitled to, day by day."""
    first = since or (date.today() - timedelta(days=92)).isoformat()  # noqa: DTZ011 - the caller's own day
    last = until or (date.fromisoformat(first) + timedelta(days=184)).isoformat()
    with opened() as api:
        found = api.get(f"/accounts/{account}/entitlements", since_on=first, until_on=last)
    for row in found["subscriptions"]:
        print(f"subscription {row['subscription_id']}  service {row['service_id']}  anchor {row['anchor_day']}")
        for each in row["stretches"]:
            paused = f"  paused at {each['percent']} %" if each["percent"] != 100 else ""
            print(
                f"    {each['first_on']} until {each['until_on']}  {each['quantity']} × {each['offering_name']} "
                f"version {each['number']}  {each['fee']} {each['currency']} a {each['cycle']}{paused}"
            )


@account_app.command()
def anchor(
    account: Account,
    day: Annotated[int, typer.Argument(help="1 to 31, or 0 for the first day.")],
    existing: Annotated[bool, typer.Option("--existing", help="Those that there are, too.")] = False,
) -> None:
    """From which day of the month later subscriptions of the account are billed."""
    with opened() as api:
        found = api.put(f"/accounts/{account}/anchor-day", {"anchor_day": day, "existing": existing})
    print(f"later subscriptions of {found['account_id']} are billed from day {found['anchor_day'] or 'of their begin'}")
    for row in found["changed"]:
        print(f"subscription {row['subscription_id']}: from {row['from_on']} on, the days until then by their share")


@account_app.command("usage-link")
def usage_link(account: Account, days: Annotated[int, typer.Option(help="How long it opens.")] = 90) -> None:
    """Make a link by which the customer sees the account's usage; it is shown this once."""
    with opened() as api:
        made = api.post(f"/accounts/{account}/usage-links", {"days": days})
    print(f"{api.url}{made['path']}\nopens until {made['expires_at']}; link {made['link_id']}")


@account_app.command("withdraw-usage-link")
def withdraw_usage_link(link: Annotated[str, typer.Argument(help="Its id, as it was told.")]) -> None:
    """The link opens nothing any more."""
    with opened() as api:
        found = api.post(f"/usage-links/{link}/withdraw", {})
    print(f"link {found['link_id']} of account {found['account_id']} is withdrawn since {found['withdrawn_at']}")


@account_app.command("contract-notices")
def contract_notices(
    state: Annotated[str, typer.Option(help="waiting, sent, withdrawn or uncertain; all without one.")] = "",
) -> None:
    """What customers were told before their contracts end or renew."""
    with opened() as api:
        for row in api.all("/contract-notices", **({"state": state} if state else {})):
            print(
                f"{row['notice_id']}  {row['state']:<9}  {row['subject']}  ends {row['ends_on']}  "
                f"{row['recipient'] or 'no address'}  {row['words'] or ''}"
            )


@account_app.command("decide-contract-notice")
def decide_contract_notice(
    notice_id: Annotated[str, typer.Argument(help="Of an uncertain notice.")],
    reason: Annotated[str, typer.Option(help="For the audit log.")],
    arrived: Annotated[bool, typer.Option(help="Whether the customer was told; else it is sent again.")] = True,
) -> None:
    """Say what became of an uncertain notice."""
    with opened() as api:
        body = {"arrived": arrived, "reason": reason}
        print(api.post(f"/contract-notices/{notice_id}/decide", body)["state"])


@account_app.command()
def pause(
    subscription: Annotated[str, typer.Argument(help="Id of a line's subscription.")],
    first: Annotated[str, typer.Option(help="The first day of the pause.")],
    until: Annotated[str, typer.Option(help="The first day without it; else until further notice.")] = "",
    percent: Annotated[int, typer.Option(help="Of the fees that go on.")] = 0,
    kind: Annotated[str, typer.Option(help="seasonal or suspension.")] = "seasonal",
    reason: Annotated[str, typer.Option(help="Kept with it.")] = "",
) -> None:
    """Pause a line by the day."""
    body: dict[str, Any] = {"kind": kind, "first_on": first, "percent": percent, "reason": reason}
    if until:
        body["until_on"] = until
    with opened() as api:
        _print_pause(api.post(f"/subscriptions/{subscription}/pauses", body))


@account_app.command()
def pauses(account: Account) -> None:
    """The pauses of an account's lines."""
    with opened() as api:
        for row in api.all("/pauses", account_id=account):
            _print_pause(row)


@account_app.command()
def resume(
    pause_id: Annotated[str, typer.Argument(help="Id of a pause.")],
    on: Annotated[str, typer.Option(help="The first day in use again; else today.")] = "",
) -> None:
    """End a pause, or move its end; before its first day it is called off."""
    with opened() as api:
        _print_pause(api.post(f"/pauses/{pause_id}/end", {"on": on} if on else {}))


@account_app.command()
def parent(
    account: Account,
    of: Annotated[str, typer.Argument(help="Id of the account it belongs to, or - for nobody.")],
    since: Day = "",
    own_bill: Annotated[bool, typer.Option("--own-bill", help="It is billed for itself.")] = False,
    heading: Annotated[str, typer.Option(help="Above its lines on the parent's document.")] = "",
    blocked_with_parent: Annotated[bool, typer.Option(help="Arrears of the parent may cut it off.")] = False,
) -> None:
    """Let an account belong to another."""
    body: dict[str, Any] = {
        "parent_id": None if of == "-" else of,
        "billed_to_parent": not own_bill,
        "heading": heading,
        "blocked_with_parent": blocked_with_parent,
    }
    if since:
        body["since"] = since
    with opened() as api:
        made = api.put(f"/accounts/{account}/parent", body)
    print(f"{made['account_id']} belongs to {made['parent_id'] or 'nobody'} from {made['since']}")


@account_app.command()
def children(account: Account) -> None:
    """Accounts that belong to the account today."""
    with opened() as api:
        for row in api.all(f"/accounts/{account}/children"):
            pays = "billed to the parent" if row["billed_to_parent"] else "billed for itself"
            print(f"{row['account_id']}  {row['name']:<30} {row['heading']:<30} since {row['since']}, {pays}")


def rerate(
    period: Annotated[str, typer.Option(help="The month in which the periods began, such as 2026-05.")],
    plan: Annotated[str, typer.Option(help="Id or name of an offering.")],
    version: Annotated[int, typer.Option(help="Number of the version whose price was wrong.")] = 0,
    priced_as: Annotated[int, typer.Option(help="Number of the version that has the right one.")] = 0,
    reason: Annotated[str, typer.Option(help="Kept with it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would change, and change nothing.")] = False,
) -> None:
    """Rate a month again after a correction, and issue the differences as credit and debit notes."""
    with opened() as api:
        offering = offering_of(api, plan)
        body: dict[str, Any] = {
            "offering_id": offering["offering_id"],
            "period": period,
            "reason": reason,
            "dry_run": dry_run,
        }
        if version or priced_as:
            numbers = {v["number"]: v["version_id"] for v in offering["versions"]}
            for name, number in (("version_id", version), ("priced_as", priced_as)):
                if number not in numbers:
                    raise RuleError(f"{offering['name']} has no version {number}; name both --version and --priced-as")
                body[name] = numbers[number]
        found = api.post("/reratings", body)
    for delta in found["deltas"]:
        print(
            f"account {delta['account_id']}  {delta['first_on']} until {delta['until_on']}  "
            f"{money(delta['net']):>14}  {delta['description']}"
        )
    if found["lines"] > len(found["deltas"]):
        print(f"… and {found['lines'] - len(found['deltas'])} more")
    sums = [*(f"charge {money(m)}" for m in found["charged"]), *(f"credit {money(m)}" for m in found["credited"])]
    print(f"{found['lines']} lines of {found['subscriptions']} subscriptions: {', '.join(sums) or 'nothing changes'}")
    if found["bill_run_id"]:
        print(f"issued by bill run {found['bill_run_id']}")


def reratings() -> None:
    """What was rated again, newest first: by whom and why."""
    with opened() as api:
        for row in api.all("/reratings"):
            priced = f", {row['version_id']} priced as {row['priced_as']}" if row["version_id"] else ""
            print(
                f"{row['at']}  {row['actor']}  offering {row['offering_id']}, {row['first_on'][:7]}{priced}: "
                f"{row['reason']}"
            )


def _print_pause(row: dict[str, Any]) -> None:
    until = row["until_on"] or "further notice"
    off = f", out of use since {row['off_since']}" if row["off_since"] else ""
    days = f"{row['first_on']} until {until} at {row['percent']} % of the fees{off}"
    print(f"{row['pause_id']}  {row['kind']} {row['state']}: {days}  {row['reason']}".rstrip())

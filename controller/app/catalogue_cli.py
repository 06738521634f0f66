"""`headend catalogue …`: what is sold at which price, a new version, and a trial of it on last month's usage.

All of it asks a running controller over its API, with the caller's token. A version is a JSON file as the API takes it
(docs/catalogue.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.app.remote import Remote, opened
from controller.domain.errors import RuleError

catalogue_app = typer.Typer(no_args_is_help=True, help="What is sold, at which price, on a running controller.")

Offering = Annotated[str, typer.Argument(help="Id or name of an offering.")]
File = Annotated[Path, typer.Argument(help="JSON of a version: effective_on, tax_percent, prices …")]


@catalogue_app.command("list")
def show_all() -> None:
    """Every offering with its latest version."""
    with opened() as api:
        for row in api.all("/offerings"):
            latest = row["versions"][-1]
            fee = latest["monthly_fee"]
            print(
                f"{row['offering_id']}  {row['kind']:<12} {row['name']:<30} version {latest['number']} from "
                f"{latest['effective_on']}  {fee['amount']} {fee['currency']}  {latest['beyond']}"
            )


On = Annotated[str, typer.Option(help="Only what somebody new gets on that day, in each currency: 2026-11-01.")]


@catalogue_app.command()
def show(offering: Offering, on: On = "") -> None:
    """Every version of one offering, with its prices."""
    with opened() as api:
        row = offering_of(api, offering)
        if on:
            row = row | {"versions": api.get(f"/offerings/{row['offering_id']}/prices", on=on)["versions"]}
    print(f"{row['name']} ({row['kind']})  {row['description']}")
    for version in row["versions"]:
        used = "in use" if version["used_at"] else "not sold yet"
        print(f"version {version['number']} from {version['effective_on']}  {version['version_id']}  {used}")
        for price in version["prices"]:
            print(f"    {price['code']:<16} {price['text']}")
        if version["contract_text"]:
            print(f"    contract         {version['contract_text']}")


@catalogue_app.command("try")
def try_out(offering: Offering, file: File) -> None:
    """What the version would have come to on last month's usage. Writes nothing."""
    with opened() as api:  # a refusal of ours, too, becomes one line
        body = _read(file)
        found = api.post(f"/offerings/{offering_of(api, offering)['offering_id']}/price-trial", body)
    print(
        f"{found['subscriptions']} subscriptions: {found['dearer']} pay more, {found['cheaper']} less, {found['same']} "
        f"the same; {money(found['before'])} becomes {money(found['after'])} ({money(found['difference'])})"
    )
    for price in found["prices"]:
        print(f"    {price['code']:<16} {money(price['before']):>18} → {money(price['after']):>18}")
    for effect in found["most"]:
        print(
            f"    subscription {effect['subscription_id']}  {money(effect['before'])} → {money(effect['after'])} "
            f"({money(effect['difference'])})"
        )


@catalogue_app.command()
def add(offering: Offering, file: File) -> None:
    """Add the version. Who has an older one keeps it."""
    with opened() as api:
        body = _read(file)
        made = api.post(f"/offerings/{offering_of(api, offering)['offering_id']}/versions", body)
    version = made["versions"][-1]
    print(f"{made['name']}: version {version['number']} from {version['effective_on']}  {version['version_id']}")


def offering_of(api: Remote, wanted: str) -> dict[str, Any]:
    """By id or name. Raises RuleError."""
    rows = [row for row in api.all("/offerings") if wanted in (row["offering_id"], row["name"])]
    if not rows:
        raise RuleError(f"no offering {wanted!r}; headend catalogue list shows them")
    return rows[0]


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RuleError(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise RuleError(f"{file} is no JSON object")
    return found


def money(amount: dict[str, str]) -> str:
    """An amount as the API tells it, for people."""
    return f"{amount['amount']} {amount['currency']}"

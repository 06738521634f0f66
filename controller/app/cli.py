"""The command `headend`: serve, migrate, first users, and questions to the data on this machine."""

from __future__ import annotations

import asyncio
import gc
import getpass
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from controller.app import settings as app_settings
from controller.app.account_cli import rerate, reratings
from controller.app.api_cli import call
from controller.app.assurance_cli import assurance_app
from controller.app.auth import AuthService
from controller.app.auth_model import Role
from controller.app.billing_cli import billing_app
from controller.app.catalogue_cli import catalogue_app
from controller.app.collecting_cli import payments_app
from controller.app.corrections_cli import tax_app
from controller.app.customers_cli import customer_app, invoice_app
from controller.app.dunning_cli import dunning_app
from controller.app.entity_cli import entity_app
from controller.app.holding_cli import account_app
from controller.app.migration import migrate as migrate_schema
from controller.app.nas_cli import nas_app
from controller.app.prepaid_cli import prepaid_app
from controller.app.radius_cli import radius_app
from controller.app.resale_cli import reseller_app
from controller.app.revenue_cli import finance_app
from controller.app.usage_cli import usage_app
from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.domain.ports import Secret
from controller.http.endpoint import Principal
from controller.store.engine import Database

_T = TypeVar("_T")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Headend: RADIUS AAA, provisioning, collection, rating and a double-entry ledger in one controller.",
    epilog="Settings come from HEADEND_… variables; `headend settings` lists them with their values.",
)
import_app = typer.Typer(no_args_is_help=True, help="What another system knows.")
user_app = typer.Typer(no_args_is_help=True, help="People who sign in.")
token_app = typer.Typer(no_args_is_help=True, help="API tokens.")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(radius_app, name="radius")
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(nas_app, name="nas")
app.add_typer(finance_app, name="finance")
app.add_typer(tax_app, name="tax")
app.add_typer(payments_app, name="payments")
app.add_typer(assurance_app, name="assurance")
app.add_typer(dunning_app, name="dunning")
app.add_typer(billing_app, name="billing")
app.add_typer(account_app, name="account")
app.add_typer(prepaid_app, name="prepaid")
app.add_typer(entity_app, name="entity")
app.add_typer(customer_app, name="customer")
app.add_typer(invoice_app, name="invoice")
app.add_typer(reseller_app, name="reseller")
app.command()(rerate)
app.command()(reratings)
app.command("api")(call)
app.add_typer(usage_app, name="usage")
app.add_typer(import_app, name="import")


GC_THRESHOLDS = (20_000, 20, 20)
"""Containers made since the last young collection, young collections per middle one, middle ones per full one.

Most of what a packet or an invoice leaves behind for some seconds is no cycle: at the default of 700 a tenth of the
processor's time goes into looking at it again and again.
"""


@app.command()
def serve(
    roles: Annotated[str, typer.Option(help="Comma-separated, of radius,collect,provision,bill,api.")] = "",
) -> None:
    """Run the controller until SIGTERM or Ctrl-C, with every role or with those of --roles (HEADEND_ROLES)."""
    gc.disable()  # 2,000 modules are made and none thrown away: looking for garbage meanwhile is a quarter of the start
    from controller.app import process  # everything it imports would slow the small commands down

    gc.freeze()  # nor is there any in them later
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    sys.exit(process.serve(app_settings.load(**{"roles": roles} if roles else {})))


@app.command()
def migrate() -> None:
    """Bring the database to this program's schema (serve does so too). SQLite is backed up first."""
    settings = app_settings.load()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    print(_refusing(lambda: migrate_schema(settings.url, datetime.now(UTC))))


@app.command()
def settings() -> None:
    """Every setting with its value; secrets masked."""
    for name, value in app_settings.load().model_dump().items():
        print(f"HEADEND_{name.upper()}={app_settings.masked(value)}")


@app.command()
def explain(line_id: Annotated[str, typer.Argument(help="Id of an invoice line.")]) -> None:
    """Show what an invoice line was made from, down to the packets, and add it up again.

    Exit status 1 when a record was altered or the sum differs, 2 when there is no such line.
    """
    from controller.app import questions

    explanation, text = asyncio.run(_answered(questions.explain(_existing(), line_id)))
    print(text)
    sys.exit(0 if explanation.intact else 1)


@app.command()
def suspense() -> None:
    """How much usage waits that cannot be charged to anybody yet, and why."""
    from controller.app import questions

    print(asyncio.run(_answered(questions.suspense(_existing()))))


@app.command()
def eap() -> None:
    """Check the certificates in HEADEND_EAP_DIR and say which EAP methods they allow.

    Exit status 1 when subscribers will be refused because of them, 2 when they cannot be used at all.
    """
    from controller.app import questions

    text, sound = _refusing(lambda: questions.eap(app_settings.load(), datetime.now(UTC)))
    print(text)
    sys.exit(0 if sound else 1)


@app.command()
def dictionary(
    name: Annotated[str, typer.Argument(help="Name or part of one, vendor, or number: 44, 14988.8.")],
) -> None:
    """Find a RADIUS attribute: vendor, number, type and named values; near misses where none has the name.

    Exit status 1 when nothing is called like that.
    """
    from controller.app import questions

    text = questions.dictionary(name)
    print(text or f"no attribute like {name!r}")
    sys.exit(0 if text else 1)


@app.command()
def whois(
    address: Annotated[str, typer.Argument(help="IPv4 or IPv6 address, with :port where it is shared.")],
    instant: Annotated[str, typer.Argument(help="ISO 8601 with zone, such as 2026-05-03T10:15:07Z.")],
    reason: Annotated[str, typer.Option(help="Kept in the audit log, such as the number of the request.")] = "",
) -> None:
    """Whose an address, or a port of a shared one, was at an instant, with the evidence. Every question is audited.

    Exit status 1 when nobody is known to have held it.
    """
    from controller.app import questions

    place, at = _refusing(lambda: questions.place_and_instant(address, instant))
    asked = questions.whois(_existing(), *place, at, actor=_operator(), reason=reason)
    text = asyncio.run(_answered(asked))
    print(text or "nobody is known to have held it")
    sys.exit(0 if text else 1)


@import_app.command("freeradius")
def import_freeradius(
    source: Annotated[str, typer.Argument(help="postgresql://…, sqlite:///file, or a file that mysqldump wrote.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    speed: Annotated[str, typer.Option(help="DOWN/UP of logins that are told no speed.")] = "1G/1G",
    zone: Annotated[str | None, typer.Option(help="Zone of times in radacct without one; else the entity's.")] = None,
) -> None:
    """Take over NAS, logins and past sessions from the SQL tables of FreeRADIUS. May be repeated."""
    from controller.app import freeradius

    asked = freeradius.bring(_existing(), source, speed, _operator(), zone=zone, dry_run=dry_run)
    print(asyncio.run(_answered(asked)))


@user_app.command("add")
def user_add(
    name: Annotated[str, typer.Argument(help="What the person signs in with.")],
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.READONLY,
) -> None:
    """Add a person. The password is asked for, or read from HEADEND_PASSWORD."""
    password = os.environ.get("HEADEND_PASSWORD") or getpass.getpass("Password: ")

    async def add(auth: AuthService) -> None:
        await auth.add_user(name, Secret(password), role, actor=_operator())

    _with_auth(add)
    print(f"{name} may sign in as {role.value}")


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="What the token is for.")],
    scope: Annotated[list[str], typer.Option(help="Such as crm:read or radius:*; repeat for more.")],
) -> None:
    """Make an API token and print it, this once."""

    async def create(auth: AuthService) -> str:
        # Whoever can read the data directory may do everything; the token gets no more than was asked for.
        by = Principal(_operator(), frozenset({"*"}))
        _, value = await auth.create_token(name, scope, expires_at=None, by=by)
        return value.reveal()

    print(_with_auth(create))


def _with_auth(work: Callable[[AuthService], Coroutine[Any, Any, Any]]) -> Any:
    settings = _existing()

    async def run() -> Any:
        database = Database(settings.url)
        try:
            return await work(AuthService(database, SystemClock()))
        finally:
            await database.close()

    return asyncio.run(_answered(run()))


def _operator() -> str:
    return f"cli:{getpass.getuser()}"


def _existing() -> app_settings.Settings:
    """The settings of a place where data is; SQLite would make an empty file of the others."""
    settings = app_settings.load()
    file = make_url(settings.url).database if settings.url.startswith("sqlite") else None
    if file is not None and not Path(file).is_file():
        _refuse(
            RuleError(
                f"there are no data in {Path(file).parent}: HEADEND_DATA_DIR says where they are; "
                "headend serve and headend migrate make them"
            )
        )
    return settings


async def _answered(work: Coroutine[Any, Any, Any]) -> Any:
    """A refusal becomes one line and exit status 2 instead of a traceback."""
    try:
        return await work
    except RuleError as error:
        _refuse(error)
    except (OperationalError, ProgrammingError) as error:
        _refuse(RuleError(f"the database cannot be used (headend migrate brings it up to date): {error.orig}"))


def _refusing(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except RuleError as error:
        _refuse(error)


def _refuse(error: RuleError) -> NoReturn:
    print(f"headend: {error}", file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    os.umask(0o077)  # whatever is written lies in the data directory, which may be older than we are, and open
    app()


if __name__ == "__main__":
    main()

"""`headend nas …`: the registry of NAS of a running controller, over its API, with the caller's token."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from controller.app.remote import Remote, opened
from controller.domain.errors import RuleError

nas_app = typer.Typer(no_args_is_help=True, help="The NAS that may ask RADIUS, on a running controller.")

_LISTS = ("line_logins", "coa_takes", "reply_attributes")
_TEXTS = ("name", "address", "secret", "vendor", "tls_identity", "coa_over", "coa_address", "coa_secret")

Name = Annotated[str, typer.Argument(help="Its name, or its id.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(help="SETTING=VALUE, as in the API: coa_port=3799 swaps_octets=true line_logins=circuit,mac"),
]
Secret = Annotated[
    str, typer.Option(envvar="HEADEND_NAS_SECRET", help="Better in the environment: options show in process lists.")
]


@nas_app.command("list")
def index() -> None:
    """Every NAS: name, address, kind, and what is not as by default."""
    with opened() as api:
        for row in api.all("/nas"):
            flags = [
                name for name, value in row.items() if value is True and name not in ("enabled", "class_proves_speed")
            ]
            off = [] if row["enabled"] else ["disabled"]
            print(f"{row['name']:24}  {row['address']:24}  {row['vendor']:14}  {' '.join([*off, *flags])}".rstrip())


@nas_app.command()
def show(who: Name) -> None:
    """Every setting of one NAS; its secret is not among them."""
    with opened() as api:
        _print(_found(api, who))


@nas_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    address: Annotated[str, typer.Argument(help="From which its datagrams come, or a network in CIDR.")],
    settings: Settings = None,
    secret: Secret = "",
) -> None:
    """Register a NAS; the shared secret is asked for where no environment variable has it."""
    with opened() as api:
        body = read(settings or []) | {"name": name, "address": address}
        body["secret"] = secret or typer.prompt("Shared secret", hide_input=True)
        _print(api.post("/nas", body))


@nas_app.command("set")
def change(who: Name, settings: Settings = None, secret: Secret = "") -> None:
    """Change settings of a NAS, at once; an empty value takes away: tls_identity= line_logins=

    A new secret is taken beside the former one for secret_overlap_s (3600).
    """
    with opened() as api:
        body = read(settings or []) | ({"secret": secret} if secret else {})
        if not body:
            raise RuleError("what is to be changed? headend nas set NAME SETTING=VALUE")
        _print(api.patch(f"/nas/{_found(api, who)['nas_id']}", body))


def read(settings: list[str]) -> dict[str, Any]:
    """The body that SETTING=VALUE words make; what is known and right the API says. Raises RuleError."""
    body: dict[str, Any] = {}
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals:
            raise RuleError(f"{word!r} is not SETTING=VALUE")
        body[name] = _list(name, value) if name in _LISTS else value if name in _TEXTS else _plain(value)
    return body


def _list(name: str, value: str) -> list[Any]:
    """ "circuit,mac", or "Framed-MTU=1492;Idle-Timeout=60"."""
    if name in ("line_logins", "coa_takes"):
        return [kind for kind in value.split(",") if kind]
    pairs = [pair.partition("=") for pair in value.split(";") if pair]
    return [{"name": attribute.strip(), "value": text.strip()} for attribute, _, text in pairs]


def _plain(value: str) -> Any:
    """A number, true or false; anything else as it is."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _found(api: Remote, who: str) -> dict[str, Any]:
    rows = list(api.all("/nas"))
    found = next((row for row in rows if who in (row["name"], row["nas_id"])), None)
    if found is None:
        names = ", ".join(sorted(row["name"] for row in rows)) or "none"
        raise RuleError(f"no NAS is named {who!r}; known: {names}")
    return found


def _print(row: dict[str, Any]) -> None:
    for name, value in row.items():
        print(f"{name:32}{json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}")

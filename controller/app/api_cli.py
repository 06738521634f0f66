"""`headend api …`: any operation of the API from a terminal, for what has no command of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from controller.app.remote import Json, opened
from controller.domain.errors import RuleError

Method = Annotated[
    Literal["GET", "POST", "PUT", "PATCH", "DELETE"], typer.Argument(help="As the API's description has it.")
]
Path_ = Annotated[str, typer.Argument(metavar="PATH", help="Below /api/v1, such as /customers.")]
Fields = Annotated[
    list[str] | None,
    typer.Argument(
        help="name=text or name:=JSON: of the query of a GET, of the body of everything else; amount.currency=EUR "
        "stands inside amount."
    ),
]
Body = Annotated[Path | None, typer.Option("--body", help="A file with the body as JSON; - is standard input.")]
Output = Annotated[Path | None, typer.Option(help="Where a document goes, such as a PDF.")]
Everything = Annotated[bool, typer.Option("--all", help="Every page of a list, an item to a line.")]


def call(
    method: Method,
    path: Path_,
    field: Fields = None,
    body: Body = None,
    output: Output = None,
    everything: Everything = False,
) -> None:
    """Ask the API for anything; prints its JSON. /openapi.json describes all of it."""
    with opened() as api:
        given = _fields(field or [])
        where = "/" + path.removeprefix("/api/v1").lstrip("/")
        if everything:
            for item in api.all(where, **_query(given)):
                print(json.dumps(item, ensure_ascii=False))
            return
        sent = given if body is None else _file(body) | given
        content = api.raw(method, where, **({"params": _query(given)} if method == "GET" else {"json": sent}))
    _write(content, output)


def _fields(pairs: list[str]) -> Json:
    """Raises RuleError for what is no pair, or no JSON."""
    found: Json = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip(":"):
            raise RuleError(f"{pair!r} is neither name=text nor name:=JSON")
        value: Any = text
        if name.endswith(":"):
            name, value = name[:-1], _json(text, pair)
        *outer, last = name.split(".")
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise RuleError(f"{pair!r}: {part} has a value already, and can hold no other")
        inner[last] = value
    return found


def _query(given: Json) -> dict[str, Any]:
    if any(isinstance(value, dict) for value in given.values()):
        raise RuleError("the parameters of a GET do not stand in one another")
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}


def _file(path: Path) -> Json:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"{path} cannot be read: {error}") from None
    found = _json(text, str(path))
    if not isinstance(found, dict):
        raise RuleError(f"{path} holds no JSON object")
    return found


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RuleError(f"{where}: no JSON: {error}") from None


def _write(content: bytes, output: Path | None) -> None:
    if output is not None:
        output.write_bytes(content)
        print(f"written to {output}")
        return
    try:
        print(json.dumps(json.loads(content), indent=2, ensure_ascii=False))
    except ValueError:
        sys.stdout.buffer.write(content)

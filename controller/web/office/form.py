"""Forms that change something through the public API: fields, what is wrong with each, values kept for the next try.

A form says which field goes where in the request's body; what is right and wrong the API alone decides. Its messages
are shown beside the field they point at, and above the form where they point at none.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from starlette.responses import Response

from controller.http.problem import from_error
from controller.web.office.view import Link, Part
from controller.web.site import Site, Visit

_SHOWN = frozenset({400, 404, 409, 422, 502, 503})
"""Refusals that the person at the form can do something about."""


_ACCOUNT = re.compile(r"\(([0-9a-f]{32})\)$")


def whole(text: str) -> int:
    """Raises ValueError with words for people."""
    if not text.removeprefix("-").isdecimal():
        raise ValueError("a whole number")
    return int(text)


def scaled(factor: int) -> Callable[[str], int]:
    """A number in a larger unit, such as 100 Mbit/s, as the integer that the API takes."""

    def convert(text: str) -> int:
        try:
            return int(Decimal(text.replace(",", ".")) * factor)
        except (InvalidOperation, OverflowError, ValueError):
            raise ValueError("a number") from None

    return convert


def decimal(text: str) -> str:
    """An amount as people write it: a decimal comma is a point."""
    return text.replace(",", ".")


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Field:
    """`key` is where the value stands in the body, dotted for nested ones. Left empty, it is left out of the body.

    `kind` is that of an input, or decimal, number, textarea, code (text as it is, many lines), account, hidden, or
    choice where what can be chosen may be nothing.
    """

    key: str
    label: str
    kind: str = "text"
    required: bool = False
    hint: str = ""
    unit: str = ""
    start: str = ""
    """What stands in the field of a fresh form."""
    choices: Sequence[Choice] = ()
    convert: Callable[[str], object] = str
    first: bool = False
    """It begins a group, and stands at the left."""


def account(key: str = "account_id", label: str = "Account", *, required: bool = True, hint: str = "") -> Field:
    """An account, found by its customer's name while one types; its id alone is taken, too."""
    return Field(key, label, "account", required, hint or "type a customer's name and choose", convert=account_id)


def account_id(text: str) -> str:
    """The id at the end of "Ada Lovelace (0199…)"; anything else as it is, for the API to judge."""
    found = _ACCOUNT.search(text)
    return found.group(1) if found else text


def once() -> Field:
    """A reference of the form's own: sent twice, it does what it does once."""
    start = f"office-{secrets.token_hex(6)}"
    return Field("reference", "Reference", required=True, start=start, hint="the same is done once")


def unseen_once(key: str) -> Field:
    """The same for what is only done once in a form's life: sent twice, it is done once, and nobody sees it."""
    return Field(key, "", "hidden", start=secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Form:
    """`buttons` are the value and label of each way to send it; the last is the one that changes something."""

    title: str
    fields: Sequence[Field]
    back: Link
    buttons: Sequence[tuple[str, str]]
    intro: str = ""


@dataclass(slots=True)
class Filled:
    """What a person filled in. `errors` are by field key, `messages` belong to none."""

    values: Mapping[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def refuse(self, fields: Sequence[Field], error: Exception) -> None:
        """Note a refusal of the API beside the fields it is about. Raises `error` where a person cannot mend it."""
        problem = from_error(error)
        if problem is None or problem.status not in _SHOWN:
            raise error
        for wrong in problem.errors:
            key = _field_of(fields, wrong.pointer)
            if key:
                self.errors.setdefault(key, wrong.detail)
            else:
                self.messages.append(f"{wrong.pointer.removeprefix('#/')}: {wrong.detail}")
        if not problem.errors:
            self.messages.append(problem.detail)


def read(fields: Sequence[Field], visit: Visit) -> Filled:
    """The body that the form's values make, and what is no number or is missing."""
    filled = Filled({f.key: visit.form.get(f.key, "") for f in fields})
    for wanted in fields:
        text = filled.values[wanted.key].strip()
        if not text:
            if wanted.required:
                filled.errors[wanted.key] = "needed"
            continue
        try:
            _put(filled.body, wanted.key, wanted.convert(text))
        except ValueError as error:
            filled.errors[wanted.key] = str(error)
    return filled


def show(
    site: Site, visit: Visit, form: Form, filled: Filled | None = None, *, parts: Sequence[Part] = (), status: int = 200
) -> Response:
    """The form: fresh, or as it was filled in, with what was wrong."""
    if filled is None:
        filled = Filled({f.key: visit.query(f.key) or f.start for f in form.fields})
    wrong = bool(filled.errors or filled.messages)
    return site.html(
        visit, "form.html", form=form, title=form.title, filled=filled, parts=parts, status=422 if wrong else status
    )


async def sent(
    site: Site, visit: Visit, form: Form, send: Callable[[Filled], Any], fields: Sequence[Field] | None = None
) -> Response:
    """Read the form and `send` it; a refusal shows it again. `send` returns the response to a form that was right."""
    known = form.fields if fields is None else fields
    filled = read(known, visit)
    if not filled.errors:
        try:
            response: Response = await send(filled)
            return response
        except Exception as error:
            filled.refuse(known, error)
    return show(site, visit, form, filled)


def _put(body: dict[str, Any], key: str, value: object) -> None:
    *outer, last = key.split(".")
    for name in outer:
        body = body.setdefault(name, {})
    body[last] = value


def _field_of(fields: Sequence[Field], pointer: str) -> str:
    """The field that a pointer of the API is about: by its place, else by its name alone."""
    path = pointer.removeprefix("#/").split("/")
    dotted = ".".join(path)
    for known in fields:
        if known.key == dotted or known.key.startswith(f"{dotted}."):
            return known.key
    return next((known.key for known in fields if known.key.rpartition(".")[2] == path[-1]), "")

"""What commands and pages ask of the API, read from their source: method and address of every call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METHODS = {
    "get": "GET", "all": "GET", "text": "GET", "events": "GET", "fetch": "GET", "post": "POST", "upload": "POST",
    "put": "PUT", "patch": "PATCH", "delete": "DELETE",
}  # fmt: skip
_BLANK = re.compile(r"{[^}]*}")


@dataclass(frozen=True)
class Asked:
    where: str
    method: str
    path: str
    """With {} for each part that is filled in."""


def blanks(path: str) -> str:
    return _BLANK.sub("{}", path)


def asked_by(file: Path) -> Iterator[Asked]:
    """Calls of METHODS whose first or second argument is an address, as far as it is said where it is called."""
    tree = ast.parse(file.read_text())
    known = dict(_constants(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        method = METHODS.get(node.func.attr)
        if method is None or not _is_api(node.func.value):
            continue
        for argument in node.args[:2]:
            path = _text(argument, known)
            if path is not None and path.startswith("/"):
                yield Asked(f"{file.name}:{node.lineno}", method, blanks(path.partition("?")[0]))
                break


def _is_api(node: ast.expr) -> bool:
    """`api`, `self._api` and the like; not a dict that is asked for a key."""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return name.strip("_") in ("api", "remote")


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names of the module that stand for a text."""
    found: dict[str, str] = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign):
            continue
        (target,) = node.targets
        pairs = (
            zip(target.elts, node.value.elts, strict=False)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            else [(target, node.value)]
        )
        for name, value in pairs:
            text = _text(value, found)
            if isinstance(name, ast.Name) and text is not None:
                found[name.id] = text
    yield from found.items()


def _text(node: ast.expr, known: dict[str, str]) -> str | None:
    """What an expression says, {} for what is not known of it; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = [
            str(part.value) if isinstance(part, ast.Constant) else _text(part.value, known) or "{}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        ]
        return "".join(parts)
    return None

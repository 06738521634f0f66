"""Tables of things that the API answers: which fields, in which order, written how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from controller.web import templating

_WRITERS: dict[str, Callable[[Any], Markup]] = {
    "plain": templating.plain,
    "figure": templating.plain,
    "instant": templating.instant,
    "octets": templating.octets,
    "rate": templating.rate,
    "money": templating.money,
    "state": templating.state,
    "bar": templating.bar,
}
_NUMERIC = frozenset({"octets", "rate", "money", "number", "figure"})


@dataclass(frozen=True, slots=True)
class Column:
    """`key` is a field of the API's answer, dotted for nested ones; `link` an address made of the row's fields."""

    label: str
    key: str
    kind: str = "plain"
    link: str = ""
    sub: str = ""
    """A second field, small below the first."""

    @property
    def numeric(self) -> bool:
        return self.kind in _NUMERIC

    def address(self, row: Mapping[str, Any]) -> str:
        """Where the cell leads, "" for nowhere. A value that somebody chose stays one part of the address."""
        if self.link == "{href}":
            return str(row["href"])
        return self.link.format_map({name: quote(str(found), safe="") for name, found in row.items()})

    def write(self, row: Mapping[str, Any]) -> Markup:
        """The cell's content, escaped."""
        content = write(self.kind, value(row, self.key))
        address = self.address(row) if self.link and value(row, self.key) is not None else ""
        if address:
            content = Markup('<a href="{}">{}</a>').format(address, content)
        if self.sub and value(row, self.sub):
            content += Markup('<span class="sub">{}</span>').format(value(row, self.sub))
        return content


def value(row: Mapping[str, Any], key: str) -> Any:
    """A field by its dotted name; None where it is absent."""
    found: Any = row
    for part in key.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def write(kind: str, content: Any) -> Markup:
    if kind == "mono":
        return Markup('<span class="mono">{}</span>').format(templating.plain(content))
    if kind == "digest":
        return Markup('<span class="mono digest">{}</span>').format(templating.plain(content))
    if kind == "flag":
        return templating.plain(None if content is None else "yes" if content else "no")
    if kind == "number":
        return templating.plain(None if content is None else templating.number(content))
    return _WRITERS[kind](content)


def facts(row: Mapping[str, Any], columns: Sequence[Column]) -> list[tuple[str, Markup]]:
    """Label and content of each field of one thing."""
    return [(column.label, column.write(row)) for column in columns]

"""The two shapes of a plain page: a list with filters, and one thing with its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from controller.web.api import Api, address
from controller.web.office.bars import Bars
from controller.web.office.table import Column, facts
from controller.web.site import Site, Visit

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """A field above a list: a selection with `choices`, a search box with a `hint`, or a day (`kind` "date")."""

    name: str
    label: str
    hint: str = ""
    choices: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """What a choice is called, where that is not what it says."""
    value: str = ""
    anything: str = "any"
    """What it is called to choose nothing."""
    kind: str = "search"


@dataclass(frozen=True, slots=True)
class Action:
    """A button that changes something; `question` is asked first. `disruptive` ones look it."""

    label: str
    href: str
    question: str = ""
    disruptive: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture over time: `columns` are instants in seconds since 1970 and then one column for each of `labels`.

    Amounts of money stay the text that the API told; the browser draws them.
    """

    unit: str
    labels: Sequence[str]
    columns: Sequence[Sequence[float | str | None]]
    note: str = ""

    @property
    def data(self) -> dict[str, object]:
        """What the page's script draws."""
        return {"labels": list(self.labels), "columns": [list(column) for column in self.columns]}


@dataclass(frozen=True, slots=True)
class Part:
    """A card below one thing: a chart, a table, facts, or text as it is."""

    title: str
    rows: Sequence[Row] = ()
    columns: Sequence[Column] = ()
    nothing: str = "Nothing here."
    facts: Sequence[tuple[str, Markup]] | None = None
    text: str | None = None
    chart: Chart | None = None
    strip: object | None = None
    """A strip of days (office.strip)."""
    pictures: Sequence[Bars] = ()
    """Bars, above all else."""
    links: Sequence[Link] = ()
    """What can be done about it, beside the title."""


def list_page(
    site: Site,
    visit: Visit,
    title: str,
    page: Mapping[str, Any],
    columns: Sequence[Column],
    *,
    filters: Sequence[Filter] = (),
    nothing: str = "Nothing here yet.",
    intro: str = "",
    actions: Callable[[Row], Action | None] | None = None,
    links: Sequence[Link] = (),
    make: Link | None = None,
    make_scope: str = "",
    totals: Sequence[tuple[str, Markup]] = (),
    pictures: Sequence[Bars] = (),
) -> Response:
    """A page of an API list; the next page keeps the filters. `make` is offered to whoever has `make_scope`."""
    kept = {f.name: visit.query(f.name) for f in filters}
    here = visit.request.url.path
    return site.html(
        visit,
        "list.html",
        title=title,
        intro=intro,
        rows=page["items"],
        columns=columns,
        actions=actions,
        filters=[replace(f, value=kept[f.name] or f.value) for f in filters],
        nothing=nothing,
        searched=any(kept.values()),
        links=links,
        make=make if visit.principal.may(make_scope) else None,
        totals=totals,
        pictures=pictures,
        newer=address(here, **kept) if visit.query("after") else "",
        older=address(here, **kept, after=page["next"]) if page["next"] else "",
    )


def detail_page(
    site: Site,
    visit: Visit,
    title: str,
    row: Row,
    columns: Sequence[Column],
    *,
    back: Link,
    parts: Sequence[Part] = (),
    links: Sequence[Link] = (),
    actions: Sequence[Action] = (),
    messages: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Response:
    """One thing, its facts first. `messages` are what is wrong, `notes` what is good to know."""
    return site.html(
        visit,
        "detail.html",
        title=title,
        facts=facts(row, columns),
        back=back,
        parts=parts,
        links=links,
        actions=actions,
        messages=messages,
        notes=notes,
    )


async def part_of(
    api: Api, visit: Visit, title: str, path: str, scope: str, columns: Sequence[Column], **query: str
) -> list[Part]:
    """The card of a list of the API: none when the viewer may not read it or this process does not serve it."""
    if not visit.principal.may(scope) or not api.has("GET", path):
        return []
    page = await api.get(visit, path, query={"limit": "100", **query})
    more = f", the first {len(page['items'])}" if page["next"] else ""
    return [Part(f"{title}{more}", page["items"], columns)]

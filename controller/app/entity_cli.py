"""`headend entity …`: legal entities of a running controller, over its API."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from controller.app.remote import Json, Remote, opened
from controller.domain.errors import NotFound

entity_app = typer.Typer(no_args_is_help=True, help="Legal entities: each has books, numbers and papers of its own.")

Whose = Annotated[str, typer.Option("--entity", help="Name or id of a legal entity; else the first.")]


def entity_id(api: Remote, said: str) -> str:
    """The id of an entity that is named, or whose id it is. Raises NotFound."""
    found = api.get("/legal-entities")["entities"]
    for entity in found:
        if said in (entity["name"], entity["entity_id"]):
            return str(entity["entity_id"])
    raise NotFound(f"no legal entity {said}: there are {', '.join(e['name'] for e in found)}")


def of_entity(api: Remote, said: str) -> dict[str, str]:
    """As a parameter of a request; none for the first."""
    return {"entity_id": entity_id(api, said)} if said else {}


@entity_app.command("list")
def entities() -> None:
    """Every legal entity, the first one first."""
    with opened() as api:
        for row in api.get("/legal-entities")["entities"]:
            _print(row)


@entity_app.command()
def add(
    name: str,
    zone: Annotated[str, typer.Option(help="In which days of its books are counted, such as Europe/Zurich. For good.")],
    currency: Annotated[str, typer.Option(help="Of its books and accounts, such as CHF. For good.")],
    locale: Annotated[str, typer.Option(help="Of its papers, such as de_CH.")],
    country: Annotated[str, typer.Option(help="Where its taxes are, such as CH.")],
    address: Annotated[str, typer.Option(help="As it stands on a letter.")] = "",
    tax_id: Annotated[str, typer.Option()] = "",
    iban: Annotated[str, typer.Option(help="What its customers pay to.")] = "",
) -> None:
    """Add a legal entity; the same name and facts again are the same one."""
    body: Json = {"name": name, "zone": zone, "currency": currency, "locale": locale, "country": country}
    body |= {"address": address, "tax_id": tax_id, "iban": iban}
    with opened() as api:
        _print(api.post("/legal-entities", body))


@entity_app.command()
def change(
    entity: Annotated[str, typer.Argument(help="Name or id.")],
    address: Annotated[str | None, typer.Option()] = None,
    tax_id: Annotated[str | None, typer.Option()] = None,
    iban: Annotated[str | None, typer.Option()] = None,
    locale: Annotated[str | None, typer.Option()] = None,
    country: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Change what stands on its papers from now on."""
    said = {"address": address, "tax_id": tax_id, "iban": iban, "locale": locale, "country": country}
    body: Json = {key: value for key, value in said.items() if value is not None}
    with opened() as api:
        _print(api.patch(f"/legal-entities/{entity_id(api, entity)}", body))


def _print(row: dict[str, Any]) -> None:
    said = ("entity_id", "name", "zone", "currency", "country", "tax_id", "iban")
    print("  ".join(row[key] for key in said if row[key]))

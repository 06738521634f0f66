"""Legal entities over HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from controller.domain.identity import EntityId
from controller.http.endpoint import Call, Endpoint
from controller.http.models import Currency, In, Name, Out
from erp.crm.entities import EntityFacts, EntityService
from erp.crm.model import Entity
from erp.crm.service import CrmService

Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Locale = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*$", max_length=16)]
Iban = Annotated[str, StringConstraints(max_length=42, pattern=r"^[A-Za-z0-9 ]*$")]
Address = Annotated[str, StringConstraints(max_length=300, strip_whitespace=True)]
TaxId = Annotated[str, StringConstraints(max_length=64, strip_whitespace=True)]


class EntityIn(In):
    """`zone` and `currency` are those of its books, for good. `country` is where its taxes are, unless an account is
    said to be elsewhere; `iban` is what its customers pay to, and stands on its invoices."""

    name: Name
    zone: Annotated[str, StringConstraints(max_length=64)]
    currency: Currency
    locale: Locale
    country: Country
    address: Address = ""
    tax_id: TaxId = ""
    iban: Iban = ""


class PapersIn(In):
    """What is absent stays. Documents that were issued stay as they were."""

    locale: Locale | None = None
    country: Country | None = None
    address: Address | None = None
    tax_id: TaxId | None = None
    iban: Iban | None = None


class EntityOut(Out):
    """The first one's `iban` is null where it stands in the settings (HEADEND_IBAN); who names no entity means it."""

    entity_id: str
    name: str
    zone: str
    currency: str
    locale: str
    country: str
    address: str
    tax_id: str
    iban: str | None
    first: bool

    @classmethod
    def of(cls, found: Entity, *, first: bool) -> EntityOut:
        return cls(
            entity_id=found.entity_id,
            name=found.name,
            zone=found.zone,
            currency=found.currency,
            locale=found.locale,
            country=found.country,
            address=found.address,
            tax_id=found.tax_id,
            iban=found.iban,
            first=first,
        )


class EntitiesOut(Out):
    """The first one first."""

    entities: list[EntityOut]


def endpoints(entities: EntityService, crm: CrmService) -> list[Endpoint]:
    async def told(found: Entity) -> EntityOut:
        return EntityOut.of(found, first=(await crm.entity()).entity_id == found.entity_id)

    async def index(_call: Call) -> EntitiesOut:
        found = await crm.entities()
        return EntitiesOut(entities=[EntityOut.of(entity, first=entity is found[0]) for entity in found])

    async def create(call: Call) -> EntityOut:
        body = call.body_as(EntityIn)
        made, _ = await entities.create(EntityFacts(**body.model_dump()), actor=call.actor)
        return await told(made)

    async def show(call: Call) -> EntityOut:
        return await told(await crm.entity(EntityId(call.path["entity_id"])))

    async def change(call: Call) -> EntityOut:
        said = call.body_as(PapersIn).model_dump(exclude_none=True)
        return await told(await entities.change(EntityId(call.path["entity_id"]), said, actor=call.actor))

    return [
        Endpoint(
            "GET", "/legal-entities", scope="crm:read", handler=index, summary="Legal entities, the first one first",
            returns=EntitiesOut,
        ),
        Endpoint(
            "POST", "/legal-entities", scope="finance:write", handler=create,
            summary="Add a legal entity with books of its own; the same name and facts again are the same entity",
            body=EntityIn, returns=EntityOut, status=201,
        ),
        Endpoint(
            "GET", "/legal-entities/{entity_id}", scope="crm:read", handler=show, summary="One legal entity",
            returns=EntityOut,
        ),
        Endpoint(
            "PATCH", "/legal-entities/{entity_id}", scope="finance:write", handler=change,
            summary="Change what stands on the papers of a legal entity from now on", body=PapersIn, returns=EntityOut,
        ),
    ]  # fmt: skip

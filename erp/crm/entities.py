"""Legal entities of the ISP: each has a chart, numbers, periods, bank accounts and papers of its own.

The first is made at the first start, as the settings say; others by whoever may. Zone and currency are for good: books
would be of other days than their documents. What stands on papers may change, and what was issued stays as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.languages import get_territory_language_info
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from stdnum import iban as iban_numbers

from controller.domain.clock import Clock
from controller.domain.errors import Conflict, RuleError
from controller.domain.identity import EntityId, new_id
from controller.domain.money import is_currency
from controller.store import audit
from controller.store.engine import Database
from erp.crm import repository
from erp.crm.errors import NoEntity
from erp.crm.model import Entity, require_zone

_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EntityFacts:
    """What is said of a legal entity. `country` is ISO 3166-1; `iban` is what its customers pay to, or nothing."""

    name: str
    zone: str
    currency: str
    locale: str
    country: str
    address: str = ""
    tax_id: str = ""
    iban: str = ""


class EntityService:
    """The one writer of legal entities, but for the first."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, wanted: EntityFacts, *, actor: str) -> tuple[Entity, bool]:
        """(entity, whether it is new): the same name with the same facts again is the same entity.

        Raises Conflict for a name of other facts, NoZone, RuleError for what is no currency, locale, country or IBAN.
        """
        facts, now = _checked(wanted), self._clock.now()
        made = Entity(EntityId(new_id(now)), **asdict(facts))
        try:
            async with self._database.begin() as conn:
                known = await repository.find_entity_named(conn, facts.name)
                if known is None:
                    await repository.add_entity(conn, made, await repository.after_all_entities(conn, now))
                    await _audit(conn, "entity.create", made, actor, now, None)
                    return made, True
        except IntegrityError:  # somebody else has made it in this moment
            async with self._database.read() as conn:
                known = await repository.find_entity_named(conn, facts.name)
        assert known is not None, "the name is unique"
        if replace(known, entity_id=made.entity_id) != made:
            raise Conflict(f"legal entity {facts.name} is there already, and something else is said of it")
        return known, False

    async def change(self, entity_id: EntityId, said: Mapping[str, Any], *, actor: str) -> Entity:
        """Another address, tax id, IBAN, country or locale on papers from now on. Raises NoEntity, RuleError."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            known = await repository.find_entity(conn, entity_id)
            if known is None:
                raise NoEntity(f"no legal entity {entity_id}")
            made = replace(known, **said)
            _check_papers(made.locale, made.country, made.iban or "")
            if made.iban:
                made = replace(made, iban=iban_numbers.compact(made.iban))
            if made != known:
                await repository.change_entity(conn, made)
                await _audit(conn, "entity.change", made, actor, now, known)
        return made


def _checked(facts: EntityFacts) -> EntityFacts:
    require_zone(facts.zone)
    if not is_currency(facts.currency):
        raise RuleError(f"{facts.currency!r} is no currency of ISO 4217, such as CHF", code="currency")
    if not facts.country:
        raise RuleError("say in which country the entity is, such as CH: its taxes are of there", code="country")
    _check_papers(facts.locale, facts.country, facts.iban)
    return replace(facts, iban=iban_numbers.compact(facts.iban)) if facts.iban else facts


def _check_papers(locale: str, country: str, iban: str) -> None:
    try:
        Locale.parse(locale)
    except (UnknownLocaleError, ValueError, TypeError):
        raise RuleError(f"{locale!r} is no locale such as de_CH", code="locale") from None
    if country and (not _COUNTRY.fullmatch(country) or not get_territory_language_info(country)):
        raise RuleError(f"{country!r} is no country of ISO 3166-1, such as CH", code="country")
    if iban and not iban_numbers.is_valid(iban):
        raise RuleError("this is no IBAN: look at its check digits", code="iban")


async def _audit(
    conn: AsyncConnection, action: str, made: Entity, actor: str, now: datetime, before: Entity | None
) -> None:
    await audit.record(
        conn,
        now=now,
        actor=actor,
        action=action,
        subject=f"entity:{made.entity_id}",
        before=None if before is None else asdict(before),
        after=asdict(made),
    )

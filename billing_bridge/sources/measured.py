"""Takes what our own collectors measure: implements ports.UsageIntake over the intake of every other source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from sqlalchemy import select

from billing_bridge.errors import SourceExists, UnknownSource
from billing_bridge.sources.assignments import OCTETS
from billing_bridge.sources.intake import Intake
from billing_bridge.sources.model import Fact, Source
from billing_bridge.sources.service import SourceService
from billing_bridge.sources.tables import identifier
from controller.domain.clock import Clock
from controller.domain.usage import MeasuredOctets
from controller.store.engine import Database
from controller.store.usage_chain import FIRST_PREVIOUS

_ACTOR = "system:collectors"


class MeasuredIntake:
    def __init__(self, database: Database, clock: Clock, sources: SourceService, intake: Intake) -> None:
        self._database = database
        self._clock = clock
        self._sources = sources
        self._intake = intake

    async def known(self, kind: str) -> frozenset[str]:
        """Identifiers of this kind that somebody gave a service."""
        query = select(identifier.c.identifier).where(identifier.c.kind == kind, identifier.c.service_id.is_not(None))
        async with self._database.read() as conn:
            return frozenset(await conn.scalars(query.distinct()))

    async def measured(
        self, source: str, kind: str, octets: Sequence[MeasuredOctets], *, title: str, complete_until: datetime | None
    ) -> None:
        """Take them; the source is registered with the first ones, to be compared and not awaited."""
        facts = [_fact(number, one) for number, one in enumerate(octets, 1)]
        digest = sha256("\n".join(fact.content for fact in facts).encode()).digest()
        try:
            await self._sources.source(source)
        except UnknownSource:
            await self._register(source, kind, title)
        await self._intake.deliver(
            source, facts, title="collected", content=digest, complete_until=complete_until, actor=_ACTOR
        )

    async def _register(self, source: str, kind: str, title: str) -> None:
        now = self._clock.now()
        made = Source(source, title, OCTETS, kind, False, False, None, None, None, 0, FIRST_PREVIOUS, now, _ACTOR, None)
        try:
            await self._sources.register(made, actor=_ACTOR)
        except SourceExists:
            return  # another process was quicker


def _fact(number: int, one: MeasuredOctets) -> Fact:
    said = [
        one.key, one.identifier, one.since.isoformat(), one.until.isoformat(), one.upstream_octets,
        one.downstream_octets,
    ]  # fmt: skip
    return Fact(
        one.key, number, one.identifier, one.since, one.until, json.dumps(said), one.upstream_octets,
        one.downstream_octets,
    )  # fmt: skip

"""Takes up what waited of the sources, once the fact is there that was missing, and moves it in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.mediation.repository import Position
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import repository
from billing_bridge.sources.assignments import CALLS
from billing_bridge.sources.booked import next_turns
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.sources.ledger import SUSPENSE, Tally
from billing_bridge.sources.model import ABSURD, CLOCK_JUMP, CONFLICT, MALFORMED, NEGATIVE, Source
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.moving_calls import move_calls
from billing_bridge.sources.placing import Arrived, Placing
from billing_bridge.suspense.model import NO_SERVICE
from billing_bridge.suspense.repository import Item
from controller.domain.ports import AddressHolders

UNCOUNTED = frozenset({MALFORMED, NEGATIVE, ABSURD, CLOCK_JUMP, CONFLICT})
"""What waits for these reasons stands in the ledger as a record without an amount."""
BELIEVABLE = frozenset({ABSURD, CLOCK_JUMP})
"""What a person may say is true all the same."""


def amount(item: Item) -> int:
    """What the ledger counts of it."""
    if item.reason in UNCOUNTED:
        return 0
    return item.octets or item.duration_s or 0


class Release:
    def __init__(self, settings: BillingSettings, holders: AddressHolders | None = None) -> None:
        self._placing = Placing(settings.zone, holders)
        self._zone = settings.zone

    async def move_calls(
        self, conn: AsyncConnection, kind: str, name: str, since: datetime, *, now: datetime, actor: str
    ) -> list[Moved]:
        """See billing_bridge.sources.moving_calls."""
        return await move_calls(conn, self._placing, kind, name, since, zone=self._zone, now=now, actor=actor)

    async def kind(self, conn: AsyncConnection, item: Item) -> str:
        """What kind of identifier the item has."""
        if item.source is None:
            return USERNAME
        found = await repository.get(conn, item.source)
        assert found is not None, "a source is never deleted"
        return found.identifier_kind

    async def again(
        self, conn: AsyncConnection, items: Sequence[Item], position: Position, now: datetime, tally: Tally
    ) -> Position:
        """Place these items of sources anew; they are decided already. Returns where mediation stands then."""
        last_interval_id = position.last_interval_id
        for name in sorted({item.source for item in items if item.source is not None}):
            source = await repository.get(conn, name)
            assert source is not None, "a source is never deleted"
            own = [item for item in items if item.source == name]
            last_interval_id = await self._again(conn, source, own, last_interval_id, now, tally)
        return Position(position.record_id, last_interval_id)

    async def _again(
        self,
        conn: AsyncConnection,
        source: Source,
        items: Sequence[Item],
        last_interval_id: int,
        now: datetime,
        tally: Tally,
    ) -> int:
        stored = {s.record_id: s for s in await repository.records(conn, (i.source_record_id or 0 for i in items))}
        arrived = []
        turns = await next_turns(conn, sorted(stored)) if source.measure == CALLS else {}
        for item in items:
            one = stored[item.source_record_id or 0]
            assert one.fact is not None, "what cannot be read is not taken up"
            fact = one.fact
            whole = None
            if item.reason == NO_SERVICE and item.octets:
                whole = fact
                fact = replace(
                    fact, since=item.since, until=item.until, upstream_octets=item.upstream_octets,
                    downstream_octets=item.downstream_octets,
                )  # fmt: skip
            believed = item.reason in BELIEVABLE
            turn = turns.get(one.record_id, 0)
            arrived.append(Arrived(one.record_id, one.accepted_at, fact, item.grown_since, believed, turn, whole))
        ids = await repository.lock_ids(conn)
        placed, last_interval_id, after = await self._placing.place(
            conn, source, arrived, last_interval_id=last_interval_id, ids=ids, now=now, tally=tally
        )
        await repository.move_ids(conn, after)
        waiting = await repository.still_waiting(conn, stored)
        uncounted = {item.source_record_id for item in items if item.reason in UNCOUNTED}
        states = []
        for record_id, one in stored.items():
            for disposition, part in placed.amounts[record_id].items():
                if record_id in uncounted:
                    tally.accept(source.name, one.accepted_at, disposition, part, records=0)
                elif disposition != SUSPENSE:
                    tally.move(source.name, one.accepted_at, SUSPENSE, disposition, part, records=0)
            if record_id not in waiting:
                state = placed.state(record_id)
                states.append((record_id, state))
                tally.move(source.name, one.accepted_at, SUSPENSE, state, 0)
        await repository.set_states(conn, states)
        return last_interval_id

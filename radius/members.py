"""Which boxes of registered networks have reported sessions: kept, so that any process can send them CoA later.

A NAS that is registered as a network gets an id for each of its addresses (`protocol.sources`). From the id alone
nobody can tell the address; this table does. Only sources whose packets verified get in, so no stranger can fill it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from controller.domain.identity import NasId
from controller.store.engine import Database
from radius.protocol.nas import Nas
from radius.tables import nas_member


@dataclass(frozen=True, slots=True)
class Box:
    """One address of a network that reported, and the id that it has there."""

    nas_id: str
    address: str
    first_seen_at: datetime


class Members:
    """`seen` costs a look into a set and may be called for every record; `write` stores what is new."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[NasId] = set()
        self._new: list[Nas] = []

    def seen(self, nas: Nas) -> None:
        """A packet of this box has verified."""
        if nas.nas_id not in self._known:
            self._known.add(nas.nas_id)
            self._new.append(nas)

    async def write(self, now: datetime) -> None:
        """Store the new ones. What the database raises leaves them to be written the next time."""
        if not self._new:
            return
        new = self._new
        rows = [
            {"nas_id": nas.nas_id, "network_id": nas.member_of, "address": nas.address, "first_seen_at": now}
            for nas in new
        ]
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        async with self._database.begin() as conn:
            await conn.execute(insert(nas_member).on_conflict_do_nothing(), rows)
        self._new = self._new[len(new) :]

    async def address_of(self, nas_id: NasId) -> str | None:
        """The address of a box that reported in any process; None for an id that none has."""
        async with self._database.read() as conn:
            found: str | None = await conn.scalar(select(nas_member.c.address).where(nas_member.c.nas_id == nas_id))
        return found

    async def boxes(self, network_id: str, *, after: str | None, limit: int) -> list[Box]:
        """Boxes of a network that reported in any process, by id."""
        c = nas_member.c
        query = select(c.nas_id, c.address, c.first_seen_at).where(c.network_id == network_id).order_by(c.nas_id)
        query = query if after is None else query.where(c.nas_id > after)
        async with self._database.read() as conn:
            return [Box(*row) for row in await conn.execute(query.limit(limit))]

"""Which boxes of registered networks, and behind proxies, have reported sessions: kept, so that any process can send
them CoA later.

A NAS that is registered as a network gets an id for each of its addresses (`protocol.sources`), a proxy one for each of
its boxes (`protocol.behind`). From the id alone nobody can tell where that is; this table does. Only sources whose
packets verified get in, so no stranger can fill it.
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

_MOST_KNOWN = 65_536
"""Written again when they report again: behind a proxy there may be any number of names."""
_C = nas_member.c
_BOX = (_C.nas_id, _C.network_id, _C.address, _C.names, _C.first_seen_at)


@dataclass(frozen=True, slots=True)
class Box:
    """One address of a network that reported, and the id that it has there; behind a proxy, the proxy's address and the
    attributes by which it knows the box."""

    nas_id: str
    network_id: str
    address: str
    names: bytes
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
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(nas.nas_id)
            self._new.append(nas)

    async def write(self, now: datetime) -> None:
        """Store the new ones. What the database raises leaves them to be written the next time."""
        if not self._new:
            return
        new = list(self._new)
        rows = [
            {
                "nas_id": nas.nas_id,
                "network_id": nas.member_of,
                "address": nas.address,
                "names": nas.names,
                "first_seen_at": now,
            }
            for nas in new
        ]
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        async with self._database.begin() as conn:
            await conn.execute(insert(nas_member).on_conflict_do_nothing(), rows)
        written = {nas.nas_id for nas in new}  # others may have come meanwhile, and another call may have written these
        self._new = [nas for nas in self._new if nas.nas_id not in written]

    async def find(self, nas_id: NasId) -> Box | None:
        """A box that reported in any process; None for an id that none has."""
        async with self._database.read() as conn:
            row = (await conn.execute(select(*_BOX).where(_C.nas_id == nas_id))).one_or_none()
        return None if row is None else Box(*row)

    async def boxes(self, network_id: str, *, after: str | None, limit: int) -> list[Box]:
        """Boxes of a network that reported in any process, by id."""
        query = select(*_BOX).where(_C.network_id == network_id).order_by(_C.nas_id)
        query = query if after is None else query.where(_C.nas_id > after)
        async with self._database.read() as conn:
            return [Box(*row) for row in await conn.execute(query.limit(limit))]

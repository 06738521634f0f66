"""Sessions of our users in other people's networks: what their proxies said of the NAS, for the way back (RFC 8559).

A proxy names its network and, in octets that it alone understands, the NAS: in every Accounting-Request. Who is to be
told of a change is therefore kept beside the session; it is written behind the answer, and every Interim repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.store.engine import Database
from radius.dynamic.tables import visited
from radius.ports import Recorder
from radius.protocol.codes import Attr
from radius.protocol.nas import Nas
from radius.protocol.operator import OPERATOR_NAME, of_operator
from radius.protocol.packet import Packet, encode_attributes

log = structlog.get_logger()

_MOST_PENDING = 10_000
_PAUSE_S = 0.2
_KEPT = timedelta(days=7)
"""After the last record of a session."""


class VisitedSessions:
    """radius.ports.Recorder in front of the true one: it notes what it sees, and `run` writes it."""

    def __init__(self, database: Database, clock: Clock, recorder: Recorder) -> None:
        self._database = database
        self._clock = clock
        self._recorder = recorder
        self._pending: dict[tuple[str, bytes], bytes] = {}
        self._written: dict[tuple[str, bytes], bytes] = {}
        self._arrived = asyncio.Event()

    def submit(self, packet: Packet, nas: Nas, received_us: int, respond: Callable[[], None]) -> None:
        """See the port."""
        self._recorder.submit(packet, nas, received_us, respond)
        if OPERATOR_NAME in packet.offsets:
            self._note(packet, nas)

    def prove(self, respond: Callable[[], None]) -> None:
        self._recorder.prove(respond)

    def _note(self, packet: Packet, nas: Nas) -> None:
        session_id = packet.get(Attr.ACCT_SESSION_ID)
        if session_id is None or len(self._pending) >= _MOST_PENDING:
            return
        key, told = (str(nas.nas_id), session_id), encode_attributes(a for a in packet.attributes() if of_operator(*a))
        if self._written.get(key) != told:
            self._pending[key] = told
            self._arrived.set()

    async def run(self) -> None:
        """Write what was noted, for ever."""
        swept_at: datetime | None = None
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            now = self._clock.now()
            try:
                await self.write()
                if swept_at is None or now - swept_at > timedelta(hours=1):
                    swept_at = now
                    await self._sweep(now)
            except (SQLAlchemyError, OSError) as error:
                log.warning("radius.visited.not-written", error=str(error), waiting=len(self._pending))
                self._arrived.set()
                await asyncio.sleep(1)
            await asyncio.sleep(_PAUSE_S)

    async def write(self) -> None:
        """One commit for all that was noted."""
        turn, now = dict(self._pending), self._clock.now()
        if not turn:
            return
        rows = [
            {"nas_id": nas_id, "acct_session_id": session_id, "operator": told, "seen_at": now}
            for (nas_id, session_id), told in turn.items()
        ]
        make = sqlite.insert if self._database.is_sqlite else postgresql.insert
        insert = make(visited)
        again = {"operator": insert.excluded.operator, "seen_at": insert.excluded.seen_at}
        async with self._database.begin() as conn:
            await conn.execute(
                insert.on_conflict_do_update(index_elements=["nas_id", "acct_session_id"], set_=again), rows
            )
        for key, told in turn.items():
            if self._pending.get(key) == told:
                del self._pending[key]
        if len(self._written) > _MOST_PENDING:
            self._written.clear()
        self._written |= turn

    async def _sweep(self, now: datetime) -> None:
        """Rows that nobody refreshed for long. What is live is written again first: this process forgets it too."""
        self._written.clear()
        async with self._database.begin() as conn:
            await conn.execute(delete(visited).where(visited.c.seen_at < now - _KEPT))


async def operator_of(conn: AsyncConnection, nas_id: str, acct_session_id: bytes) -> bytes:
    """The attributes by which the network of a session knows its NAS; empty for a NAS that we reach ourselves."""
    found = await conn.scalar(
        select(visited.c.operator).where(visited.c.nas_id == nas_id, visited.c.acct_session_id == acct_session_id)
    )
    return b"" if found is None else bytes(found)

"""Accounting on its way to home servers: stored first, acknowledged then, sent on when somebody takes it.

    put ─► many in one commit ─► stored() ─► Accounting-Response to the NAS
                  │
                  └─ run: claim what is due ─► home server ─ answered ─► gone
                                            │              └ not      ─► due again, later and later
                                            └ fits into no packet ─► set aside: kept, and never due again

Delivery is at least once, and in the order of arrival within a session while the home server answers. Rows are claimed
for a while, so that those of a process that was killed go on with another. What was delayed here says so in
Acct-Delay-Time (RFC 2866 §5.2).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import PeerError
from controller.store.engine import Database
from controller.store.metadata import to_micros
from radius.protocol.codes import ACCOUNTING_REQUEST, ACCOUNTING_RESPONSE, Attr
from radius.protocol.hidden import Attributes
from radius.protocol.packet import ZERO_AUTHENTICATOR, Packet, encode, encode_attributes
from radius.proxy import repository
from radius.proxy.model import Route
from radius.proxy.pools import Pools
from radius.proxy.repository import Waiting

log = structlog.get_logger()

_ACCT_DELAY_TIME = int(Attr.ACCT_DELAY_TIME)
_ACCT_SESSION_ID = int(Attr.ACCT_SESSION_ID)

_NEVER_FITS = frozenset({"length", "attribute-length"})
"""Why no request could be made of a record: it has no room for what we add, or for an attribute that is hidden."""

SET_ASIDE = Counter("headend_radius_mirror_set_aside", "Accounting that fits into no packet, by realm.", ["realm"])

Stored = Callable[[], None]


class Fate(Enum):
    """What came of a record."""

    SENT = "sent"
    LATER = "later"
    SET_ASIDE = "set-aside"


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """How much waits, and how often it is tried."""

    max_pending: int = 20_000
    """Records taken and not yet stored; more are refused, so that their NAS sends them again."""
    batch: int = 256
    """Records sent on at once by one process."""
    claim_s: float = 30.0
    """How long a process keeps rows for itself."""
    first_retry_s: float = 2.0
    last_retry_s: float = 300.0
    """Wait before a record is tried again: doubled from the first to the last."""
    idle_s: float = 1.0
    """How often the queue is looked at while nothing arrives here: another process may have died."""
    try_s: float = 5.0
    """How long all servers of a pool may take together."""


class Mirror:
    """`put` may be called from the event loop at any time; nothing is stored or sent while `run` does not run."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        pools: Pools,
        state: Callable[[], tuple[int, bytes]],
        settings: MirrorSettings | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._pools = pools
        self._state = state
        self.settings = settings or MirrorSettings()
        self._count, self._life = itertools.count(), secrets.token_hex(4)
        self._pending: list[tuple[dict[str, object], Stored]] = []
        self._arrived = asyncio.Event()
        self._stored = asyncio.Event()

    def put(self, route: Route, attributes: Attributes, received_us: int, stored: Stored) -> None:
        """Take a record; `stored` is called when it is durable. Raises PeerError "overload" when too many wait."""
        if len(self._pending) >= self.settings.max_pending:
            raise PeerError("overload", f"{len(self._pending)} records wait for the mirror")
        body = encode_attributes(attributes)
        row: dict[str, object] = {
            # In the order of arrival, also of two within a microsecond, and unlike those of another process.
            "mirror_id": f"{received_us:016x}{next(self._count) & 0xFFFF_FFFF:08x}{self._life}",
            "digest": sha256(route.realm.encode() + b"\0" + body).digest(),
            "realm": route.realm,
            "pool": route.pool,
            "packet": body,
            "received_us": received_us,
            "due_us": received_us,
            "attempts": 0,
        }
        self._pending.append((row, stored))
        self._arrived.set()

    async def run(self) -> None:
        """Store and send on, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store_for_ever())
            tasks.create_task(self._send_for_ever())

    async def _store_for_ever(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            try:
                await self.store()
            except (SQLAlchemyError, OSError) as error:
                log.warning("radius.mirror.database-away", error=str(error), waiting=len(self._pending))
                await asyncio.sleep(1)
                self._arrived.set()

    async def store(self) -> None:
        """Commit what has arrived, and say so. What the database raises leaves it to be stored the next time."""
        turn = self._pending[:1_000]
        if not turn:
            return
        async with self._database.begin() as conn:
            await repository.enqueue(conn, [row for row, _ in turn], is_sqlite=self._database.is_sqlite)
        del self._pending[: len(turn)]
        for _, stored in turn:
            stored()
        self._stored.set()
        if self._pending:
            self._arrived.set()

    async def _send_for_ever(self) -> None:
        while True:
            try:
                count = await self.send()
            except (SQLAlchemyError, OSError) as error:
                log.warning("radius.mirror.database-away", error=str(error))
                count = 0
                await asyncio.sleep(1)
            if count:
                continue
            self._stored.clear()
            try:
                async with asyncio.timeout(self.settings.idle_s):
                    await self._stored.wait()
            except TimeoutError:
                continue

    async def send(self) -> int:
        """Send on what is due, to pools that live; how many were claimed."""
        pools, now_us = self._pools.alive(), to_micros(self._clock.now())
        if not pools:
            return 0
        until_us = now_us + int(self.settings.claim_s * 1e6)
        async with self._database.begin() as conn:
            rows = await repository.claim(conn, pools, now_us=now_us, until_us=until_us, limit=self.settings.batch)
        if not rows:
            return 0
        sessions: dict[bytes, list[Waiting]] = {}
        for row in rows:
            sessions.setdefault(_session(row), []).append(row)
        tried = await asyncio.gather(*(self._send_in_order(group) for group in sessions.values()))
        await self._settle(rows, {mirror_id: fate for group in tried for mirror_id, fate in group.items()})
        return len(rows)

    async def _send_in_order(self, group: list[Waiting]) -> dict[str, Fate]:
        """One session's records, one after the other, until one is not taken."""
        fates: dict[str, Fate] = {}
        for row in group:
            fates[row.mirror_id] = await self._send_one(row)
            if fates[row.mirror_id] is Fate.LATER:
                break
        return fates

    async def _send_one(self, row: Waiting) -> Fate:
        packet = _packet(row)
        late_s = (to_micros(self._clock.now()) - row.received_us) // 1_000_000
        attributes = [*_delayed(list(packet.attributes()), late_s), self._state()]
        try:
            reply, server = await self._pools.ask(
                row.pool, ACCOUNTING_REQUEST, attributes, _session(row), budget_s=self.settings.try_s
            )
        except TimeoutError:
            return Fate.LATER
        except PeerError as error:
            log.error("radius.mirror.cannot-be-sent", realm=row.realm, mirror_id=row.mirror_id, problem=str(error))
            return Fate.SET_ASIDE if error.reason in _NEVER_FITS else Fate.LATER
        if reply.code != ACCOUNTING_RESPONSE:
            log.warning("radius.mirror.refused", server=server, realm=row.realm, code=reply.code)
        return Fate.SENT if reply.code == ACCOUNTING_RESPONSE else Fate.LATER

    async def _settle(self, rows: list[Waiting], fates: Mapping[str, Fate]) -> None:
        sent = sorted(mirror_id for mirror_id, fate in fates.items() if fate is Fate.SENT)
        aside = [row for row in rows if fates.get(row.mirror_id) is Fate.SET_ASIDE]
        kept = [row for row in rows if fates.get(row.mirror_id, Fate.LATER) is Fate.LATER]
        now_us = to_micros(self._clock.now())
        async with self._database.begin() as conn:
            if sent:
                await repository.sent(conn, sent)
            if aside:
                await repository.set_aside(conn, [row.mirror_id for row in aside])
            for attempts in {row.attempts for row in kept}:
                wait_s = min(self.settings.last_retry_s, self.settings.first_retry_s * 2 ** min(attempts, 10))
                ids = [row.mirror_id for row in kept if row.attempts == attempts]
                await repository.postpone(conn, ids, now_us + int(wait_s * 1e6))
        for row in aside:
            SET_ASIDE.labels(row.realm).inc()


def _packet(row: Waiting) -> Packet:
    return Packet.decode(encode(ACCOUNTING_REQUEST, 0, ZERO_AUTHENTICATOR, row.packet))


def _session(row: Waiting) -> bytes:
    return _packet(row).get(_ACCT_SESSION_ID) or b""


def _delayed(attributes: Attributes, late_s: int) -> Attributes:
    """With Acct-Delay-Time counting the time spent here."""
    if late_s <= 0:
        return attributes
    given = next((value for kind, value in attributes if kind == _ACCT_DELAY_TIME and len(value) == 4), bytes(4))
    total = min(int.from_bytes(given, "big") + late_s, 0xFFFF_FFFF).to_bytes(4, "big")
    return [*((kind, value) for kind, value in attributes if kind != _ACCT_DELAY_TIME), (_ACCT_DELAY_TIME, total)]

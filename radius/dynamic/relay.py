"""CoA and Disconnect to a NAS over the TLS connection that it opened, whichever of our processes has that connection.

    this process has it    ── down the connection ──► answer
    another one has it     ── row ──► the process that has it claims the row, asks, writes the answer ──► read here

Only what is under way lives in the rows: whoever asked goes on by itself (radius.dynamic.queue), and a row that nobody
reads any more is deleted by the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta

import structlog
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock
from controller.domain.identity import NasId, new_id
from controller.domain.ports import CoaOutcome
from controller.store.engine import Database
from radius.dynamic.tables import relayed
from radius.protocol.nas import Nas
from radius.radsec.reverse import Reverse

log = structlog.get_logger()

Links = Callable[[], Mapping[NasId, Reverse]]


class Relay:
    """`send` may be called from any task; `run` serves what other processes ask of this one's connections."""

    def __init__(
        self, database: Database, clock: Clock, links: Links, *, timeout_s: float, poll_s: float = 0.2
    ) -> None:
        self._database = database
        self._clock = clock
        self._links = links
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self._taken_within_s = max(2.0, 10 * poll_s)

    async def send(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        """What the NAS answered; "timeout" when it did not, or when it has no connection to any process."""
        link = self._links().get(nas.proxy_id or nas.nas_id)
        if link is not None:
            return await self._ask(link, code, attributes)
        try:
            return await self._by_another(nas, code, attributes)
        except (SQLAlchemyError, OSError) as error:
            return CoaOutcome("timeout", detail=f"no process could be asked for its TLS connection: {error}")

    async def _ask(self, link: Reverse, code: int, attributes: bytes) -> CoaOutcome:
        return await link.ask(code, attributes, sent_at=self._clock.now(), timeout_s=self._timeout_s)

    # --- this process asks

    async def _by_another(self, nas: Nas, code: int, attributes: bytes) -> CoaOutcome:
        now = self._clock.now()
        request_id = new_id(now)
        row = {
            "request_id": request_id, "nas_id": nas.proxy_id or nas.nas_id, "code": code, "attributes": attributes,
            "taken": False, "expires_at": now + timedelta(seconds=self._timeout_s + self._taken_within_s),
        }  # fmt: skip
        async with self._database.begin() as conn:
            await conn.execute(delete(relayed).where(relayed.c.expires_at < now))
            await conn.execute(insert(relayed).values(**row))
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while (waited_s := loop.time() - begun_s) < self._timeout_s + self._taken_within_s:
            await asyncio.sleep(self._poll_s)
            async with self._database.read() as conn:
                found = (await conn.execute(select(relayed).where(relayed.c.request_id == request_id))).one_or_none()
            if found is None:
                break
            if found.result is not None:
                await self._withdraw(request_id)
                return CoaOutcome(found.result, found.error_cause, found.detail or "")
            if not found.taken and waited_s > self._taken_within_s and await self._withdraw(request_id, untaken=True):
                return CoaOutcome("timeout", detail="the NAS has no RADIUS/TLS connection to us")
        return CoaOutcome("timeout", detail="the process that has its TLS connection gave no answer")

    async def _withdraw(self, request_id: str, *, untaken: bool = False) -> bool:
        """Delete the row; with `untaken` only while nobody has claimed it. Whether it was there."""
        mine = delete(relayed).where(relayed.c.request_id == request_id)
        async with self._database.begin() as conn:
            return bool((await conn.execute(mine.where(~relayed.c.taken) if untaken else mine)).rowcount)

    async def waiting(self) -> int:
        """How many requests are under way between processes."""
        async with self._database.read() as conn:
            return int(await conn.scalar(select(func.count()).select_from(relayed)) or 0)

    # --- another process asks

    async def run(self) -> None:
        """Take what is for connections of this process, for ever. Without connections nothing is looked at."""
        asking: set[asyncio.Task[None]] = set()
        healthy = True
        try:
            while True:
                await asyncio.sleep(self._poll_s)
                links = self._links()
                if not links:
                    continue
                try:
                    for request_id, nas_id, code, attributes in await self._take(links.keys()):
                        task = asyncio.create_task(self._answer(request_id, links[nas_id], code, attributes))
                        asking.add(task)
                        task.add_done_callback(asking.discard)
                    healthy = True
                except (SQLAlchemyError, OSError) as error:
                    if healthy:
                        log.warning("radius.relay.stalled", error=str(error))
                    healthy = False
        finally:
            for task in asking:
                task.cancel()

    async def _take(self, mine: Collection[NasId]) -> list[tuple[str, NasId, int, bytes]]:
        columns, now = relayed.c, self._clock.now()
        waiting = columns.nas_id.in_(mine) & ~columns.taken & (columns.expires_at > now)
        async with self._database.read() as conn:
            rows = (await conn.execute(select(relayed).where(waiting).limit(256))).all()
        if not rows:
            return []
        async with self._database.begin() as conn:
            return [
                (row.request_id, NasId(row.nas_id), row.code, row.attributes)
                for row in rows
                if await _claim(conn, row.request_id)
            ]

    async def _answer(self, request_id: str, link: Reverse, code: int, attributes: bytes) -> None:
        outcome = await self._ask(link, code, attributes)
        values = {"result": outcome.result, "error_cause": outcome.error_cause, "detail": outcome.detail}
        try:
            async with self._database.begin() as conn:
                await conn.execute(update(relayed).where(relayed.c.request_id == request_id).values(**values))
        except (SQLAlchemyError, OSError) as error:
            log.warning("radius.relay.answer-lost", error=str(error), result=outcome.result)


async def _claim(conn: AsyncConnection, request_id: str) -> bool:
    mine = update(relayed).where(relayed.c.request_id == request_id, ~relayed.c.taken).values(taken=True)
    return bool((await conn.execute(mine)).rowcount)

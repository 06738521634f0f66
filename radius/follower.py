"""Keeps the NAS registry and the directory in memory equal to their rows, by revision.

Changes made in this process are taken over before the call that made them returns; those of other processes within
`refresh_s`. While the database is away the last state serves on: logins need no SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from controller.domain.clock import Clock, SystemClock
from controller.domain.errors import RuleError
from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import line_repository, realm_repository, repository
from radius.authorization.directory import Directory
from radius.members import Members
from radius.pools import repository as pool_repository
from radius.protocol import behind
from radius.protocol.nas import Nas
from radius.protocol.sources import Sources

log = structlog.get_logger()


class Registry:
    """Every enabled NAS by source address, and every NAS by id. `by_address` is read by the server machines."""

    def __init__(self) -> None:
        self.by_address = Sources()
        self.by_id: dict[NasId, Nas] = {}

    def apply(self, nas: Nas) -> None:
        """Take over a new or changed NAS."""
        former = self.by_id.get(nas.nas_id)
        if former is not None:
            self.by_address.drop(former)
        self.by_id[nas.nas_id] = nas
        self.by_address.put(nas)

    def by_identity(self, names: Iterable[str]) -> Nas | None:
        """The enabled NAS that one of these names of a certificate belongs to."""
        wanted = set(names)
        return next((nas for nas in self.by_id.values() if nas.enabled and nas.tls_identity in wanted), None)

    def find(self, address: str) -> Nas | None:
        """The enabled NAS, or the box of an enabled network, that has this address."""
        try:
            return self.by_address[address]
        except KeyError:
            return None

    def end_rotations(self, now: datetime) -> None:
        """Forget former secrets whose time is over."""
        for nas in list(self.by_id.values()):
            if nas.rotation is not None and nas.rotation.until <= now:
                self.apply(replace(nas, rotation=None))


class Follower:
    """`load` once before serving, `refresh` after a change of one's own, `run` for those of others."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        registry: Registry,
        directory: Directory,
        *,
        clock: Clock | None = None,
        refresh_s: float = 1.0,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._box = box
        self._registry = registry
        self._directory = directory
        self._refresh_s = refresh_s
        self.members = Members(database)
        self._turn = asyncio.Lock()
        self._nas_revision = 0
        self._offering_revision = 0
        self._realm_revision = 0
        self._subscriber_revision = 0
        self._line_revision = 0
        self._pool_revision = 0
        self._holds_directory = False

    async def load(self) -> None:
        """Read everything there is. Raises what the database raises, RuleError when a secret does not open."""
        self._holds_directory = True
        await self.refresh()
        log.info("radius.directory.loaded", subscribers=len(self._directory), nas=len(self._registry.by_id))

    async def refresh(self) -> None:
        """Take over every row that changed since the last time, as one instant has them all."""
        async with self._turn, self._database.read() as conn:
            for follow in (
                self._nas, self._offerings, self._pools, self._realms, self._subscribers, self._lines
            ):  # fmt: skip
                await follow(conn)

    async def nas(self, nas_id: NasId) -> Nas | None:
        """A NAS as it is registered now; also in a process that serves no RADIUS and only sends CoA."""
        await self.refresh_nas()
        self._registry.end_rotations(self._clock.now())
        found = self._registry.by_id.get(nas_id)
        if found is not None:
            return found
        await self.members.write(self._clock.now())  # a box that has only just reported is not there yet
        known = await self.members.find(nas_id)
        found = None if known is None else self._registry.find(known.address)
        if found is not None and known is not None and known.names:
            found = behind.box(found, known.names)
        return found if found is not None and found.nas_id == nas_id else None

    async def every_nas(self) -> list[Nas]:
        """All of them as they are registered now, enabled or not."""
        await self.refresh_nas()
        return list(self._registry.by_id.values())

    async def refresh_nas(self) -> None:
        async with self._turn, self._database.read() as conn:
            await self._nas(conn)

    async def refresh_offerings(self) -> None:
        async with self._turn, self._database.read() as conn:
            await self._offerings(conn)

    async def refresh_realms(self) -> None:
        async with self._turn, self._database.read() as conn:
            await self._realms(conn)

    async def refresh_subscribers(self) -> None:
        """Nothing to do in a process that did not `load`: it answers no login."""
        if not self._holds_directory:
            return
        async with self._turn, self._database.read() as conn:
            await self._subscribers(conn)

    async def refresh_pools(self) -> None:
        async with self._turn, self._database.read() as conn:
            await self._pools(conn)

    async def refresh_lines(self) -> None:
        async with self._turn, self._database.read() as conn:
            await self._lines(conn)

    async def _nas(self, conn: AsyncConnection) -> None:
        for revision, nas in await repository.nas_after(conn, self._nas_revision, self._box):
            self._registry.apply(nas)
            self._nas_revision = revision
        self._registry.end_rotations(self._clock.now())

    async def _offerings(self, conn: AsyncConnection) -> None:
        for revision, profile_name, terms in await repository.offerings_after(conn, self._offering_revision):
            self._directory.apply_offering(profile_name, terms)
            self._offering_revision = revision

    async def _realms(self, conn: AsyncConnection) -> None:
        for revision, realm, becomes in await realm_repository.realms_after(conn, self._realm_revision):
            self._directory.realms.apply(realm, becomes)
            self._realm_revision = revision

    async def _subscribers(self, conn: AsyncConnection) -> None:
        if not self._holds_directory:
            return
        newest, opened, unopened = self._subscriber_revision, 0, list[str]()
        async for chunk in repository.subscribers_after(conn, self._subscriber_revision):
            # A large chunk is opened beside the event loop; a thread for one row would cost more than the row.
            rows, shut = (
                repository.open_rows(chunk, self._box)
                if len(chunk) < 100
                else await asyncio.to_thread(repository.open_rows, chunk, self._box)
            )
            for row in rows:
                self._directory.apply(row)
            newest = rows[-1].revision
            opened, unopened = opened + len(rows) - len(shut), unopened + shut
        if unopened:
            self._tell_unopened(unopened, opened)
        # Only now: a revision may span chunks, and one cut off by an error is read again from its start.
        self._subscriber_revision = newest

    def _tell_unopened(self, unopened: list[str], opened: int) -> None:
        """Raises RuleError where nothing at all opens at the start: then the key file is another installation's."""
        if not opened and not self._subscriber_revision:
            raise RuleError("no key in the key file opens any subscriber's password", code="sealed-secret")
        log.error(
            "radius.directory.unopened",
            usernames=unopened[:10],
            count=len(unopened),
            hint="the key file does not open these passwords, so they are refused: set each anew",
        )

    async def _pools(self, conn: AsyncConnection) -> None:
        for row in await pool_repository.pools_after(conn, self._pool_revision):
            pool = row.pool
            self._directory.apply_pool(pool.kind, pool.name, None if row.withdrawn else pool.pool_id)
            self._pool_revision = row.revision

    async def _lines(self, conn: AsyncConnection) -> None:
        for revision, line, username in await line_repository.lines_after(conn, self._line_revision):
            self._directory.apply_line(line, username)
            self._line_revision = revision

    async def run(self) -> None:
        """Follow other processes for ever; a database that is away is logged once and tried again."""
        healthy = True
        while True:
            await asyncio.sleep(self._refresh_s)
            self._registry.end_rotations(self._clock.now())
            try:
                await self.refresh()
                await self.members.write(self._clock.now())
            except (SQLAlchemyError, OSError) as error:
                if healthy:
                    log.warning("radius.directory.stale", error=str(error))
                healthy = False
            else:
                if not healthy:
                    log.info("radius.directory.fresh")
                healthy = True

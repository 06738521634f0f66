"""Keeps the NAS registry and the directory in memory equal to their rows, by revision.

Changes made in this process are taken over before the call that made them returns; those of other processes within
`refresh_s`. While the database is away the last state serves on: logins need no SQL.
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.identity import NasId
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius import realm_repository, repository
from radius.authorization.directory import Directory
from radius.protocol.nas import Nas

log = structlog.get_logger()


class Registry:
    """Every enabled NAS by source address, and every NAS by id. `by_address` is read by the server machines."""

    def __init__(self) -> None:
        self.by_address: dict[str, Nas] = {}
        self.by_id: dict[NasId, Nas] = {}

    def apply(self, nas: Nas) -> None:
        """Take over a new or changed NAS."""
        former = self.by_id.get(nas.nas_id)
        # Another NAS may have taken over the former address already.
        if former is not None and self.by_address.get(former.address) is former:
            del self.by_address[former.address]
        self.by_id[nas.nas_id] = nas
        if nas.enabled:
            self.by_address[nas.address] = nas


class Follower:
    """`load` once before serving, `refresh` after a change of one's own, `run` for those of others."""

    def __init__(
        self, database: Database, box: SecretBox, registry: Registry, directory: Directory, *, refresh_s: float = 1.0
    ) -> None:
        self._database = database
        self._box = box
        self._registry = registry
        self._directory = directory
        self._refresh_s = refresh_s
        self._turn = asyncio.Lock()
        self._nas_revision = 0
        self._offering_revision = 0
        self._realm_revision = 0
        self._subscriber_revision = 0
        self._holds_directory = False

    async def load(self) -> None:
        """Read everything there is. Raises what the database raises, RuleError when a secret does not open."""
        self._holds_directory = True
        await self.refresh()
        log.info("radius.directory.loaded", subscribers=len(self._directory), nas=len(self._registry.by_id))

    async def refresh(self) -> None:
        """Take over every row that changed since the last time."""
        await self.refresh_nas()
        await self.refresh_offerings()
        await self.refresh_realms()
        await self.refresh_subscribers()

    async def nas(self, nas_id: NasId) -> Nas | None:
        """A NAS as it is registered now; also in a process that serves no RADIUS and only sends CoA."""
        await self.refresh_nas()
        return self._registry.by_id.get(nas_id)

    async def refresh_nas(self) -> None:
        async with self._turn, self._database.read() as conn:
            for revision, nas in await repository.nas_after(conn, self._nas_revision, self._box):
                self._registry.apply(nas)
                self._nas_revision = revision

    async def refresh_offerings(self) -> None:
        async with self._turn, self._database.read() as conn:
            for revision, profile_name, terms in await repository.offerings_after(conn, self._offering_revision):
                self._directory.apply_offering(profile_name, terms)
                self._offering_revision = revision

    async def refresh_realms(self) -> None:
        async with self._turn, self._database.read() as conn:
            for revision, realm, becomes in await realm_repository.realms_after(conn, self._realm_revision):
                self._directory.realms.apply(realm, becomes)
                self._realm_revision = revision

    async def refresh_subscribers(self) -> None:
        """Nothing to do in a process that did not `load`: it answers no login."""
        if not self._holds_directory:
            return
        async with self._turn, self._database.read() as conn:
            newest = self._subscriber_revision
            async for chunk in repository.subscribers_after(conn, self._subscriber_revision):
                # A large chunk is opened beside the event loop; a thread for one row would cost more than the row.
                rows = (
                    repository.open_rows(chunk, self._box)
                    if len(chunk) < 100
                    else await asyncio.to_thread(repository.open_rows, chunk, self._box)
                )
                for row in rows:
                    self._directory.apply(row)
                newest = rows[-1].revision
            # Only now: a revision may span chunks, and one cut off by an error is read again from its start.
            self._subscriber_revision = newest

    async def run(self) -> None:
        """Follow other processes for ever; a database that is away is logged once and tried again."""
        healthy = True
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                if healthy:
                    log.warning("radius.directory.stale", error=str(error))
                healthy = False
            else:
                if not healthy:
                    log.info("radius.directory.fresh")
                healthy = True

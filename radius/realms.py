"""Use cases of realms, and their HTTP: which realms are stripped from user names, and which stand for another."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from controller.domain.clock import Clock
from controller.domain.errors import NotFound, RuleError
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.store import audit
from controller.store.engine import Database
from radius import realm_repository, repository
from radius.authorization import realm as rules
from radius.follower import Follower


class RealmIn(BaseModel):
    """What becomes of user names with this realm before anybody is looked up."""

    model_config = ConfigDict(extra="forbid")

    becomes: str = Field(default="", max_length=253, description="Another realm; empty strips it")


class RealmOut(BaseModel):
    realm: str
    becomes: str


class RealmService:
    """One transaction each, with its audit entry; the next login is judged by it."""

    def __init__(self, database: Database, clock: Clock, follower: Follower) -> None:
        self._database = database
        self._clock = clock
        self._follower = follower

    async def put(self, realm: str, becomes: str, *, actor: str) -> RealmOut:
        """Strip the realm ("") or rename it. Raises RuleError for what is no realm, or would lead to itself."""
        realm, becomes = rules.checked(realm), rules.checked(becomes) if becomes else ""
        if realm == becomes:
            raise RuleError(f"realm {realm!r} cannot become itself")
        await self._write(realm, becomes, actor)
        return RealmOut(realm=realm, becomes=becomes)

    async def remove(self, realm: str, *, actor: str) -> None:
        """Leave names with this realm as they are. Raises NotFound."""
        realm = rules.checked(realm)
        async with self._database.read() as conn:
            if await realm_repository.get_realm(conn, realm) is None:
                raise NotFound(f"nothing is done with realm {realm!r}")
        await self._write(realm, None, actor)

    async def list(self, *, after: str | None, limit: int) -> list[tuple[str, str]]:
        async with self._database.read() as conn:
            return await realm_repository.list_realms(conn, after=after, limit=limit)

    async def _write(self, realm: str, becomes: str | None, actor: str) -> None:
        now = self._clock.now()
        async with self._database.begin() as conn:
            await repository.take_turn(conn)
            before = await realm_repository.get_realm(conn, realm)
            if before == becomes:
                return
            await realm_repository.put_realm(conn, realm, becomes, now)
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="realm.put",
                subject=f"realm:{realm}",
                before={"becomes": before},
                after={"becomes": becomes},
            )
        await self._follower.refresh_realms()


def endpoints(realms: RealmService) -> list[Endpoint]:
    """Below /api/v1."""

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = await realms.list(after=query.last(str), limit=query.rows)
        return Page.of(rows, query, lambda row: (row[0],), lambda row: RealmOut(realm=row[0], becomes=row[1]))

    async def put(call: Call) -> RealmOut:
        return await realms.put(call.path["realm"], call.body_as(RealmIn).becomes, actor=call.actor)

    async def remove(call: Call) -> None:
        await realms.remove(call.path["realm"], actor=call.actor)

    one, read, write = "/radius/realms/{realm}", "radius:read", "radius:write"
    summary = "Strip a realm from user names, or have it stand for another"
    return [
        Endpoint("GET", "/radius/realms", read, index, "Realms", returns=RealmOut, query=PageQuery, paged=True),
        Endpoint("PUT", one, write, put, summary, returns=RealmOut, body=RealmIn),
        Endpoint("DELETE", one, write, remove, "Leave names with this realm as they are", status=204),
    ]

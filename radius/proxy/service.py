"""Use cases of proxying: home servers and realms are written with an audit entry, and in force within a second."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from controller.domain.clock import Clock
from controller.domain.errors import NotFound, RuleError
from controller.domain.hosts import is_host
from controller.domain.ports import Secret
from controller.store import audit
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from radius.protocol.templates import near_misses
from radius.proxy import repository
from radius.proxy.model import ACCOUNTING, TLS, UDP, Routes
from radius.proxy.pools import Member, Pools
from radius.proxy.router import Router
from radius.proxy.tables import home_server, proxy_realm
from radius.radsec import identity

log = structlog.get_logger()

_REALM = re.compile(r"\*|(\*\.)?[^\s@*]{1,250}")

Row = dict[str, Any]


class ProxyService:
    """Writes the configuration, and `run` keeps `router` and `pools` equal to it in every process."""

    def __init__(
        self, database: Database, clock: Clock, box: SecretBox, router: Router, pools: Pools, *, refresh_s: float = 1.0
    ) -> None:
        self._database = database
        self._clock = clock
        self._box = box
        self._router = router
        self._pools = pools
        self._refresh_s = refresh_s

    async def put_server(self, name: str, values: Row, secret: Secret | None, *, actor: str) -> Row:
        """Raises RuleError for values that cannot be. Without `secret` the former one stays."""
        row = _checked_server(values | {"name": name})
        row["updated_at"] = self._clock.now()
        async with self._database.begin() as conn:
            rows = await repository.index(conn, home_server, after=None, limit=10_000)
            former = next((one["secret"] for one in rows if one["name"] == name), None)
            sealed = None if secret is None else self._box.seal(secret, repository.server_context(name))
            row["secret"] = (sealed or former) if row["transport"] == UDP else None
            if row["transport"] == UDP and row["secret"] is None:
                raise RuleError("a home server over UDP needs a secret")
            before = await repository.put(conn, home_server, row)
            changed = {"secret": "changed"} if secret is not None else {}
            await self._record(conn, actor, "home-server", name, _shown(before), _shown(row) | changed)
        await self.refresh()
        return row

    async def put_realm(self, realm: str, values: Row, *, actor: str) -> Row:
        """Raises RuleError for values that cannot be."""
        row = _checked_realm(values | {"realm": realm.lower()})
        row["updated_at"] = self._clock.now()
        async with self._database.begin() as conn:
            before = await repository.put(conn, proxy_realm, row)
            await self._record(conn, actor, "proxy-realm", row["realm"], _shown(before), _shown(row))
        await self.refresh()
        return row

    async def drop_server(self, name: str, *, actor: str) -> None:
        await self._drop(home_server, "home-server", name, actor)

    async def drop_realm(self, realm: str, *, actor: str) -> None:
        await self._drop(proxy_realm, "proxy-realm", realm.lower(), actor)

    async def servers(self, *, after: str | None, limit: int) -> list[Row]:
        async with self._database.read() as conn:
            return await repository.index(conn, home_server, after=after, limit=limit)

    async def realms(self, *, after: str | None, limit: int) -> list[Row]:
        async with self._database.read() as conn:
            return await repository.index(conn, proxy_realm, after=after, limit=limit)

    async def backlog(self) -> dict[str, tuple[int, Any]]:
        """Pool → accounting records that wait to be sent on, and the arrival of the oldest."""
        async with self._database.read() as conn:
            return await repository.backlog(conn)

    async def aside(self) -> dict[str, int]:
        """Pool → accounting records that are kept, and fit into no packet that could be sent on."""
        async with self._database.read() as conn:
            return await repository.aside(conn)

    def health(self) -> dict[str, Member]:
        """How the home servers fare, as this process sees it."""
        return {member.server.name: member for member in self._pools.members}

    async def refresh(self) -> None:
        """Take over what is written. Raises what the database raises."""
        async with self._database.read() as conn:
            servers = await repository.servers(conn, self._box)
            routes = await repository.routes(conn)
        self._pools.replace(servers)
        self._router.routes = Routes(routes)

    async def run(self) -> None:
        """Follow other processes, for ever; while the database is away the last state serves on."""
        while True:
            await asyncio.sleep(self._refresh_s)
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.debug("radius.proxy.stale", error=str(error))

    async def _drop(self, table: Table, kind: str, name: str, actor: str) -> None:
        async with self._database.begin() as conn:
            if not await repository.drop(conn, table, name):
                raise NotFound(f"no {kind} {name}")
            await self._record(conn, actor, kind, name, None, {"dropped": True})
        await self.refresh()

    async def _record(self, conn: Any, actor: str, kind: str, name: str, before: Row | None, after: Row | None) -> None:
        await audit.record(
            conn,
            now=self._clock.now(),
            actor=actor,
            action=f"{kind}.change",
            subject=f"{kind}:{name}",
            before=before,
            after=after or {},
        )


def _shown(row: Row | None) -> Row:
    return {} if row is None else {name: value for name, value in row.items() if name not in ("secret", "updated_at")}


def _checked_server(row: Row) -> Row:
    if row["transport"] not in (UDP, TLS):
        raise RuleError(f"transport {row['transport']!r} is neither {UDP} nor {TLS}")
    if not row["host"]:
        raise RuleError("a home server has a host")
    if not is_host(row["host"]):
        raise RuleError(f"{row['host']!r} is no address and no name that can be looked up")
    if row["transport"] == TLS:
        named = row["tls_identity"] or ("ip:" if _is_address(row["host"]) else "dns:") + row["host"]
        row["tls_identity"] = identity.canonical(named)
    return row


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _checked_realm(row: Row) -> Row:
    if not _REALM.fullmatch(row["realm"]):
        raise RuleError(f"{row['realm']!r} is no realm: a name, *.name for those below it, or * for every other")
    if row["accounting"] not in ACCOUNTING:
        raise RuleError(f"accounting {row['accounting']!r} is none of {', '.join(ACCOUNTING)}")
    row["request_drops"] = _names(row["request_drops"])
    row["reply_allows"] = None if row["reply_allows"] is None else _names(row["reply_allows"])
    return row


def _names(names: Sequence[str]) -> str:
    for name in names:
        try:
            repository.kinds([name])
        except KeyError:
            near = ", ".join(near_misses(name))
            raise RuleError(
                f"no attribute {name!r} in the dictionaries; near: {near}", code="unknown-attribute"
            ) from None
    return " ".join(names)

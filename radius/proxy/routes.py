"""HTTP of proxying: realms that others serve, their home servers and health. Secrets go in and never come out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from controller.domain.ports import Secret
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from radius.proxy.service import ProxyService


class HomeServerIn(BaseModel):
    """A server that others' users are sent to. Over TLS `auth_port` is the only port, as a rule 2083."""

    model_config = ConfigDict(extra="forbid")

    pool: str = Field(min_length=1, max_length=64, pattern=r"^\S+$")
    transport: Literal["udp", "tls"] = "udp"
    host: str = Field(min_length=1, max_length=253)
    auth_port: int = Field(default=1812, ge=1, le=65_535)
    acct_port: int = Field(default=1813, ge=1, le=65_535)
    secret: SecretStr | None = Field(default=None, min_length=1, max_length=128, description="Left out, it stays")
    tls_identity: str = Field(default="", max_length=255, description="By default its host: dns:HOST or ip:HOST")
    priority: int = Field(default=1, ge=0, le=1_000, description="The lowest that lives is asked first")
    balanced: bool = Field(default=False, description="Shares the load with those of the same priority")
    status_checks: bool = Field(default=True, description="It answers Status-Server (RFC 5997)")
    require_message_authenticator: bool = Field(default=False, description="Believe signed answers only")
    enabled: bool = True


class HomeServerOut(BaseModel):
    name: str
    pool: str
    transport: str
    host: str
    auth_port: int
    acct_port: int
    tls_identity: str
    priority: int
    balanced: bool
    status_checks: bool
    require_message_authenticator: bool
    enabled: bool
    state: Literal["alive", "dead", "not used"] = "not used"
    answered: int = 0
    lost: int = 0


class RealmIn(BaseModel):
    """What is done with the users of a realm. `pool` "" serves them here, though a wider realm goes elsewhere."""

    model_config = ConfigDict(extra="forbid")

    pool: str = Field(max_length=64, pattern=r"^\S*$")
    accounting: Literal["local", "mirror", "proxy"] = "mirror"
    strips: bool = Field(default=False, description="Send the user name without its realm")
    request_drops: list[str] = Field(default=[], max_length=100, description="Attributes that do not leave us")
    reply_allows: list[str] | None = Field(
        default=None, max_length=100, description="Attributes of a reply that reach the NAS; all where it is left out"
    )


class RealmOut(BaseModel):
    realm: str
    pool: str
    accounting: str
    strips: bool
    request_drops: list[str]
    reply_allows: list[str] | None


class BacklogOut(BaseModel):
    """Accounting that waits to be sent on. `set_aside` is kept beside it: it fits into no packet with what we add."""

    pool: str
    records: int
    oldest_received_at: datetime | None
    set_aside: int


def endpoints(proxy: ProxyService) -> list[Endpoint]:
    async def put_server(call: Call) -> HomeServerOut:
        body = call.body_as(HomeServerIn)
        secret = None if body.secret is None else Secret(body.secret.get_secret_value())
        values = body.model_dump(exclude={"secret"})
        return _server(await proxy.put_server(call.path["name"], values, secret, actor=call.actor))

    async def servers(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = await proxy.servers(after=query.after, limit=query.limit + 1)
        items = rows[: query.limit]
        return Page([_server(row) for row in items], items[-1]["name"] if len(rows) > query.limit else None)

    async def drop_server(call: Call) -> None:
        await proxy.drop_server(call.path["name"], actor=call.actor)

    async def put_realm(call: Call) -> RealmOut:
        body = call.body_as(RealmIn)
        return _realm(await proxy.put_realm(call.path["realm"], body.model_dump(), actor=call.actor))

    async def realms(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = await proxy.realms(after=query.after, limit=query.limit + 1)
        items = rows[: query.limit]
        return Page([_realm(row) for row in items], items[-1]["realm"] if len(rows) > query.limit else None)

    async def drop_realm(call: Call) -> None:
        await proxy.drop_realm(call.path["realm"], actor=call.actor)

    async def backlog(call: Call) -> Page:
        found, aside = await proxy.backlog(), await proxy.aside()
        shown = []
        for pool in sorted(found.keys() | aside.keys()):
            count, oldest_us = found.get(pool, (0, None))
            oldest = None if oldest_us is None else datetime.fromtimestamp(oldest_us / 1e6, UTC)
            shown.append(BacklogOut(pool=pool, records=count, oldest_received_at=oldest, set_aside=aside.get(pool, 0)))
        return Page(shown, None)

    def _server(row: dict[str, Any]) -> HomeServerOut:
        shown = HomeServerOut.model_validate({name: row[name] for name in row if name not in ("secret", "updated_at")})
        member = proxy.health().get(row["name"])
        if member is not None:
            health = member.health
            shown.state = "alive" if health.is_alive else "dead"
            shown.answered, shown.lost = health.answered, health.lost
        return shown

    read, write = "radius:read", "radius:write"
    return [
        Endpoint("GET", "/home-servers", read, servers, "List home servers, and how this process finds them",
                 returns=HomeServerOut, query=PageQuery, paged=True),
        Endpoint("PUT", "/home-servers/{name}", write, put_server, "Write a home server", returns=HomeServerOut,
                 body=HomeServerIn),
        Endpoint("DELETE", "/home-servers/{name}", write, drop_server, "Forget a home server", status=204),
        Endpoint("GET", "/proxy-realms", read, realms, "List realms that are proxied", returns=RealmOut,
                 query=PageQuery, paged=True),
        Endpoint("PUT", "/proxy-realms/{realm}", write, put_realm, "Say who serves a realm", returns=RealmOut,
                 body=RealmIn),
        Endpoint("DELETE", "/proxy-realms/{realm}", write, drop_realm, "Serve a realm here again", status=204),
        Endpoint("GET", "/proxy-backlog", read, backlog, "Accounting that waits to be sent on, by pool",
                 returns=BacklogOut, query=PageQuery, paged=True),
    ]  # fmt: skip


def _realm(row: dict[str, Any]) -> RealmOut:
    allows = row["reply_allows"]
    return RealmOut(
        realm=row["realm"],
        pool=row["pool"],
        accounting=row["accounting"],
        strips=row["strips"],
        request_drops=row["request_drops"].split(),
        reply_allows=None if allows is None else allows.split(),
    )

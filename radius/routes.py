"""HTTP of the RADIUS room: the NAS registry, and the end of a session. A shared secret goes in and never comes out."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from controller.domain.ports import Secret
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from radius.access_routes import NamedAttribute
from radius.nas_registry import MAX_OVERLAP_S, NasChange, NasService
from radius.repository import NasRow
from radius.sessions import SessionController

IDENTITY = (
    "How its certificate is known over RADIUS/TLS: dns:NAME, ip:ADDRESS or uri:URI of its subjectAltName, "
    "or sha256:FINGERPRINT"
)


_MISSED = (
    "After so many silent interim intervals a session of it is ended provisionally; 0: never, for it sends no interims;"
    " by default the site's number"
)


TAKES = (
    "What it can be asked for in mid-session; the rest is not sent, and refused at once: a rate (another speed), a "
    "filter (the walled garden), a Disconnect"
)


class NasIn(BaseModel):
    """A NAS to register. `secret` is shared with the NAS (RFC 2865 §3)."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64)
    address: str = Field(description="Source address of its datagrams, or a network in CIDR", max_length=45)
    secret: SecretStr = Field(min_length=1, max_length=128)
    vendor: str = Field(default="rfc", description="Whose attributes it understands, one of GET /radius/vendors")
    coa_port: int = Field(default=3799, ge=1, le=65_535)
    interim_interval_s: int = Field(default=300, ge=60, le=86_400)
    missed_interims: int | None = Field(default=None, ge=0, le=1_000, description=_MISSED)
    require_message_authenticator: bool = Field(
        default=False, description="Drop Access-Requests without Message-Authenticator"
    )
    limit_proxy_state: bool = Field(
        default=False, description="Drop Access-Requests with Proxy-State and without Message-Authenticator"
    )
    tls_identity: str | None = Field(default=None, max_length=255, description=IDENTITY)
    coa_over: Literal["udp", "tls"] | None = Field(
        default=None,
        description="How it is asked for CoA and Disconnect: at its coa_port, or over the RADIUS/TLS connection that "
        "it opened; by default the latter where it has a tls_identity",
    )
    coa_address: str | None = Field(
        default=None, max_length=45, description="Where it is asked for CoA and Disconnect, if not at its address"
    )
    coa_secret: SecretStr | None = Field(
        default=None, min_length=1, max_length=128, description="For CoA and Disconnect, if it is not its secret"
    )
    coa_takes: list[Literal["rate", "filter", "disconnect"]] = Field(
        default=["rate", "filter", "disconnect"], description=TAKES
    )
    sign_dynamic_requests: bool = Field(
        default=False, description="Put a Message-Authenticator into CoA and Disconnect requests (RFC 5176 §3.4)"
    )
    class_proves_speed: bool | None = Field(
        default=None,
        description="Whether the Class of a CoA, coming back in accounting, is evidence of the new speed where the NAS "
        "reports no rate; by default what is known of the vendor",
    )
    disconnect_when_refused: bool = Field(
        default=False, description="Where it refuses a CoA, end the session, so that the next login has the new state"
    )
    swaps_octets: bool = Field(
        default=False, description="It counts as Input what went to the subscriber (against RFC 2866 §5.3)"
    )
    adds_ipv6_octets: bool = Field(
        default=False, description="Its vendor's IPv6 counters come on top of the standard ones, which leave IPv6 out"
    )
    port_speed_bps: int = Field(
        default=10_000_000_000, ge=1_000_000, description="What no session can exceed; more is quarantined"
    )
    reply_attributes: list[NamedAttribute] = Field(
        default=[], max_length=64, description="Further attributes of every Access-Accept to it"
    )
    line_logins: list[Literal["circuit", "remote", "port", "mac"]] = Field(
        default=[], description="What it may name instead of a user name and a password; see PUT /services/{id}/lines"
    )
    enabled: bool = True


class NasPatch(BaseModel):
    """What to change; fields left out stay."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=64)
    address: str | None = Field(default=None, max_length=45)
    secret: SecretStr | None = Field(default=None, min_length=1, max_length=128)
    secret_overlap_s: int = Field(
        default=3_600, ge=0, le=MAX_OVERLAP_S, description="How long the former secret is accepted beside a new one"
    )
    vendor: str | None = None
    coa_port: int | None = Field(default=None, ge=1, le=65_535)
    interim_interval_s: int | None = Field(default=None, ge=60, le=86_400)
    missed_interims: int | None = Field(default=None, ge=0, le=1_000, description=_MISSED)
    require_message_authenticator: bool | None = None
    limit_proxy_state: bool | None = None
    tls_identity: str | None = Field(default=None, max_length=255, description=f'{IDENTITY}; "" takes it away')
    coa_over: Literal["udp", "tls", ""] | None = Field(default=None, description='"" takes the default again')
    coa_address: str | None = Field(default=None, max_length=45, description='"" takes it away')
    coa_secret: SecretStr | None = Field(
        default=None, max_length=128, description='For CoA and Disconnect; "": it is asked under its own secret again'
    )
    coa_takes: list[Literal["rate", "filter", "disconnect"]] | None = Field(default=None, description=TAKES)
    sign_dynamic_requests: bool | None = None
    class_proves_speed: bool | None = None
    disconnect_when_refused: bool | None = None
    swaps_octets: bool | None = None
    adds_ipv6_octets: bool | None = None
    port_speed_bps: int | None = Field(default=None, ge=1_000_000)
    reply_attributes: list[NamedAttribute] | None = Field(default=None, max_length=64)
    line_logins: list[Literal["circuit", "remote", "port", "mac"]] | None = None
    enabled: bool | None = None


class NasOut(BaseModel):
    nas_id: str
    name: str
    address: str
    vendor: str
    coa_port: int
    interim_interval_s: int
    missed_interims: int | None
    require_message_authenticator: bool
    limit_proxy_state: bool
    tls_identity: str | None
    coa_over: Literal["udp", "tls"] | None
    coa_address: str | None
    coa_takes: list[str]
    former_until: datetime | None
    sign_dynamic_requests: bool
    class_proves_speed: bool
    disconnect_when_refused: bool
    swaps_octets: bool
    adds_ipv6_octets: bool
    port_speed_bps: int
    reply_attributes: list[NamedAttribute]
    line_logins: list[str]
    enabled: bool
    created_at: datetime
    updated_at: datetime


class WeakNasOut(BaseModel):
    """A NAS that an attacker on the way could make use of. `requests_seen` is what this process saw it send."""

    nas_id: str
    name: str
    address: str
    weaknesses: list[str]
    requests_seen: Literal["signed", "unsigned", "both"] | None
    advice: str


class DisconnectIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=200)


class DisconnectOut(BaseModel):
    """What the NAS answered. "ack" is its word: the session has ended when its Stop has arrived."""

    result: str
    error_cause: int | None
    detail: str


def endpoints(nas: NasService, sessions: SessionController) -> list[Endpoint]:
    """The room's endpoints, except the reading of sessions (radius.accounting.routes)."""

    async def register(call: Call) -> NasOut:
        body = call.body_as(NasIn)
        values = body.model_dump(exclude={"secret", "coa_secret"})
        coa_secret = None if body.coa_secret is None else _secret(body.coa_secret)
        made = await nas.register(**values, secret=_secret(body.secret), coa_secret=coa_secret, actor=call.actor)
        return _out(made)

    async def weak(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = [row for row in await nas.weak() if query.after is None or row.name > query.after]
        items = rows[: query.limit]
        shown = [WeakNasOut.model_validate(row, from_attributes=True) for row in items]
        return Page(shown, items[-1].name if len(rows) > query.limit else None)

    async def show(call: Call) -> NasOut:
        return _out(await nas.show(call.path["nas_id"]))

    async def index(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = await nas.list(after=query.after, limit=query.limit + 1)
        items = rows[: query.limit]
        return Page([_out(row) for row in items], items[-1].nas_id if len(rows) > query.limit else None)

    async def change(call: Call) -> NasOut:
        body = call.body_as(NasPatch)
        values = body.model_dump(exclude={"secret", "coa_secret"})
        secret = None if body.secret is None else _secret(body.secret)
        coa_secret = None if body.coa_secret is None else _secret(body.coa_secret)
        wanted = NasChange(**values, secret=secret, coa_secret=coa_secret)
        return _out(await nas.change(call.path["nas_id"], wanted, actor=call.actor))

    async def disconnect(call: Call) -> DisconnectOut:
        reason = call.body_as(DisconnectIn).reason
        outcome = await sessions.disconnect(call.path["key"], actor=call.actor, reason=reason)
        return DisconnectOut(result=outcome.result, error_cause=outcome.error_cause, detail=outcome.detail)

    return [
        Endpoint("POST", "/nas", "radius:write", register, "Register a NAS", returns=NasOut, body=NasIn, status=201),
        Endpoint("GET", "/nas", "radius:read", index, "List NAS", returns=NasOut, query=PageQuery, paged=True),
        Endpoint(
            "GET",
            "/nas/weak",
            "radius:read",
            weak,
            "List NAS that accept what can be forged (CVE-2024-3596), with what to do",
            returns=WeakNasOut,
            query=PageQuery,
            paged=True,
        ),
        Endpoint("GET", "/nas/{nas_id}", "radius:read", show, "Show a NAS", returns=NasOut),
        Endpoint("PATCH", "/nas/{nas_id}", "radius:write", change, "Change a NAS", returns=NasOut, body=NasPatch),
        Endpoint(
            "POST",
            "/sessions/{key}/disconnect",
            "radius:write",
            disconnect,
            "Ask the NAS to end a session (RFC 5176 §2.1)",
            returns=DisconnectOut,
            body=DisconnectIn,
        ),
    ]


_TEXTS = ("reply_attributes", "line_logins", "coa_takes")
"""Lists, kept as text."""


def _out(row: NasRow) -> NasOut:
    shown = {name: getattr(row, name) for name in NasOut.model_fields if name not in _TEXTS}
    return NasOut(
        **shown,
        reply_attributes=json.loads(row.reply_attributes or "[]"),
        line_logins=row.line_logins.split(),
        coa_takes=row.coa_takes.split(),
    )


def _secret(value: SecretStr) -> Secret:
    return Secret(value.get_secret_value())

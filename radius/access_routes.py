"""HTTP of access: terms of services and offerings, suspension, and what the dictionaries know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from radius.access import Access, AccessService, ChangedSession
from radius.protocol import lookup
from radius.vendors import reply


class NamedAttribute(BaseModel):
    """A reply attribute by its name in the dictionaries, such as Framed-MTU or Tunnel-Type:1 with a tag."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128)
    value: str = Field(min_length=1, max_length=253)


class TermsIn(BaseModel):
    """What is given besides a speed, and on which conditions. What is left out the offering or the room decides."""

    model_config = ConfigDict(extra="forbid")

    pool: str | None = Field(default=None, description="Name of the IPv4 pool on the NAS")
    ipv6_pool: str | None = Field(default=None, description="Name of the pool of IPv6 prefixes of the link")
    delegated_pool: str | None = Field(default=None, description="Name of the pool of delegated IPv6 prefixes")
    vlan: int | None = Field(default=None, ge=1, le=4094, description="IEEE 802.1Q id")
    upstream_filter: str | None = Field(default=None, description="Filter on the NAS for what the subscriber sends")
    downstream_filter: str | None = Field(default=None, description="Filter on the NAS for what it receives")
    session_timeout_s: int | None = Field(default=None, ge=0, description="0 sends none")
    idle_timeout_s: int | None = Field(default=None, ge=0, description="0 sends none")
    interim_interval_s: int | None = Field(
        default=None, ge=60, le=86_400, description="Acct-Interim-Interval in place of the NAS's"
    )
    simultaneous_use: int | None = Field(default=None, ge=1, description="Sessions that may be live at once")
    nas_ids: list[str] = Field(default=[], max_length=64, description="NAS it may log in from")
    nas_port_id: str | None = Field(default=None, description="NAS-Port-Id it may log in from")
    calling_station_id: str | None = Field(default=None, description="Station, such as a MAC address in any notation")
    hours: list[str] = Field(
        default=[], max_length=32, description="When it may log in, like 'mo-fr 08:00-18:00', in the entity's zone"
    )
    reply_attributes: list[NamedAttribute] = Field(
        default=[], max_length=64, description="Further attributes of Access-Accept, checked against the dictionaries"
    )


class AccessIn(TermsIn):
    """The terms of one service, with its own IPv6 prefixes."""

    ipv6_prefix: str | None = Field(default=None, description="Framed-IPv6-Prefix (RFC 3162)")
    delegated_prefix: str | None = Field(default=None, description="Delegated-IPv6-Prefix (RFC 4818)")


class AccessOut(BaseModel):
    """How a service logs in. `terms` are its own; those of its offering hold beside them."""

    service_id: str
    username: str
    profile_name: str
    enabled: bool
    suspended: bool
    framed_ipv4: str | None
    ipv6_prefix: str | None
    delegated_prefix: str | None
    restriction: str = Field(description="What dunning has taken: none, throttle, garden or suspend")
    terms: TermsIn


class AcceptOut(BaseModel):
    """The attributes of an Access-Accept, in their order, by the names of the dictionaries."""

    attributes: list[NamedAttribute]


class OfferingTermsOut(BaseModel):
    profile_name: str
    terms: TermsIn


class ReasonIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=200)


class SessionChangeOut(BaseModel):
    """What the NAS of one live session answered: "ack" is its word, the next accounting record is the proof."""

    session_key: str
    result: str
    error_cause: int | None
    detail: str


class SuspensionOut(BaseModel):
    service_id: str
    suspended: bool
    sessions: list[SessionChangeOut]


class VendorOut(BaseModel):
    """A kind of NAS whose attributes the builder knows."""

    name: str
    class_proves_speed: bool


class DictionaryQuery(PageQuery):
    q: str = Field(min_length=1, max_length=128, description="Name, or part of one, or number: 44, 14988.8")


class AttributeOut(BaseModel):
    """An attribute as the dictionaries know it. `values` are the names of its numbers."""

    name: str
    vendor: str
    vendor_id: int
    number: int
    type: str
    tagged: bool
    values: dict[str, int]


def endpoints(access: AccessService) -> list[Endpoint]:
    """Below /api/v1."""
    return [*_of_services(access), *_of_offerings(access), *_of_dictionaries()]


def _of_services(access: AccessService) -> list[Endpoint]:
    async def show(call: Call) -> AccessOut:
        return _out(await access.show(call.path["service_id"]))

    async def put(call: Call) -> AccessOut:
        body = call.body_as(AccessIn)
        written = body.model_dump(exclude={"ipv6_prefix", "delegated_prefix"})
        found = await access.put_terms(
            call.path["service_id"],
            written,
            ipv6_prefix=body.ipv6_prefix,
            delegated_prefix=body.delegated_prefix,
            actor=call.actor,
        )
        return _out(found)

    async def preview(call: Call) -> AcceptOut:
        lines = await access.preview(call.path["service_id"], call.path["nas_id"])
        return AcceptOut(attributes=[NamedAttribute.model_construct(name=name, value=value) for name, value in lines])

    async def suspend(call: Call) -> SuspensionOut:
        service_id, reason = call.path["service_id"], call.body_as(ReasonIn).reason
        return _suspension(service_id, True, await access.suspend(service_id, actor=call.actor, reason=reason))

    async def resume(call: Call) -> SuspensionOut:
        service_id, reason = call.path["service_id"], call.body_as(ReasonIn).reason
        return _suspension(service_id, False, await access.resume(service_id, actor=call.actor, reason=reason))

    service = "/services/{service_id}"
    return [
        Endpoint("GET", f"{service}/access", "radius:read", show, "How a service logs in", returns=AccessOut),
        Endpoint(
            "PUT",
            f"{service}/access",
            "radius:write",
            put,
            "Replace what a service is given besides its speed",
            returns=AccessOut,
            body=AccessIn,
        ),
        Endpoint(
            "GET",
            f"{service}/access/{{nas_id}}",
            "radius:read",
            preview,
            "What an Access-Accept for a service would tell a NAS now",
            returns=AcceptOut,
        ),
        Endpoint(
            "POST",
            f"{service}/suspend",
            "radius:write",
            suspend,
            "Suspend a service: its next login and its live sessions go to the walled garden",
            returns=SuspensionOut,
            body=ReasonIn,
        ),
        Endpoint(
            "POST",
            f"{service}/resume",
            "radius:write",
            resume,
            "Resume a suspended service: its live sessions get the full plan back by CoA",
            returns=SuspensionOut,
            body=ReasonIn,
        ),
    ]


def _of_offerings(access: AccessService) -> list[Endpoint]:
    async def offerings(call: Call) -> Page:
        query = call.query_as(PageQuery)
        rows = await access.offerings(after=query.last(str), limit=query.rows)
        return Page.of(
            rows, query, lambda row: (row[0],), lambda row: OfferingTermsOut(profile_name=row[0], terms=_terms(row[1]))
        )

    async def offering(call: Call) -> OfferingTermsOut:
        name = call.path["profile_name"]
        return OfferingTermsOut(profile_name=name, terms=_terms(await access.offering(name)))

    async def put_offering(call: Call) -> OfferingTermsOut:
        name = call.path["profile_name"]
        await access.put_offering(name, call.body_as(TermsIn).model_dump(), actor=call.actor)
        return await offering(call)

    one_offering = "/radius/offerings/{profile_name}"
    return [
        Endpoint(
            "GET",
            "/radius/offerings",
            "radius:read",
            offerings,
            "Speed profiles whose services are given more than a speed",
            returns=OfferingTermsOut,
            query=PageQuery,
            paged=True,
        ),
        Endpoint(
            "GET",
            one_offering,
            "radius:read",
            offering,
            "What services of a speed profile are given",
            returns=OfferingTermsOut,
        ),
        Endpoint(
            "PUT",
            one_offering,
            "radius:write",
            put_offering,
            "Replace what services of a speed profile are given",
            returns=OfferingTermsOut,
            body=TermsIn,
        ),
    ]


def _of_dictionaries() -> list[Endpoint]:
    async def vendors(_call: Call) -> Page:
        kinds = sorted(reply.VENDORS.values(), key=lambda kind: kind.name)
        return Page([VendorOut(name=kind.name, class_proves_speed=kind.class_proves_speed) for kind in kinds], None)

    async def attributes(call: Call) -> Page:
        query = call.query_as(DictionaryQuery)
        found = lookup.find(query.q)[: query.limit]
        return Page([AttributeOut(**{n: getattr(a, n) for n in AttributeOut.model_fields}) for a in found], None)

    return [
        Endpoint(
            "GET",
            "/radius/vendors",
            "radius:read",
            vendors,
            "Kinds of NAS by the name they are registered with",
            returns=VendorOut,
            paged=True,
        ),
        Endpoint(
            "GET",
            "/radius/dictionary",
            "radius:read",
            attributes,
            "Find an attribute by name or number; near misses where none has the name",
            returns=AttributeOut,
            query=DictionaryQuery,
            paged=True,
        ),
    ]


def _out(found: Access) -> AccessOut:
    shown = {name: getattr(found, name) for name in AccessOut.model_fields if name != "terms"}
    return AccessOut(**shown, terms=_terms(found.terms))


def _terms(written: Any) -> TermsIn:
    return TermsIn.model_validate(written)


def _suspension(service_id: str, suspended: bool, sessions: Sequence[ChangedSession]) -> SuspensionOut:
    changes = [
        SessionChangeOut(
            session_key=changed.session_key,
            result=changed.outcome.result,
            error_cause=changed.outcome.error_cause,
            detail=changed.outcome.detail,
        )
        for changed in sessions
    ]
    return SuspensionOut(service_id=service_id, suspended=suspended, sessions=changes)

"""HTTP of whois: who held an address at an instant. Each question is written down, with its reason if one is given."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.http.endpoint import Call, Endpoint
from controller.http.models import Instant, Out, Port
from radius.accounting.routes import session_id_text
from radius.accounting.whois import Evidence, Holder, Whois


class WhoisQuery(BaseModel):
    """`port` matters where several subscribers share one IPv4 address."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, StringConstraints(min_length=2, max_length=45)]
    port: Port | None = None
    at: Instant
    reason: Annotated[str, StringConstraints(max_length=400)] | None = Field(
        default=None, description="Such as the number of the request; kept in the audit log"
    )


class EvidenceOut(Out):
    """A record of the usage log: `GET /explain` proves the chain that it stands in."""

    record_id: int
    kind: str
    event_at: Instant
    received_at: Instant
    packet_sha256: str
    record_sha256: str
    intact: bool


class HolderOut(Out):
    """A session that held the address. `provisional`: it ended without a Stop, when it was last heard of."""

    session_key: str
    session_id: str
    nas_id: str
    username: str
    service_id: str | None
    calling_station_id: str | None
    kind: str
    network: str
    first_port: int
    last_port: int
    since: Instant
    until: Instant | None
    provisional: bool
    evidence: list[EvidenceOut]


class WhoisOut(Out):
    """`holders` is empty when nobody is known to have held it; several mean that the evidence is ambiguous."""

    address: str
    port: int | None
    at: Instant
    holders: list[HolderOut]


def endpoints(whois: Whois) -> list[Endpoint]:
    async def ask(call: Call) -> WhoisOut:
        query = call.query_as(WhoisQuery)
        found = await whois.ask(query.address, query.port, query.at, actor=call.actor, reason=query.reason)
        return WhoisOut(address=query.address, port=query.port, at=query.at, holders=[_holder(h) for h in found])

    return [
        Endpoint(
            "GET",
            "/whois",
            "radius:whois",
            ask,
            "Who held an address, or a port of a shared one, at an instant (audited)",
            returns=WhoisOut,
            query=WhoisQuery,
        )
    ]


def _holder(holder: Holder) -> HolderOut:
    plain = ("session_id", "provisional", "evidence")
    return HolderOut(
        **{name: getattr(holder, name) for name in HolderOut.model_fields if name not in plain},
        session_id=session_id_text(holder.acct_session_id),
        provisional=holder.is_provisional,
        evidence=[_evidence(one) for one in holder.evidence],
    )


def _evidence(one: Evidence) -> EvidenceOut:
    return EvidenceOut(**{name: getattr(one, name) for name in EvidenceOut.model_fields})

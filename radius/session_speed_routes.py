"""HTTP of a live session's speed: change it by CoA, and what was observed of it since."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from controller.domain.service import SpeedProfile
from controller.http.endpoint import Call, Endpoint
from radius.session_speed import SessionSpeed

_MAX_BPS = 10**13


class SpeedIn(BaseModel):
    """The speed to ask for. `profile_name` goes into the Class, so that accounting records can prove it."""

    model_config = ConfigDict(extra="forbid")

    profile_name: str = Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+$")
    downstream_bps: int = Field(ge=1_000, le=_MAX_BPS, description="Towards the subscriber")
    upstream_bps: int = Field(ge=1_000, le=_MAX_BPS)
    reason: str | None = Field(default=None, max_length=200)


class SpeedOut(BaseModel):
    """What the NAS answered: "ack" is its word, evidence is what GET …/speed shows after `asked_at`."""

    result: str
    error_cause: int | None
    detail: str
    asked_at: datetime


class SpeedQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime | None = Field(default=None, description="Evidence from later than this; by default any")


class EvidenceOut(BaseModel):
    """`observed` false: no accounting record since then says anything of the speed."""

    observed: bool
    observed_at: datetime | None = None
    profile_name: str | None = None
    downstream_bps: int | None = None
    upstream_bps: int | None = None
    source: str | None = None


def endpoints(speeds: SessionSpeed) -> list[Endpoint]:
    """Below /api/v1."""

    async def change(call: Call) -> SpeedOut:
        body = call.body_as(SpeedIn)
        profile = SpeedProfile(body.profile_name, body.downstream_bps, body.upstream_bps)
        outcome, asked_at = await speeds.change(call.path["key"], profile, actor=call.actor, reason=body.reason)
        return SpeedOut(
            result=outcome.result, error_cause=outcome.error_cause, detail=outcome.detail, asked_at=asked_at
        )

    async def show(call: Call) -> EvidenceOut:
        since = call.query_as(SpeedQuery).since or datetime.fromtimestamp(0, UTC)
        rate = await speeds.observed(call.path["key"], since)
        if rate is None:
            return EvidenceOut(observed=False)
        return EvidenceOut(
            observed=True,
            observed_at=rate.observed_at,
            profile_name=rate.profile_name,
            downstream_bps=rate.downstream_bps,
            upstream_bps=rate.upstream_bps,
            source=rate.source,
        )

    return [
        Endpoint(
            "POST",
            "/sessions/{key}/coa",
            "radius:write",
            change,
            "Ask the NAS to change the speed of a live session (RFC 5176 §2.2)",
            returns=SpeedOut,
            body=SpeedIn,
        ),
        Endpoint(
            "GET",
            "/sessions/{key}/speed",
            "radius:read",
            show,
            "What accounting says of a live session's speed",
            returns=EvidenceOut,
            query=SpeedQuery,
        ),
    ]

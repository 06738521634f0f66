"""HTTP of fair use: allowances, top-ups, what was used, and which steps were taken."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from controller.domain.allowance import Allowance, Counted, FairUseStep, PeriodKind
from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from controller.http.endpoint import Call, Endpoint, Page, PageQuery
from controller.http.models import IdText, In, Instant, Octets, Out, RateBps
from controller.store.metadata import from_micros
from radius.quota.repository import StepTaken
from radius.quota.service import QuotaService, QuotaState

ProfileName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class SpeedModel(In):
    """A named speed, in bit/s."""

    name: ProfileName
    downstream_bps: RateBps
    upstream_bps: RateBps


class FairUseStepModel(In):
    """From so many octets beyond the allowance on, this speed holds; without one the service is cut off."""

    beyond_octets: Octets
    speed: SpeedModel | None = None


class AllowanceModel(In):
    """`zone` is the legal entity's unless said. `first_day`: of the month (1 to 28), or the ISO weekday (1 to 7)."""

    octets: Octets
    period: PeriodKind
    steps: list[FairUseStepModel] = Field(min_length=1, max_length=16)
    zone: str | None = Field(default=None, max_length=64)
    first_day: int = Field(default=1, ge=1, le=28)
    counted: Counted = Counted.BOTH


class TopUpIn(In):
    """The same `reference` books once, however often it is sent."""

    octets: int = Field(gt=0)
    reference: Reference


class QuotaOut(Out):
    """`limit_octets`: what could be used at full speed, top-ups included. `step` 0 is full speed."""

    service_id: str
    allowance: AllowanceModel
    period_start: Instant
    period_end: Instant
    upstream_octets: Octets
    downstream_octets: Octets
    counted_octets: Octets
    topped_up_octets: Octets
    limit_octets: Octets
    overshoot_octets: Octets
    step: int


class FairUseStepOut(Out):
    """`overshoot_octets`: how far beyond the limit the service was when it was seen. What the NAS made of it stands
    among the changes of live sessions."""

    step_id: str
    service_id: str
    step: int
    profile_name: str | None
    period_start: Instant
    limit_octets: Octets | None
    used_octets: Octets
    overshoot_octets: Octets
    at: Instant


class FairUseStepQuery(PageQuery):
    service_id: IdText | None = None


def endpoints(quota: QuotaService, zone: str) -> list[Endpoint]:
    """Below /api/v1. `zone` is the legal entity's."""

    async def show(call: Call) -> QuotaOut:
        return _out(await quota.show(call.path["service_id"]))

    async def put(call: Call) -> QuotaOut:
        allowance = _allowance(call.body_as(AllowanceModel), zone)
        return _out(await quota.put_allowance(call.path["service_id"], allowance, actor=call.actor))

    async def withdraw(call: Call) -> None:
        await quota.withdraw_allowance(call.path["service_id"], actor=call.actor)

    async def top_up(call: Call) -> QuotaOut:
        body = call.body_as(TopUpIn)
        made = await quota.top_up(call.path["service_id"], body.octets, reference=body.reference, actor=call.actor)
        return _out(made)

    async def steps(call: Call) -> Page:
        query = call.query_as(FairUseStepQuery)
        found = await quota.steps(service_id=query.service_id, before=query.last(str), limit=query.rows)
        return Page.of(found, query, lambda taken: (taken.step_id,), _step)

    service, read, write = "/services/{service_id}", "radius:read", "radius:write"
    return [
        Endpoint("GET", f"{service}/allowance", read, show, "What a service used of its allowance", QuotaOut),
        Endpoint("PUT", f"{service}/allowance", write, put, "Give a service an allowance", QuotaOut, AllowanceModel),
        Endpoint(
            "DELETE", f"{service}/allowance", write, withdraw, "Take the allowance back: nothing is counted", status=204
        ),
        Endpoint("POST", f"{service}/top-ups", write, top_up, "More volume until the period ends", QuotaOut, TopUpIn),
        Endpoint(
            "GET",
            "/radius/fair-use-steps",
            read,
            steps,
            "Steps of fair use that services took, newest first",
            FairUseStepOut,
            query=FairUseStepQuery,
            paged=True,
        ),
    ]


def _allowance(body: AllowanceModel, zone: str) -> Allowance:
    """Raises RuleError."""
    steps = tuple(
        FairUseStep(step.beyond_octets, None if step.speed is None else SpeedProfile(**step.speed.model_dump()))
        for step in body.steps
    )
    try:
        return Allowance(body.octets, body.period, steps, body.zone or zone, body.first_day, body.counted)
    except ValueError as error:
        raise RuleError(str(error), code="allowance") from None


def _out(state: QuotaState) -> QuotaOut:
    allowance = state.allowance
    steps = [
        FairUseStepModel(
            beyond_octets=step.beyond_octets,
            speed=None
            if step.profile is None
            else SpeedModel(
                name=step.profile.name,
                downstream_bps=step.profile.downstream_bps,
                upstream_bps=step.profile.upstream_bps,
            ),
        )
        for step in allowance.steps
    ]
    return QuotaOut(
        service_id=state.service_id,
        allowance=AllowanceModel(
            octets=allowance.octets,
            period=allowance.period,
            steps=steps,
            zone=allowance.zone,
            first_day=allowance.first_day,
            counted=allowance.counted,
        ),
        period_start=state.period_start,
        period_end=state.period_end,
        upstream_octets=state.upstream_octets,
        downstream_octets=state.downstream_octets,
        counted_octets=state.counted_octets,
        topped_up_octets=state.topped_up_octets,
        limit_octets=state.limit_octets,
        overshoot_octets=state.overshoot_octets,
        step=state.step,
    )


def _step(taken: StepTaken) -> FairUseStepOut:
    return FairUseStepOut(
        step_id=taken.step_id,
        service_id=taken.service_id,
        step=taken.step,
        profile_name=taken.profile_name,
        period_start=from_micros(taken.period_start_us),
        limit_octets=taken.limit_octets,
        used_octets=taken.used_octets,
        overshoot_octets=max(0, taken.overshoot_octets),
        at=taken.at,
    )

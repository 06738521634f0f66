"""Moves the demo's clock. Present only with HEADEND_CLOCK=demo, so a real ISP's time cannot be changed."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel

from controller.domain.clock import MovableClock
from controller.domain.errors import RuleError
from controller.http.endpoint import Call, Endpoint


class ClockIn(BaseModel):
    now: AwareDatetime

    model_config = {"extra": "forbid"}


class ClockOut(BaseModel):
    now: datetime


def endpoints(clock: MovableClock) -> list[Endpoint]:
    async def move(call: Call) -> ClockOut:
        try:
            clock.move_to(call.body_as(ClockIn).now)
        except ValueError as error:
            raise RuleError(str(error), code="clock") from None
        return ClockOut(now=clock.now())

    return [
        Endpoint(
            "PUT", "/demo/clock", "admin:write", move, "Move the demo's clock forward", returns=ClockOut, body=ClockIn
        )
    ]

"""An operator changes the speed of one live session, and looks what is observed of it next. Nothing is kept of it.

For the hours of a fault: the next login is at the speed of the service's plan again. An ACK is the NAS's word; evidence
is the accounting record after it.
"""

from __future__ import annotations

from datetime import datetime

from controller.domain.clock import Clock
from controller.domain.ports import CoaOutcome, SessionControl, SessionRate
from controller.domain.service import SpeedProfile
from controller.store import audit
from controller.store.engine import Database


class SessionSpeed:
    """`control` is the SessionController."""

    def __init__(self, database: Database, clock: Clock, control: SessionControl) -> None:
        self._database = database
        self._clock = clock
        self._control = control

    async def change(
        self, session_key: str, profile: SpeedProfile, *, actor: str, reason: str | None = None
    ) -> tuple[CoaOutcome, datetime]:
        """What the NAS answered, and when it was asked. Audited whatever it answered."""
        asked_at = self._clock.now()
        outcome = await self._control.change_speed(session_key, profile, actor=actor)
        async with self._database.begin() as conn:
            await audit.record(
                conn,
                now=self._clock.now(),
                actor=actor,
                action="session.coa",
                subject=f"session:{session_key}",
                after={
                    "profile_name": profile.name,
                    "downstream_bps": profile.downstream_bps,
                    "upstream_bps": profile.upstream_bps,
                    "result": outcome.result,
                    "error_cause": outcome.error_cause,
                    "detail": outcome.detail,
                },
                reason=reason,
            )
        return outcome, asked_at

    async def observed(self, session_key: str, since: datetime) -> SessionRate | None:
        """The evidence of the newest accounting record after `since`; None while there is none."""
        return await self._control.observed_rate(session_key, since)

"""The demo's clock: while history is made it stands where it was put, for the controller and the BRAS alike."""

from __future__ import annotations

from datetime import UTC, datetime

from lab.api import Api


def now() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)


class DemoClock:
    """One instant, shared by the controller (told over its API) and whoever calls this object."""

    def __init__(self, at: datetime, api: Api | None = None) -> None:
        self.at = at
        self.api = api

    def __call__(self) -> datetime:
        return self.at

    async def move_to(self, at: datetime) -> None:
        """Move on to `at`; an instant that has passed already is left behind in silence."""
        if at > self.at:
            assert self.api is not None
            await self.api.put("/demo/clock", {"now": at.astimezone(UTC).isoformat()})
            self.at = at

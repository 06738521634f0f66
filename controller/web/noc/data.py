"""What the NOC page shows, as values, and the port it asks. What it shows equals the store: nothing is kept here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """`state` is "up", "down" or "unknown"; unknown is what nobody has heard of in its time."""

    device_id: str
    name: str
    kind: str
    """For people: "OLT", "Router", "BRAS" …"""
    state: str
    detail: str
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """`name` is the event's own ("order.held"), `text` a sentence, without money and secrets."""

    position: int
    at: datetime
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`state` as the API says it; a held order tells why and who must act."""

    order_id: str
    at: datetime
    action: str
    customer: str
    state: str
    cause: str = ""
    owner_team: str = ""


@dataclass(frozen=True, slots=True)
class ComponentLine:
    """A part of the controller or a server it talks to: database, broker, time series. `state` like "ok", "absent".

    `href` is the page that tells more, where there is one.
    """

    name: str
    state: str
    detail: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class NocSnapshot:
    """One look at everything. Rates are per second over the last seconds; None is not known, and never zero."""

    at: datetime
    live_sessions: int
    subscribers: int
    access_accepts_per_s: float
    access_rejects_per_s: float
    accounting_records_per_s: float
    dropped_packets_per_s: float
    downstream_bps: int | None
    upstream_bps: int | None
    held_orders: int
    devices: Sequence[DeviceLine]
    orders: Sequence[OrderLine]
    events: Sequence[EventLine]
    components: Sequence[ComponentLine]


@dataclass(frozen=True, slots=True)
class ThroughputPoint:
    """Mean rates over [at, at + step). None is a gap in the measurements."""

    at: datetime
    downstream_bps: float | None
    upstream_bps: float | None


class NocData(Protocol):
    """Implemented in controller.app from the rooms' services."""

    async def snapshot(self) -> NocSnapshot:
        """Called once a second while somebody watches, every five seconds otherwise: keep it to a few queries."""
        ...

    async def throughput(self, *, since: datetime, until: datetime, step_s: int) -> Sequence[ThroughputPoint]:
        """The past, from the time series: the same that GET /api/v1/measurements answers."""
        ...


def to_json(value: Any) -> dict[str, Any]:
    """A dataclass as JSON-able values; instants as ISO 8601 with Z."""
    return dataclasses.asdict(value, dict_factory=_jsonable)


def _jsonable(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _instant(value) if isinstance(value, datetime) else value for name, value in pairs}


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

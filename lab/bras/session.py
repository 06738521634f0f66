"""A subscriber's line and the session on it, as the BRAS keeps them; a session survives the BRAS's restart as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lab.bras import codec

LINE_RATE_BPS = 1_000_000_000
"""What the access line carries when no rate limit was granted."""

_RATE = re.compile(r"(\d+)([kMG]?)(?:/(\d+)([kMG]?))?(?:\s.*)?", re.DOTALL)
_UNIT = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def parse_rate_limit(value: bytes) -> tuple[int, int]:
    """Mikrotik-Rate-Limit "rx[/tx] …" as (upstream, downstream) bit/s: the router receives what the subscriber sends.

    Burst figures after the first word are accepted and play no part. Raises ValueError for anything else.
    """
    match = _RATE.fullmatch(value.decode("ascii", "replace"))
    if match is None:
        raise ValueError(f"not a rate limit: {value!r}")
    rx = int(match[1]) * _UNIT[match[2]]
    tx = int(match[3]) * _UNIT[match[4]] if match[3] else rx
    if not rx or not tx:
        raise ValueError(f"not a rate limit: {value!r}")
    return rx, tx


@dataclass(frozen=True, slots=True)
class Line:
    """Where a subscriber attaches and how it signs in. `port` is the NAS-Port, `port_id` the NAS-Port-Id."""

    username: str
    password: str
    mac: str
    port: int
    port_id: str
    chap: bool = False


@dataclass(slots=True)
class Session:
    """One PPPoE-like session. `counted_until` is the instant up to which traffic is in the totals."""

    acct_session_id: str
    username: str
    started_at: datetime
    counted_until: datetime
    classes: list[bytes] = field(default_factory=list)
    framed_ip: str = ""
    upstream_octets: int = 0
    downstream_octets: int = 0
    upstream_bps: int = LINE_RATE_BPS
    downstream_bps: int = LINE_RATE_BPS
    interim_s: int | None = None
    timeout_s: int | None = None
    ended_at: datetime | None = None
    terminate_cause: int = 0

    def accept(self, packet: codec.Packet) -> None:
        """Take over what an Access-Accept grants."""
        self.classes = packet.all(codec.CLASS)
        granted = packet.first(codec.FRAMED_IP_ADDRESS)
        # RFC 2865 §5.8: 255.255.255.254 and …255 leave the choice to the NAS or the subscriber.
        if granted is not None and len(granted) == 4 and granted < b"\xff\xff\xff\xfe":
            self.framed_ip = ".".join(map(str, granted))
        rate = packet.vendor(codec.MIKROTIK, codec.MIKROTIK_RATE_LIMIT)
        if rate is not None:
            self.upstream_bps, self.downstream_bps = parse_rate_limit(rate)
        self.interim_s = packet.number(codec.ACCT_INTERIM_INTERVAL)
        self.timeout_s = packet.number(codec.SESSION_TIMEOUT)

    def times_out_at(self) -> datetime | None:
        return None if self.timeout_s is None else self.started_at + timedelta(seconds=self.timeout_s)

    def to_json(self) -> dict[str, Any]:
        return {
            "acct_session_id": self.acct_session_id,
            "username": self.username,
            "started_at": self.started_at.isoformat(),
            "counted_until": self.counted_until.isoformat(),
            "classes": [value.hex() for value in self.classes],
            "framed_ip": self.framed_ip,
            "octets": [self.upstream_octets, self.downstream_octets],
            "rates_bps": [self.upstream_bps, self.downstream_bps],
            "interim_s": self.interim_s,
            "timeout_s": self.timeout_s,
            "ended_at": self.ended_at and self.ended_at.isoformat(),
            "terminate_cause": self.terminate_cause,
        }

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Session:
        """Raises KeyError or ValueError when `saved` is not what `to_json` wrote."""
        return cls(
            acct_session_id=saved["acct_session_id"],
            username=saved["username"],
            started_at=_instant(saved["started_at"]),
            counted_until=_instant(saved["counted_until"]),
            classes=[bytes.fromhex(value) for value in saved["classes"]],
            framed_ip=saved["framed_ip"],
            upstream_octets=saved["octets"][0],
            downstream_octets=saved["octets"][1],
            upstream_bps=saved["rates_bps"][0],
            downstream_bps=saved["rates_bps"][1],
            interim_s=saved["interim_s"],
            timeout_s=saved["timeout_s"],
            ended_at=_instant(saved["ended_at"]) if saved["ended_at"] else None,
            terminate_cause=saved["terminate_cause"],
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)

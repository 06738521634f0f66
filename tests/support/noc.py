"""A NocData that a test moves by hand, or that lives by itself like a small ISP in the evening."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from controller.web.noc.data import (
    ComponentLine,
    DeviceLine,
    EventLine,
    NocSnapshot,
    OrderLine,
    ThroughputPoint,
)


def snapshot(at: datetime, **changes: object) -> NocSnapshot:
    """A plausible moment of an ISP with 200 subscribers."""
    ago = lambda seconds: at - timedelta(seconds=seconds)  # noqa: E731
    plain = NocSnapshot(
        at=at,
        live_sessions=187,
        subscribers=200,
        access_accepts_per_s=0.42,
        access_rejects_per_s=0.03,
        accounting_records_per_s=3.1,
        dropped_packets_per_s=0.0,
        downstream_bps=2_412_000_000,
        upstream_bps=318_500_000,
        held_orders=1,
        devices=[
            DeviceLine("d1", "olt-1.ber", "OLT", "up", "NETCONF 11 ms, 4 PON ports, 187 ONUs", ago(3)),
            DeviceLine("d2", "bras-1.ber", "BRAS", "up", "last accounting 0.4 s ago", ago(1)),
            DeviceLine("d3", "core-1.ber", "Router", "down", "SNMP: no answer for 42 s", ago(42)),
            DeviceLine("d4", "agg-2.ber", "Switch", "unknown", "never polled", None),
        ],
        orders=[
            OrderLine("o5", ago(40), "add", "Anna Lindqvist", "inProgress", "", ""),
            OrderLine(
                "o4", ago(610), "modify", "Bäckerei Krüger", "held", "OLT shows 100 Mbit/s, 300 wanted", "network"
            ),
            OrderLine("o3", ago(1_900), "add", "Tomasz Zieliński", "completed", "", ""),
            OrderLine("o2", ago(5_400), "delete", "Café Süd GmbH", "completed", "", ""),
        ],
        events=[
            EventLine(91, ago(12), "service.activated", "Fibre 300 for Anna Lindqvist verified on olt-1.ber"),
            EventLine(90, ago(610), "order.held", "modify for Bäckerei Krüger waits for network"),
            EventLine(89, ago(1_850), "invoice.issued", "2026-000412 for Tomasz Zieliński"),
            EventLine(88, ago(1_900), "service.ordered", "Fibre 100 for Tomasz Zieliński"),
            EventLine(87, ago(4_000), "customer.created", "Tomasz Zieliński"),
        ],
        components=[
            ComponentLine("Database", "ok", "SQLite, WAL"),
            ComponentLine("RADIUS", "ok", "127.0.0.1:1812 and 1813"),
            ComponentLine("Time series", "ok", "embedded"),
            ComponentLine("MQTT broker", "absent", "no broker found on 127.0.0.1:1883"),
        ],
    )
    return dataclasses.replace(plain, **changes)


class FakeNoc:
    """Answers with `now`, which a test replaces; `None` asks for an ISP that lives by the clock."""

    def __init__(self, now: NocSnapshot | None = None) -> None:
        self.now = now
        self.failing = False
        self.asked = 0

    async def snapshot(self) -> NocSnapshot:
        self.asked += 1
        if self.failing:
            raise ConnectionError("the store does not answer")
        at = datetime.now(UTC)
        if self.now is not None:
            return dataclasses.replace(self.now, at=at)
        wave = math.sin(at.timestamp() / 17) + 0.4 * math.sin(at.timestamp() / 3.1)
        return snapshot(
            at,
            live_sessions=187 + round(2 * wave),
            access_accepts_per_s=round(0.5 + 0.3 * wave, 2),
            accounting_records_per_s=round(3.2 + 0.9 * wave, 2),
            downstream_bps=round(2.4e9 + 3.1e8 * wave),
            upstream_bps=round(3.2e8 + 4e7 * wave),
        )

    async def throughput(self, *, since: datetime, until: datetime, step_s: int) -> Sequence[ThroughputPoint]:
        points, at = [], since
        while at < until:
            hour = at.hour + at.minute / 60
            level = 1.1 + math.sin((hour - 15) / 24 * 2 * math.pi) * 0.75
            gap = 0.40 < (at - since) / (until - since) < 0.43
            points.append(ThroughputPoint(at, None if gap else 1.3e9 * level, None if gap else 1.6e8 * level))
            at += timedelta(seconds=step_s)
        return points

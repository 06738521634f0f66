"""What a NAS's accounting of the last day says about the NAS itself: turned directions, narrow counters, lost interims.

Evidence, not proof: a NAS of nothing but servers uploads too. So nothing is turned by itself; the finding says which
setting of the NAS to look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Gauge
from sqlalchemy import BigInteger, Integer, Select, Table, and_, cast, func, select, union
from sqlalchemy.sql import ColumnElement

from controller.domain.clock import Clock
from controller.store.engine import Database
from controller.store.many import total
from controller.store.metadata import to_micros
from radius.accounting.metering import WRAPPED
from radius.accounting.session import LIVE, VOID
from radius.accounting.tables import history, sessions
from radius.tables import nas, nas_member

WINDOW = timedelta(days=1)
TELLING_OCTETS = 10_000_000
"""A session that carried less says nothing about direction: logins, chats and keep-alives are symmetrical."""
FEWEST_SESSIONS = 20
TURNED_SHARE = 0.8
"""Of the sessions that tell, so many are heavier upstream: subscribers download."""
SILENT_SHARE = 0.1
FEWEST_SILENT = 3
_HEAVIER = 2
_MISSED = 2
_LATELY = timedelta(minutes=1)

SILENT = Gauge("headend_radius_nas_silent_sessions", "Live sessions that missed two interims, by NAS id.", ["nas_id"])
FINDINGS = Gauge(
    "headend_radius_nas_findings", "What the accounting of the last day says against a NAS, by its id.", ["nas_id"]
)


@dataclass(frozen=True, slots=True)
class NasEvidence:
    """Sums over a NAS's sessions that were heard of within a day.

    `upstream_heavy` and `downstream_heavy` count sessions that carried at least twice as much that way. `wrapped` ones
    had a counter of 32 bits begin anew; `silent` ones are live and missed two interims of a NAS that sends any.
    """

    nas_id: str
    sessions: int
    live: int
    upstream_octets: int
    downstream_octets: int
    upstream_heavy: int
    downstream_heavy: int
    wrapped: int
    silent: int

    @property
    def looks_swapped(self) -> bool:
        telling = self.upstream_heavy + self.downstream_heavy
        return (
            telling >= FEWEST_SESSIONS
            and self.upstream_heavy >= TURNED_SHARE * telling
            and self.upstream_octets > self.downstream_octets
        )

    @property
    def findings(self) -> list[str]:
        """One sentence each; none for a NAS that counts as it should."""
        found = []
        if self.looks_swapped:
            telling = self.upstream_heavy + self.downstream_heavy
            found.append(
                f"looks swapped: {self.upstream_heavy} of {telling} sessions carried more upstream than downstream;"
                " compare one with its port and change swaps_octets"
            )
        if self.wrapped:
            found.append(
                f"sends no gigawords: counters of {self.wrapped} sessions began anew at 2^32;"
                " have it send Acct-Input-Gigawords (RFC 2869 §5.1), or report more often"
            )
        if self.silent >= max(FEWEST_SILENT, SILENT_SHARE * self.live):
            found.append(f"interims have stopped: {self.silent} of {self.live} live sessions missed two of them")
        return found


class NasChecks:
    """Looks at every NAS at once; reads the hot table and the last day of the history."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._looked: tuple[datetime, list[NasEvidence]] | None = None

    async def against(self) -> list[NasEvidence]:
        """NAS with findings, as of at most a minute ago: for whoever asks again and again. Moves the metrics, too."""
        now = self._clock.now()
        if self._looked is None or not timedelta() <= now - self._looked[0] < _LATELY:
            found = await self.all()
            self._looked = (now, found)
            _measure(found)
        return [evidence for evidence in self._looked[1] if evidence.findings]

    async def all(self) -> list[NasEvidence]:
        """By NAS id."""
        now = self._clock.now()
        since, now_us = now - WINDOW, to_micros(now)
        sums: dict[str, list[int]] = {}
        async with self._database.read() as conn:
            for query in (
                _sums(sessions, now_us).where(sessions.c.last_event_us >= to_micros(since)),
                _sums(history, now_us).where(history.c.last_seen_us >= to_micros(since)),
            ):
                for row in await conn.execute(query):
                    nas_id, counts = str(row[0]), row[1:]
                    before = sums.get(nas_id, [0] * len(counts))
                    sums[nas_id] = [a + int(b or 0) for a, b in zip(before, counts, strict=True)]
        return [NasEvidence(nas_id, *counts) for nas_id, counts in sorted(sums.items())]


def _measure(found: list[NasEvidence]) -> None:
    for gauge in (SILENT, FINDINGS):
        gauge.clear()
    for evidence in found:
        SILENT.labels(evidence.nas_id).set(evidence.silent)
        FINDINGS.labels(evidence.nas_id).set(len(evidence.findings))


_MUTE = union(
    select(nas.c.nas_id).where(nas.c.missed_interims == 0),
    select(nas_member.c.nas_id).join(nas, nas.c.nas_id == nas_member.c.network_id).where(nas.c.missed_interims == 0),
)
"""NAS that are said to send no interims."""


def _sums(table: Table, now_us: int) -> Select[Any]:
    c = table.c
    up, down, telling = c.upstream_octets, c.downstream_octets, c.upstream_octets + c.downstream_octets
    silent = and_(
        c.state == LIVE,
        c.last_seen_us + _MISSED * 1_000_000 * cast(c.interim_s, BigInteger) < now_us,
        c.nas_id.not_in(_MUTE),
    )
    return (
        select(
            c.nas_id,
            func.count(),
            _count(c.state == LIVE),
            total(up),
            total(down),
            _count(and_(telling >= TELLING_OCTETS, up >= _HEAVIER * down)),
            _count(and_(telling >= TELLING_OCTETS, down >= _HEAVIER * up)),
            _count(func.coalesce(c.counter_state, "").like(f"%{WRAPPED}")),
            _count(silent),
        )
        .where(c.state != VOID)
        .group_by(c.nas_id)
    )


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(cast(condition, Integer))

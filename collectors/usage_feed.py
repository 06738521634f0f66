"""What counters and flows measured, told to billing: a second source of the same services.

    poll    → growth of an interface (only of ports that somebody gave a service) or of an ONU   ┐
    flow    → octets of a subscriber's address                                                   ┴ bins → intake

Refuses to lose: what billing could not take (its database is away) is told again with the same keys. What is open is
kept every few seconds (`usage_journal`): a flow comes over UDP and is acknowledged to nobody, so what was measured
since the last writing is what a crash costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from collectors import metrics
from collectors.netconf.samples import MEASUREMENT as ONU
from collectors.snmp.samples import MEASUREMENT as INTERFACE
from collectors.track import OCTETS
from collectors.usage_bins import BIN, Bins
from collectors.usage_journal import UsageJournal
from controller.domain.clock import Clock
from controller.domain.errors import HeadendError
from controller.domain.ports import UsageIntake
from controller.domain.usage import CounterSample, MeasuredOctets

log = structlog.get_logger()

_MOST_AT_ONCE = 1_000
_MOST_PENDING = 200_000
"""Records kept while billing cannot take them: some hours of a large network."""
_END = datetime(9999, 1, 1, tzinfo=UTC)
_FORGOTTEN = timedelta(days=1)
"""A device that says nothing for so long is gone, and holds the watermark no more."""
_UPSTREAM = frozenset({"in", "upstream"})


@dataclass(slots=True)
class Outlet:
    """One source: what it is called, what its identifiers are, and what billing has not taken yet."""

    source: str
    title: str
    kind: str
    bins: Bins
    pending: list[MeasuredOctets]
    complete_until: datetime | None = None


class UsageFeed:
    """Run `run` once per process; `counters` and `add` may be called from anything on the same loop."""

    def __init__(
        self,
        intake: UsageIntake,
        clock: Clock,
        life: str,
        *,
        every_s: float = 30.0,
        journal: UsageJournal | None = None,
        keep_every_s: float = 5.0,
    ) -> None:
        self._journal = journal
        self._keep_every_s = keep_every_s
        self._intake = intake
        self._clock = clock
        self._every_s = every_s
        self._last: dict[tuple[tuple[str, str], ...], datetime] = {}
        self._ports: frozenset[str] = frozenset()
        self._heard: dict[tuple[str, str], datetime] = {}
        self.interfaces = Outlet("interfaces", "Counters of interfaces, by SNMP", "port", Bins(life), [])
        self.onus = Outlet("onus", "Counters of ONUs, by NETCONF", "service", Bins(life), [])
        self.flows = Outlet("ipfix", "Flows, by IPFIX", "address", Bins(life, lateness=timedelta(seconds=120)), [])

    def counters(self, samples: Sequence[CounterSample], interval_s: float) -> None:
        """Growth of counters; of one that was never seen, it is of the last `interval_s`."""
        for sample in samples:
            if sample.field != OCTETS or sample.measurement not in (INTERFACE, ONU):
                continue
            tags = dict(sample.tags)
            outlet = self.interfaces if sample.measurement == INTERFACE else self.onus
            identifier = tags.get("service") if outlet is self.onus else f"{tags['device']}/{tags['if_name']}"
            if identifier is None or (outlet is self.interfaces and identifier not in self._ports):
                continue
            since = self._last.get(sample.tags, sample.at - timedelta(seconds=interval_s))
            self._last[sample.tags] = sample.at
            self._heard[outlet.source, tags["device"]] = sample.at
            octets, upstream = int(sample.value), tags["direction"] in _UPSTREAM
            outlet.bins.add(identifier, since, sample.at, octets if upstream else 0, 0 if upstream else octets)

    async def run(self) -> None:
        """Background task: hand over what is over, for ever."""
        loop, due_s = asyncio.get_running_loop(), 0.0
        while True:
            try:
                await self.keep()
                if loop.time() >= due_s:
                    due_s = loop.time() + self._every_s
                    await self.hand_over()
            except (HeadendError, SQLAlchemyError, OSError) as error:
                log.warning("usage_feed.not_taken", error=str(error))
            await asyncio.sleep(self._keep_every_s if self._journal is not None else self._every_s)

    async def keep(self) -> None:
        """Write what has changed of what billing has not taken. Raises what the database raises."""
        if self._journal is None:
            return
        for outlet in (self.interfaces, self.onus, self.flows):
            if not (len(outlet.bins) or outlet.pending):
                continue
            changed = outlet.bins.changed()
            try:
                await self._journal.keep(outlet.source, outlet.kind, outlet.title, changed, self._clock.now())
            except BaseException:
                outlet.bins.not_kept()
                raise

    async def stop(self) -> None:
        """Before the database is closed: tell billing of the bins that are still open, too."""
        try:
            await self.hand_over(everything=True)
        except (HeadendError, SQLAlchemyError, OSError) as error:
            pending = sum(len(outlet.pending) for outlet in (self.interfaces, self.onus, self.flows))
            log.error("usage_feed.lost", records=pending, error=str(error))

    async def hand_over(self, *, everything: bool = False) -> None:
        """Read which ports have a service, and tell billing of bins that are over. Raises what the intake raises."""
        now = self._clock.now()
        for outlet in (self.interfaces, self.onus, self.flows):
            outlet.pending += outlet.bins.closed(_END if everything else now)
            heard = [at for (source, _), at in self._heard.items() if source == outlet.source and now - at < _FORGOTTEN]
            if heard:
                outlet.complete_until = horizon(min(heard))
            if len(outlet.pending) > _MOST_PENDING:
                lost = len(outlet.pending) - _MOST_PENDING
                metrics.USAGE_DROPPED.labels(outlet.source).inc(lost)
                log.error("usage_feed.dropped", source=outlet.source, records=lost)
                del outlet.pending[:lost]
        self._ports = await self._intake.known("port")
        for outlet in (self.interfaces, self.onus, self.flows):
            while outlet.pending:
                some = outlet.pending[:_MOST_AT_ONCE]
                last = len(some) == len(outlet.pending)
                await self._tell(
                    outlet.source, outlet.kind, outlet.title, some, outlet.complete_until if last else None
                )
                del outlet.pending[: len(some)]
        await self._tell_for_others()

    async def _tell(
        self, source: str, kind: str, title: str, octets: Sequence[MeasuredOctets], complete_until: datetime | None
    ) -> None:
        """What is told stands in the journal as it is told until billing has it."""
        if self._journal is not None:
            await self._journal.keep(source, kind, title, octets, self._clock.now())
        await self._intake.measured(source, kind, octets, title=title, complete_until=complete_until)
        if self._journal is not None:
            await self._journal.told(octets)

    async def _tell_for_others(self) -> None:
        """Tell what processes measured that have died since."""
        while self._journal is not None and (found := await self._journal.left_behind(self._clock.now())):
            for kept in found:
                log.warning("usage_feed.left_behind", source=kept.source, records=len(kept.octets))
                await self._intake.measured(kept.source, kept.kind, kept.octets, title=kept.title, complete_until=None)
                await self._journal.told(kept.octets)


def horizon(now: datetime) -> datetime:
    """Until when flows are complete that exporters report at most every five minutes."""
    return now - 2 * BIN

"""The UDP socket to which exporters send IPFIX, and what is counted about them.

Only exporters in the networks that the site names are heard: a datagram's source is all that vouches for it. A message
that comes twice (UDP repeats) counts once, by its domain, sequence number and export time; a jump of the sequence
number says how many records were lost on the way, and is counted, because octets that were lost are not billed twice
but missing. Templates, sequence numbers and repetitions are those of an exporting process, which is an address and a
port (§8, §10.3.4): two processes on one box number their records and templates each from its own beginning. Octets of
sampled flows are multiplied by what the box tells of its sampling (`sampling`), and are estimates from then on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

import structlog

from collectors import metrics
from collectors.ipfix.flows import Carried, Network, carried, multiplied, system_started, untold, within
from collectors.ipfix.message import DataSet, Message, Templates, decode
from collectors.ipfix.sampling import UNSAMPLED, Sampling
from collectors.usage_feed import Outlet, horizon
from controller.domain.clock import Clock
from controller.domain.errors import PeerError

log = structlog.get_logger()

_REMEMBERED = 256
"""Messages of one exporter that are known again."""
_MOST_OPEN = 2_000_000
"""Bins kept open at most: addresses × bins."""
_SEQUENCES = 2**32
_MOST_PROCESSES = 4_096
"""Exporting processes kept at most: the one that was heard longest ago goes first."""
_COMPLAINT_EVERY_S = 60.0
"""A broken exporter must not fill the disk: what is malformed is counted, and told of once in so long."""
_GONE = timedelta(days=1)
"""A box that says nothing for so long is gone, and holds the watermark no more."""


@dataclass(slots=True)
class Exporter:
    """One exporting process; `sampling` is of its box."""

    port: int
    sampling: Sampling
    templates: Templates = field(default_factory=Templates)
    seen: OrderedDict[tuple[int, int, datetime], None] = field(default_factory=OrderedDict)
    next_sequence: dict[int, int] = field(default_factory=dict)
    started_at: dict[int, datetime] = field(default_factory=dict)


class IpfixCollector(asyncio.DatagramProtocol):
    """`exporters` may send; `ours` are the subscribers' networks."""

    def __init__(self, outlet: Outlet, clock: Clock, *, exporters: Sequence[Network], ours: Sequence[Network]) -> None:
        self._outlet = outlet
        self._clock = clock
        self._allowed = exporters
        self._ours = ours
        self._exporters: OrderedDict[tuple[str, int], Exporter] = OrderedDict()
        self._sampling: dict[str, Sampling] = {}
        self._heard_at: dict[str, datetime] = {}
        self._complain_at_s = 0.0
        self._malformed = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str, port: int) -> int:
        """Bind; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        self._transport = transport
        bound: int = transport.get_extra_info("sockname")[1]
        return bound

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        host = addr[0].partition("%")[0]
        address = ipaddress.ip_address(host)
        address = getattr(address, "ipv4_mapped", None) or address
        if not within(address, self._allowed):
            metrics.IPFIX_MESSAGES.labels("stranger").inc()
            return
        exporter = self._exporter(str(address), addr[1])
        try:
            message = decode(data, exporter.templates)
        except PeerError as error:
            metrics.IPFIX_MESSAGES.labels(error.reason).inc()
            self._complain(str(address), error)
            return
        self._take(exporter, message)
        now = self._clock.now()
        self._heard_at[str(address)] = now
        self._heard_at = {box: at for box, at in self._heard_at.items() if now - at < _GONE}
        self._outlet.complete_until = horizon(min(self._heard_at.values()))

    def _exporter(self, box: str, port: int) -> Exporter:
        exporter = self._exporters.get((box, port))
        if exporter is None:
            exporter = self._exporters[box, port] = Exporter(port, self._sampling.setdefault(box, Sampling()))
            if len(self._exporters) > _MOST_PROCESSES:
                (elsewhere, gone), silent = self._exporters.popitem(last=False)
                silent.sampling.forget(gone)
                if not any(one == elsewhere for one, _ in self._exporters):
                    del self._sampling[elsewhere]
        self._exporters.move_to_end((box, port))
        return exporter

    def _complain(self, exporter: str, error: PeerError) -> None:
        self._malformed += 1
        if time.monotonic() >= self._complain_at_s:
            log.warning("ipfix.malformed", exporter=exporter, error=str(error), messages=self._malformed)
            self._malformed, self._complain_at_s = 0, time.monotonic() + _COMPLAINT_EVERY_S

    def _take(self, exporter: Exporter, message: Message) -> None:
        key = message.domain, message.sequence, message.exported_at
        if key in exporter.seen and message.count:
            metrics.IPFIX_MESSAGES.labels("repeated").inc()
            return
        if message.count:
            exporter.seen[key] = None
            if len(exporter.seen) > _REMEMBERED:
                exporter.seen.popitem(last=False)
        self._count(exporter, message)
        place = exporter.port, message.domain
        for template in message.announced:
            exporter.sampling.announced(place, template)
        for data in message.sets:  # what is told beside flows holds for them already
            if data.template.scope:
                for row in data.rows:
                    exporter.sampling.learn(place, data.template, row)
        for data in message.sets:
            self._take_set(exporter, message, data)

    def _take_set(self, exporter: Exporter, message: Message, data: DataSet) -> None:
        reader, sampled = None, 0
        factor: Fraction | None = UNSAMPLED
        if not data.template.scope:
            view = exporter.sampling.flows((exporter.port, message.domain))
            reader, factor = view.reader(data.template), view.default
        for record in data.records:
            started = system_started(record)
            if started is not None:
                exporter.started_at[message.domain] = started
            if (reason := untold(record)) is not None:
                metrics.IPFIX_UNTOLD.labels(reason).inc()
            found = carried(record, message.exported_at, exporter.started_at.get(message.domain), self._ours)
            if found and reader is not None:
                factor = reader(record)
            if found and factor is not UNSAMPLED:
                found = _estimated(found, factor)
                sampled += bool(found)
            for flow in found:
                if len(self._outlet.bins) >= _MOST_OPEN:
                    metrics.USAGE_DROPPED.labels(self._outlet.source).inc()
                    continue
                self._outlet.bins.add(
                    flow.address, flow.since, flow.until, flow.upstream_octets, flow.downstream_octets
                )
        if sampled:
            metrics.IPFIX_SAMPLED.inc(sampled)

    def _count(self, exporter: Exporter, message: Message) -> None:
        metrics.IPFIX_MESSAGES.labels("ok").inc()
        metrics.IPFIX_UNREADABLE.inc(message.unreadable)
        expected = exporter.next_sequence.get(message.domain)
        lost = 0 if expected is None else (message.sequence - expected) % _SEQUENCES
        if 0 < lost < _SEQUENCES // 2:
            metrics.IPFIX_LOST.inc(lost)
        exporter.next_sequence[message.domain] = (message.sequence + message.count) % _SEQUENCES


def _estimated(found: Sequence[Carried], factor: Fraction | None) -> list[Carried]:
    """What one sampled record tells of; nothing, and counted, where its factor is not told or not to be believed."""
    if not factor:
        metrics.IPFIX_UNTOLD.labels("sampler" if factor is None else "sampling").inc()
        return []
    whole = [flow for flow in (multiplied(one, factor) for one in found) if flow is not None]
    if len(whole) < len(found):
        metrics.IPFIX_UNTOLD.labels("absurd").inc()
        return []
    return whole

"""The UDP socket to which exporters send IPFIX, and what is counted about them.

Only exporters in the networks that the site names are heard: a datagram's source is all that vouches for it. A message
that comes twice (UDP repeats) counts once, by its domain, sequence number and export time; a jump of the sequence
number says how many records were lost on the way, and is counted, because octets that were lost are not billed twice
but missing. Templates, sequence numbers and repetitions are those of an exporting process, which is an address and a
port (§8, §10.3.4): two processes on one box number their records and templates each from its own beginning.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from collectors import metrics
from collectors.ipfix.flows import Network, carried, system_started, untold, within
from collectors.ipfix.message import Message, Templates, decode
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
    """One exporting process."""

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
        process = str(address), addr[1]
        exporter = self._exporters.setdefault(process, Exporter())
        self._exporters.move_to_end(process)
        if len(self._exporters) > _MOST_PROCESSES:
            self._exporters.popitem(last=False)
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

    def _complain(self, exporter: str, error: PeerError) -> None:
        self._malformed += 1
        if time.monotonic() >= self._complain_at_s:
            log.warning("ipfix.malformed", exporter=exporter, error=str(error), messages=self._malformed)
            self._malformed, self._complain_at_s = 0, time.monotonic() + _COMPLAINT_EVERY_S

    def _take(self, exporter: Exporter, message: Message) -> None:
        key = message.domain, message.sequence, message.exported_at
        if key in exporter.seen and message.records:
            metrics.IPFIX_MESSAGES.labels("repeated").inc()
            return
        if message.records:
            exporter.seen[key] = None
            if len(exporter.seen) > _REMEMBERED:
                exporter.seen.popitem(last=False)
        self._count(exporter, message)
        for record in message.records:
            started = system_started(record)
            if started is not None:
                exporter.started_at[message.domain] = started
            if (reason := untold(record)) is not None:
                metrics.IPFIX_UNTOLD.labels(reason).inc()
            for flow in carried(record, message.exported_at, exporter.started_at.get(message.domain), self._ours):
                if len(self._outlet.bins) >= _MOST_OPEN:
                    metrics.USAGE_DROPPED.labels(self._outlet.source).inc()
                    continue
                self._outlet.bins.add(
                    flow.address, flow.since, flow.until, flow.upstream_octets, flow.downstream_octets
                )

    def _count(self, exporter: Exporter, message: Message) -> None:
        metrics.IPFIX_MESSAGES.labels("ok").inc()
        metrics.IPFIX_UNREADABLE.inc(message.unreadable)
        expected = exporter.next_sequence.get(message.domain)
        lost = 0 if expected is None else (message.sequence - expected) % _SEQUENCES
        if 0 < lost < _SEQUENCES // 2:
            metrics.IPFIX_LOST.inc(lost)
        exporter.next_sequence[message.domain] = (message.sequence + len(message.records)) % _SEQUENCES

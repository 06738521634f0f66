"""Polls every device of the registry on its own grid: interfaces by SNMP, the state of OLTs by NETCONF.

    registry ─► schedule ─► poll (bounded in number and time) ─► samples ─► time series
                                        └─► health, with an expiry

A device that fails is a line in the log, a count and a health row, never the end of the loop; its series has a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from collectors import metrics
from collectors.counters import TICKS_PER_S, Seen
from collectors.errors import DeviceSilent
from collectors.health import HealthStore, SourceHealth
from collectors.netconf import model as netconf_model
from collectors.netconf import samples as netconf_samples
from collectors.onus import OnuSightings
from collectors.schedule import Schedule
from collectors.settings import CollectorSettings
from collectors.snmp import client as snmp_client
from collectors.snmp import samples as snmp_samples
from collectors.track import CounterTrack
from controller.domain.clock import Clock
from controller.domain.errors import HeadendError, PeerError, PermanentDeviceError, RuleError, TemporaryDeviceError
from controller.domain.identity import DeviceId
from controller.domain.ports import (
    AccessMap,
    DeviceEndpoint,
    DeviceHealth,
    NetconfReader,
    PollTargets,
    SnmpTarget,
    TimeSeries,
)
from controller.domain.usage import CounterSample

log = structlog.get_logger()

_TICK_S = 1.0


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought: samples, and a word about the device."""

    samples: list[CounterSample]
    detail: str
    uptime_s: int | None = None


Work = Callable[[CounterTrack], Awaitable[Polled]]


class _Source:
    """One way of asking: its schedule, and per device what to do and what was last read."""

    def __init__(self, name: str, interval_s: float, concurrency: int) -> None:
        self.name = name
        self.interval_s = interval_s
        self.schedule = Schedule(interval_s)
        self.places = asyncio.Semaphore(concurrency)
        self.tracks: dict[str, CounterTrack] = {}
        self.work: dict[str, Work] = {}

    def keep(self, work: dict[str, Work], now: datetime) -> None:
        self.work = work
        self.tracks = {device_id: self.tracks.get(device_id) or CounterTrack() for device_id in work}
        self.schedule.keep(work, now)
        metrics.TARGETS.labels(self.name).set(len(work))


class Poller:
    def __init__(
        self,
        targets: PollTargets,
        series: TimeSeries,
        health: HealthStore,
        clock: Clock,
        *,
        netconf: NetconfReader | None = None,
        access: AccessMap | None = None,
        sightings: OnuSightings | None = None,
        settings: CollectorSettings | None = None,
        feed: Callable[[Sequence[CounterSample], float], None] | None = None,
    ) -> None:
        """`feed` is told what every stored poll measured, and how far apart polls are in seconds."""
        self._targets = targets
        self._feed = feed
        self._series = series
        self._health = health
        self._clock = clock
        self._netconf = netconf
        self._access = access
        self._sightings = sightings
        self._settings = settings or CollectorSettings()
        self._snmp_source = _Source("snmp", self._settings.snmp_interval_s, self._settings.concurrency)
        self._netconf_source = _Source("netconf", self._settings.netconf_interval_s, self._settings.netconf_concurrency)
        self._heard: list[SourceHealth] = []
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Read the registry now: a device was registered or changed."""
        self._woken.set()

    async def run(self) -> None:
        """Background task: poll until cancelled."""
        async with asyncio.TaskGroup() as polls:
            read_again = 0.0
            loop = asyncio.get_running_loop()
            while True:
                if loop.time() >= read_again or self._woken.is_set():
                    self._woken.clear()
                    read_again = loop.time() + self._settings.targets_every_s
                    await self._guarded(self._read_targets, "collector.registry_unavailable")
                now = self._clock.now()
                for source in (self._snmp_source, self._netconf_source):
                    for device_id in source.schedule.start_due(now):
                        polls.create_task(self._poll(source, device_id))
                await self._guarded(self._flush_health, "collector.health_not_stored")
                await self._pause(now)

    async def poll_now(self) -> None:
        """Read the registry and poll every device once, whatever the schedule says; then store what was heard."""
        await self._read_targets()
        async with asyncio.TaskGroup() as polls:
            for source in (self._snmp_source, self._netconf_source):
                for device_id in source.work:
                    polls.create_task(self._poll(source, device_id))
        await self._flush_health()

    async def _read_targets(self) -> None:
        now = self._clock.now()
        snmp = await self._targets.snmp_targets()
        netconf = await self._targets.netconf_targets() if self._netconf else ()
        self._snmp_source.keep({target.device_id: self._snmp_work(target) for target in snmp}, now)
        self._netconf_source.keep({device.device_id: self._netconf_work(device) for device in netconf}, now)
        await self._health.forget_except([*self._snmp_source.work, *self._netconf_source.work])

    def _snmp_work(self, target: SnmpTarget) -> Work:
        async def work(track: CounterTrack) -> Polled:
            poll = await snmp_client.poll(target, self._settings.snmp, self._clock.now)
            samples = snmp_samples.samples(target.device_id, poll, track)
            up = sum(interface.up for interface in poll.interfaces)
            return Polled(samples, f"{up} of {len(poll.interfaces)} interfaces up", poll.uptime_ticks // TICKS_PER_S)

        return work

    def _netconf_work(self, device: DeviceEndpoint) -> Work:
        reader = self._netconf
        assert reader is not None

        async def work(track: CounterTrack) -> Polled:
            reply = await reader.read(device, netconf_model.OPERATION)
            at = self._clock.now()
            onus = netconf_model.parse(reply)
            services = await self._access.services_by_onu() if self._access else {}
            samples = netconf_samples.samples(device.device_id, onus, at, track, services)
            if self._sightings is not None:
                await self._sightings.note(device.device_id, onus, at)
            return Polled(samples, f"{sum(onu.present for onu in onus)} of {len(onus)} ONUs present")

        return work

    async def _poll(self, source: _Source, device_id: str) -> None:
        work, track = source.work[device_id], source.tracks[device_id]
        try:
            async with source.places:
                with metrics.POLL_SECONDS.labels(source.name).time():
                    polled = await self._bounded(work, track)
            await self._series.write(polled.samples)
        except (TemporaryDeviceError, PermanentDeviceError, PeerError, RuleError) as error:
            track.discard()
            self._note_failure(source, device_id, error)
        except HeadendError as error:  # the time series is away: the device answered all the same
            track.discard()
            metrics.POLLS.labels(source.name, "not_stored").inc()
            log.warning("collector.not_stored", device_id=device_id, source=source.name, error=str(error))
            self._hear(source, device_id, True, polled.detail, polled.uptime_s)
        except SQLAlchemyError as error:  # whose ONU is whose is in the database, and that is away
            track.discard()
            metrics.POLLS.labels(source.name, "not_stored").inc()
            log.warning("collector.database_away", device_id=device_id, source=source.name, error=str(error))
        except Exception as error:
            # One device must not keep the process from all others; it is polled again in its turn.
            track.discard()
            metrics.POLLS.labels(source.name, "broken").inc()
            log.error("collector.poll_broken", device_id=device_id, source=source.name, exc_info=error)
            self._hear(source, device_id, False, f"polling broke: {error}", None)
        else:
            self._note_success(source, device_id, polled, track.keep())
            if self._feed is not None:
                self._feed(polled.samples, source.interval_s)
        finally:
            source.schedule.finished(device_id)

    async def _bounded(self, work: Work, track: CounterTrack) -> Polled:
        limit_s = self._settings.poll_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await work(track)
        except TimeoutError:
            raise DeviceSilent(f"no end after {limit_s:g} s") from None

    def _note_success(self, source: _Source, device_id: str, polled: Polled, seen: Mapping[Seen, int]) -> None:
        metrics.POLLS.labels(source.name, "ok").inc()
        for kind, count in seen.items():
            metrics.READINGS.labels(source.name, kind.value).inc(count)
        for sample in polled.samples:
            metrics.SAMPLES.labels(sample.measurement).inc()
        if refused := seen.get(Seen.QUARANTINED, 0):
            log.warning("collector.quarantined", device_id=device_id, source=source.name, readings=refused)
        self._hear(source, device_id, True, polled.detail, polled.uptime_s)

    def _note_failure(self, source: _Source, device_id: str, error: HeadendError) -> None:
        metrics.POLLS.labels(source.name, type(error).__name__).inc()
        log.warning("collector.poll_failed", device_id=device_id, source=source.name, error=str(error))
        self._hear(source, device_id, False, str(error), None)

    def _hear(self, source: _Source, device_id: str, reachable: bool, detail: str, uptime_s: int | None) -> None:
        now = self._clock.now()
        valid_until = now + timedelta(seconds=source.interval_s * self._settings.health_factor)
        said = DeviceHealth(DeviceId(device_id), reachable, now, valid_until, detail, uptime_s)
        self._heard.append(SourceHealth(source.name, said))

    async def _flush_health(self) -> None:
        heard: Sequence[SourceHealth] = self._heard
        self._heard = []
        await self._health.record(heard)

    async def _guarded(self, action: Callable[[], Awaitable[None]], event: str) -> None:
        """The registry and the health table are in the database; polling goes on without it."""
        try:
            await action()
        except (SQLAlchemyError, HeadendError, OSError) as error:
            log.warning(event, error=str(error))

    async def _pause(self, now: datetime) -> None:
        waits = [source.schedule.wait_s(now, _TICK_S) for source in (self._snmp_source, self._netconf_source)]
        try:
            async with asyncio.timeout(max(min(waits), 0.05)):
                await self._woken.wait()
        except TimeoutError:
            return

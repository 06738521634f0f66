"""What the NOC page shows, gathered from the rooms. Nothing is kept but the last counter values, for rates."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.domain.clock import Clock
from controller.domain.events import Event
from controller.domain.ports import DeviceHealth, TimeSeries
from controller.domain.units import human_octets
from controller.provisioning.devices import DeviceRegistry
from controller.provisioning.model import Device
from controller.store import outbox
from controller.store.engine import Database
from controller.web.noc.data import (
    ComponentLine,
    DeviceLine,
    EventLine,
    NocSnapshot,
    OrderLine,
    ThroughputPoint,
)
from erp.crm.service import CrmService
from erp.orders.model import Order, OrderState
from erp.orders.service import OrderService
from radius.accounting.checks import NasChecks
from radius.accounting.counters import RecorderCounters
from radius.accounting.quarantine import QuarantineService
from radius.accounting.views import SessionRepository
from radius.counters import Counters

RATE_WINDOW_S = 10.0
"""Rates are means over so long: shorter ones jump with every batch of interims."""
THROUGHPUT_WINDOW = timedelta(seconds=60)
"""Octets arrive with interims, so the present throughput is a mean over several of them."""
_MAX_LINES = 12
_DRIVER_KINDS = {"bbf-olt": "OLT", "napalm-router": "Router"}
_ROUTINE_RESULTS = frozenset({"accept", "reject", "challenge", "duplicate", "in-flight", "status", "response"})


@dataclass(frozen=True, slots=True)
class _Counted:
    at_s: float
    accepts: int
    rejects: int
    drops: int
    records: int


class NocGatherer:
    """controller.web.noc.data.NocData."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        sessions: SessionRepository,
        counters: Counters,
        recorded: RecorderCounters,
        subscribers: Callable[[], int],
        orders: OrderService,
        crm: CrmService,
        devices: DeviceRegistry,
        health: Callable[[], Awaitable[Sequence[DeviceHealth]]],
        series: TimeSeries,
        components: Callable[[], Mapping[str, tuple[str, str]]],
        checks: NasChecks,
        quarantine: QuarantineService,
    ) -> None:
        self._database = database
        self._clock = clock
        self._sessions = sessions
        self._counters = counters
        self._recorded = recorded
        self._subscribers = subscribers
        self._orders = orders
        self._crm = crm
        self._devices = devices
        self._health = health
        self._series = series
        self._components = components
        self._checks = checks
        self._quarantine = quarantine
        self._past: deque[_Counted] = deque()

    async def snapshot(self) -> NocSnapshot:
        now = self._clock.now()
        rates = self._rates()
        downstream, upstream = await self._present_throughput(now)
        held = await self._orders.orders(states=(OrderState.HELD,), limit=100)
        return NocSnapshot(
            at=now,
            live_sessions=await self._sessions.count_live(),
            subscribers=self._subscribers(),
            access_accepts_per_s=rates["accepts"],
            access_rejects_per_s=rates["rejects"],
            accounting_records_per_s=rates["records"],
            dropped_packets_per_s=rates["drops"],
            downstream_bps=downstream,
            upstream_bps=upstream,
            held_orders=len(held),
            devices=await self._device_lines(now),
            orders=await self._order_lines(held),
            events=await self._event_lines(),
            components=await self._component_lines(),
        )

    async def _component_lines(self) -> list[ComponentLine]:
        lines = [ComponentLine(name, *state) for name, state in self._components().items()]
        async with self._database.read() as conn:
            parked = await outbox.count_parked(conn)
        if parked:
            lines.append(ComponentLine("Parked events", "down", f"{parked} to be redelivered", "/parked-events"))
        held, *octets = await self._quarantine.held_octets()
        if held:
            words = f"{human_octets(sum(octets))} wait for a decision"
            lines.append(ComponentLine("Quarantine", "waiting", words, "/quarantine"))
        against = await self._checks.against()
        if against:
            words = "; ".join(sorted({finding.partition(":")[0] for nas in against for finding in nas.findings}))
            lines.append(ComponentLine("Accounting of NAS", "down", f"{len(against)} NAS: {words}", "/nas/checks"))
        return lines

    async def throughput(self, *, since: datetime, until: datetime, step_s: int) -> Sequence[ThroughputPoint]:
        down = await self._octets("downstream", since, until, step_s)
        up = await self._octets("upstream", since, until, step_s)
        return [
            ThroughputPoint(at, _bps(down.get(at), step_s), _bps(up.get(at), step_s))
            for at in sorted(down.keys() | up.keys())
        ]

    async def _octets(
        self, direction: str, since: datetime, until: datetime, step_s: int
    ) -> dict[datetime, float | None]:
        tags = (("direction", direction),)
        buckets = await self._series.read(
            "session_octets", "octets", since=since, until=until, step_s=step_s, tags=tags, aggregate="sum"
        )
        return {bucket.start: bucket.value for bucket in buckets}

    async def _present_throughput(self, now: datetime) -> tuple[int | None, int | None]:
        step_s = int(THROUGHPUT_WINDOW.total_seconds())
        found = []
        for direction in ("downstream", "upstream"):
            octets = [v for v in (await self._octets(direction, now - THROUGHPUT_WINDOW, now, step_s)).values() if v]
            found.append(round(sum(octets) * 8 / step_s) if octets else None)
        return found[0], found[1]

    def _rates(self) -> dict[str, float]:
        """Means since the oldest look that is not older than the window."""
        totals = {"accept": 0, "reject": 0, "drop": 0}
        for (_, _, result), count in self._counters.requests.items():
            if result in totals:
                totals[result] += count
            elif result not in _ROUTINE_RESULTS:
                totals["drop"] += count
        present = _Counted(time.monotonic(), totals["accept"], totals["reject"], totals["drop"], self._recorded.stored)
        self._past.append(present)
        while len(self._past) > 2 and present.at_s - self._past[0].at_s > RATE_WINDOW_S:
            self._past.popleft()
        first = self._past[0]
        elapsed_s = present.at_s - first.at_s
        return {
            name: round((getattr(present, name) - getattr(first, name)) / elapsed_s, 2) if elapsed_s > 0 else 0.0
            for name in ("accepts", "rejects", "drops", "records")
        }

    async def _device_lines(self, now: datetime) -> list[DeviceLine]:
        sources: dict[str, list[DeviceHealth]] = {}
        for health in await self._health():
            if health.valid_until > now:
                sources.setdefault(health.device_id, []).append(health)
        return [
            _device_line(device, _DRIVER_KINDS.get(device.driver or "", "SNMP only"), sources.get(device.device_id, []))
            for device in await self._devices.page(None, 200)
        ]

    async def _order_lines(self, held: Sequence[Order]) -> list[OrderLine]:
        """Held orders first: they wait for a person."""
        newest = await self._orders.orders(limit=_MAX_LINES)
        chosen = {order.order_id: order for order in (*held[:_MAX_LINES], *newest)}
        return [await self._order_line(order) for order in list(chosen.values())[:_MAX_LINES]]

    async def _order_line(self, order: Order) -> OrderLine:
        customer = await self._crm.customer_of(order.account_id)
        return OrderLine(
            order_id=order.order_id,
            at=order.created_at,
            action=order.action.value,
            customer=customer.contact.name,
            state=order.state.value,
            cause=order.cause or "",
            owner_team=order.owner_team or "",
        )

    async def _event_lines(self) -> list[EventLine]:
        async with self._database.read() as conn:
            newest = await outbox.recent(conn, _MAX_LINES)
        return [EventLine(d.position, d.event.at, d.event.name, _sentence(d.event)) for d in newest]


def _device_line(device: Device, kind: str, fresh: Sequence[DeviceHealth]) -> DeviceLine:
    """One line a device, however many ways it is asked: down when one of them fails, since that one is missed."""
    if not fresh:
        return DeviceLine(device.device_id, device.name, kind, "unknown", "not heard of", None)
    failing = [health for health in fresh if not health.reachable]
    detail = "; ".join(health.detail for health in failing or fresh)
    checked_at = min(health.checked_at for health in fresh)
    return DeviceLine(device.device_id, device.name, kind, "down" if failing else "up", detail, checked_at)


def _bps(octets: float | None, step_s: int) -> float | None:
    return None if octets is None else octets * 8 / step_s


_SENTENCES = {
    "customer.created": "New customer {display_name}",
    "service.ordered": "Order accepted ({action})",
    "service.activated": "Service verified and active: charging starts",
    "service.changed": "Plan change verified on every device",
    "service.terminated": "Service ended",
    "item.restricted": "Item {reference} ({kind}), for what is owed: {measure}",
    "order.cancelled": "Order cancelled ({action}): what was done of it is undone",
    "order.held": "Order held at {step}: {cause} ({owner_team})",
    "charges.rated": "Bill run: {charges} charges rated",
    "invoice.issued": "Invoice {number} issued",
    "payment.received": "Payment received",
}


def _sentence(event: Event) -> str:
    """A sentence for people, without money and secrets."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    return _SENTENCES.get(event.name, event.name).format(**values)

"""Every accepted octet is charged, stands in suspense, or was written off by a person, whatever comes in what order.

Usage, activations, changes and terminations, moves of usernames, bill runs, releases and lost power are shuffled by
hypothesis. Every octet costs one cent and nothing is included, so what was charged can be counted in octets. One of the
two services may be in a zone far from the usual one: what it used before anybody knew is put on its own days.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge import zones
from billing_bridge.billing.service import BillingService
from billing_bridge.errors import Decided, NotForThis, UnbilledService
from billing_bridge.mediation.service import MediationService
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import ledger
from billing_bridge.sources.identifiers import USERNAME
from billing_bridge.sources.ledger import Hour
from billing_bridge.suspense.model import CHARGED, NOT_ENTITLED, WAITING, WRITTEN_OFF
from billing_bridge.suspense.repository import Wanted
from billing_bridge.suspense.service import SuspenseService
from billing_bridge.tables import charge, suspense, usage_day
from controller.domain.clock import MovableClock, local_date
from controller.domain.events import ServiceActivated, ServiceChanged, ServiceTerminated
from controller.domain.identity import AccountId, OfferingVersionId, OrderId, ServiceId, SubscriptionId, new_id
from controller.store.engine import Database
from tests.support.billing_fakes import PriceList, UsageLogInMemory, record, tariff
from tests.support.databases import PostgresServer

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (BERLIN, ZoneInfo("Pacific/Apia"), ZoneInfo("Pacific/Pago_Pago"), ZoneInfo("America/St_Johns"))
START = datetime(2026, 3, 3, 11, 0, tzinfo=UTC)
HOURS = 24 * 55
END = datetime(2026, 6, 2, tzinfo=UTC)
"""All usage lies in months that are closed by then."""
SERVICES = ("a" * 32, "b" * 32)
ACCOUNTS = (AccountId("c" * 32), AccountId("e" * 32))
SESSIONS = (SERVICES[0], SERVICES[0], SERVICES[1], None)
"""The service that the records of each session name."""
Lifecycle = ServiceActivated | ServiceChanged | ServiceTerminated

hours = st.integers(0, HOURS)
octets = st.integers(0, 1000)
lost = st.booleans()
OPERATION = st.one_of(
    st.tuples(st.just("usage"), st.integers(0, len(SESSIONS) - 1), hours, octets, octets),
    st.tuples(st.just("usage"), st.integers(0, len(SESSIONS) - 1), hours, octets, octets),
    st.tuples(st.just("event"), st.integers(0, 1), hours, st.sampled_from(["on", "on", "change", "off"])),
    st.tuples(st.just("deliver"), st.integers(0, 9), lost),
    st.tuples(st.just("mediate"), lost),
    st.tuples(st.just("bill"), st.sampled_from([30, 60, 90]), lost),
    st.tuples(st.just("map"), st.integers(0, 9), st.integers(0, 1), lost),
    st.tuples(st.just("move"), st.integers(0, len(SESSIONS) - 1), st.integers(0, 2), hours, lost),
    st.tuples(st.just("charge"), st.integers(0, 9), lost),
    st.tuples(st.just("write-off"), st.integers(0, 9), lost),
)


NOTHING = Hour("radius", START, *[(0, 0)] * 5)


class PowerCut(Exception):
    pass


class Mains(Database):
    """A database whose next transaction can be made to end just before its commit."""

    cut = False

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with super().begin() as conn:
            yield conn
            if self.cut:
                raise PowerCut


@dataclass
class World:
    database: Mains
    zone: ZoneInfo
    """Of the second service."""
    log: UsageLogInMemory = field(default_factory=UsageLogInMemory)
    events: list[Lifecycle] = field(default_factory=list)
    delivered: list[Lifecycle] = field(default_factory=list)
    """In order of their first delivery."""
    sent: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clock = MovableClock(END)
        how = BillingSettings(zone=BERLIN, records_per_batch=3)
        prices = [tariff(v * 32, "0.00", included=0, overage="0.01", unit="octet") for v in "12"]
        self.mediation = MediationService(self.database, clock, self.log, how)
        self.billing = BillingService(self.database, clock, PriceList(prices), how)
        self.suspense = SuspenseService(self.database, clock, how)

    async def begin(self) -> None:
        async with self.database.begin() as conn:
            await zones.put(conn, ACCOUNTS[1], self.zone.key, BERLIN)

    def usage(self, session: int, hour: int, up: int, down: int) -> None:
        at = START + timedelta(hours=hour)
        self.log.append(record(f"s{session}", at, up, down, service=SESSIONS[session]))

    def event(self, service: int, hour: int, kind: str) -> None:
        at, what = START + timedelta(hours=hour), "1" if kind == "on" else "2"
        common = {
            "event_id": new_id(at),
            "at": at,
            "actor": "test",
            "order_id": OrderId("0" * 32),
            "subscription_id": SubscriptionId(str(service) * 32),
            "service_id": ServiceId(SERVICES[service]),
            "account_id": ACCOUNTS[service],
        }
        version = OfferingVersionId(what * 32)
        if kind == "on":
            self.events.append(ServiceActivated(**common, version_id=version))
        elif kind == "change":
            self.events.append(ServiceChanged(**common, from_version_id=version, version_id=version))
        else:
            self.events.append(ServiceTerminated(**common))

    async def deliver(self, event: Lifecycle) -> None:
        async with self.database.begin() as conn:
            if isinstance(event, ServiceActivated):
                await self.billing.on_service_activated(conn, event)
            elif isinstance(event, ServiceChanged):
                await self.billing.on_service_changed(conn, event)
            else:
                await self.billing.on_service_terminated(conn, event)
        if event not in self.delivered:
            self.delivered.append(event)

    async def mediate(self) -> None:
        await self.log.store(self.database)
        while await self.mediation.step():
            pass

    async def bill(self, day: int) -> int:
        as_of = min(END, START + timedelta(days=day))
        run = await self.billing.open_run(
            as_of=as_of, account_id=None, usage_watermark=0, event_watermark=0, actor="test"
        )
        batches = await self.billing.plan_run(run.bill_run_id)
        return sum([await self.billing.rate_batch(run.bill_run_id, batch) for batch in range(batches)])

    async def release(self, verb: str, which: int, service: int = 0) -> None:
        waiting = await self.suspense.page(Wanted(), 0, 100)
        if not waiting:
            return
        item = waiting[which % len(waiting)].item
        by = {"actor": "user:test", "reason": "because"}
        try:
            if verb == "map":
                await self.suspense.map_to_service(item.suspense_id, service_id=SERVICES[service], since=None, **by)
            elif verb == "charge":
                await self.suspense.charge(item.suspense_id, **by)
            else:
                await self.suspense.write_off(item.suspense_id, **by)
        except (NotForThis, Decided, UnbilledService):
            return

    async def move(self, session: int, service: int, hour: int) -> None:
        """Somebody says late whose the username of a session was from an hour on, or that it was nobody's."""
        to = (*SERVICES, None)[service]
        with suppress(Decided, UnbilledService):
            await self.suspense.give(
                USERNAME, f"user-of-s{session}", START + timedelta(hours=hour), to, overrides=True, actor="user:test",
                reason="told late",
            )  # fmt: skip

    async def do(self, operation: tuple[object, ...]) -> None:
        name, *rest = operation
        if name == "usage":
            return self.usage(*rest)  # type: ignore[arg-type]
        if name == "event":
            return self.event(*rest)  # type: ignore[arg-type]
        *given_to, self.database.cut = rest  # type: ignore[assignment]
        try:
            await self._later(str(name), *given_to)  # type: ignore[arg-type]
        except PowerCut:
            pass
        finally:
            self.database.cut = False

    async def _later(self, name: str, *rest: int) -> None:
        if name == "deliver":
            if self.events:
                await self.deliver(self.events[rest[0] % len(self.events)])
        elif name == "mediate":
            await self.mediate()
        elif name == "bill":
            await self.bill(rest[0])
        elif name == "move":
            await self.move(*rest)
        else:
            await self.release(name, *rest)

    def has_plan(self, service_id: str, day: date) -> bool:
        """By what was delivered so far: the last change on or before that day decides."""
        zone = self.zone if service_id == SERVICES[1] else BERLIN
        changes = sorted(
            (e.at, n, isinstance(e, ServiceTerminated))
            for n, e in enumerate(self.delivered)
            if e.service_id == service_id and local_date(e.at, zone) <= day
        )
        return bool(changes) and not changes[-1][2]

    async def check(self) -> tuple[int, int]:
        """Every octet is where it belongs; returns (octets in suspense or written off, octets accepted)."""
        mediated = self.log.rows[: await self.mediation.position()]
        accepted = 0
        for session in {r.session_key for r in mediated}:
            own = [r for r in mediated if r.session_key == session]
            accepted += max(r.upstream_octets or 0 for r in own) + max(r.downstream_octets or 0 for r in own)
        async with self.database.read() as conn:
            used = (await conn.execute(select(usage_day))).all()
            standing = select(suspense).where(suspense.c.state.in_((WAITING, CHARGED, WRITTEN_OFF)))
            rows = (await conn.execute(standing)).all()
        days = {(r.service_id, r.day): r.upstream_octets + r.downstream_octets for r in used}
        of_records = sum(r.upstream_octets + r.downstream_octets for r in rows if r.reason != NOT_ENTITLED)
        assert accepted == sum(days.values()) + of_records
        held: dict[tuple[str, date], int] = {}
        for row in (r for r in rows if r.reason == NOT_ENTITLED):
            key = row.service_id, row.day
            held[key] = held.get(key, 0) + row.upstream_octets + row.downstream_octets
            assert row.upstream_octets >= 0
            assert row.downstream_octets >= 0
            assert (row.counted_on is not None) == (row.state == CHARGED)
            assert row.counted_on is None or self.has_plan(row.service_id, row.counted_on)
        # A day whose usage all became another's has nothing left that could wait.
        assert held == {key: octets for key, octets in days.items() if octets and not self.has_plan(*key)}
        await self.ledger_says(accepted, rows)
        released = sum(r.upstream_octets + r.downstream_octets for r in rows if r.state == CHARGED)
        return sum(held.values()) + of_records - released, accepted

    async def ledger_says(self, accepted: int, standing: Sequence[Row[Any]]) -> None:
        """Each octet is counted once: as rated, as waiting, or as given up; and each record is, hour by hour."""
        async with self.database.read() as conn:
            hours = await ledger.page(conn, None, None, None, None, 10_000)
            (totals,) = await ledger.sums(conn) or [NOTHING]
        octets = {state: sum(r.upstream_octets + r.downstream_octets for r in standing if r.state == state)
                  for state in (WAITING, WRITTEN_OFF)}  # fmt: skip
        assert totals.accepted == (await self.mediation.position(), accepted)
        assert totals.suspense[1] == octets[WAITING]
        assert totals.unrated[1] == octets[WRITTEN_OFF]
        assert all(hour.adds_up for hour in hours)
        counts = [n for hour in hours for part in (hour.rated, hour.unrated, hour.suspense) for n in part]
        assert min(counts, default=0) >= 0
        assert (totals.suspense[0] > 0) == any(
            r.state == WAITING and r.upstream_octets + r.downstream_octets for r in standing
        )

    async def charged(self) -> int:
        async with self.database.read() as conn:
            return int(await conn.scalar(select(func.sum(charge.c.octets))) or 0)


async def play(operations: list[tuple[object, ...]], database: Mains, zone: ZoneInfo) -> tuple[int, int, int]:
    """Octets that were accepted, that were charged, and that are left: in suspense or written off."""
    world = World(database, zone)
    await world.begin()
    for operation in operations:
        await world.do(operation)
        if operation[0] != "usage":
            await world.check()
    for event in world.events:
        await world.deliver(event)
    await world.mediate()
    await world.bill(90)
    left, accepted = await world.check()
    charged = await world.charged()
    assert await world.bill(90) == 0, "a second run charges nothing"
    return accepted, charged, left


WITHOUT_FIXTURES = [HealthCheck.function_scoped_fixture]
"""Each example has a database of its own; the fixtures only say where."""


def run(operations: list[tuple[object, ...]], url: str, zone: ZoneInfo) -> tuple[int, int, int]:
    async def played() -> tuple[int, int, int]:
        database = Mains(url)
        try:
            return await play(operations, database, zone)
        finally:
            await database.close()

    return asyncio.run(played())


@settings(max_examples=40, deadline=None, suppress_health_check=WITHOUT_FIXTURES)
@given(st.lists(OPERATION, min_size=8, max_size=40), st.sampled_from(ZONES))
def test_every_octet_is_charged_or_in_suspense_or_written_off(
    sqlite_template: Path, tmp_path: Path, operations: list[tuple[object, ...]], zone: ZoneInfo
) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.db"
    shutil.copy(sqlite_template, path)
    accepted, charged, left = run(operations, f"sqlite+aiosqlite:///{path}", zone)
    path.unlink()
    assert accepted == charged + left


@settings(max_examples=10, deadline=None, suppress_health_check=WITHOUT_FIXTURES)
@given(st.lists(OPERATION, min_size=8, max_size=40), st.sampled_from(ZONES))
def test_and_so_it_is_on_postgresql(
    postgres: PostgresServer, operations: list[tuple[object, ...]], zone: ZoneInfo
) -> None:
    name = postgres.lend()
    try:
        accepted, charged, left = run(operations, postgres.url(name), zone)
    finally:
        postgres.give_back(name)
    assert accepted == charged + left

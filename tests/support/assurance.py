"""A billing world beside what RADIUS, OLTs and stock show, with the two looks that compare them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.leakage import Leak
from billing_bridge.checks.recount import Recount
from billing_bridge.settings import BillingSettings
from collectors.netconf.model import OnuState
from collectors.onus import OnuSightings
from controller.domain.identity import ServiceId, new_id
from controller.domain.service import SpeedProfile
from controller.domain.units import GB
from controller.store.engine import Database
from controller.store.metadata import to_micros
from controller.workflows.leakage import Leakage
from controller.workflows.reconciliation import Reconciliation
from erp.catalog.model import Product, VersionTerms
from erp.catalog.service import CatalogService
from erp.inventory.service import InventoryService
from radius.accounting.tables import sessions
from radius.live import LiveAccess
from radius.tables import subscriber
from tests.support.billing_fakes import tariff
from tests.support.billing_world import BERLIN, BillingWorld, Line, berlin
from tests.support.plans import plan_of
from tests.support.series import FakeTimeSeries

PLAN = "a" * 32


class Access:
    """An AccessMap of what a test says."""

    def __init__(self) -> None:
        self.services: dict[str, ServiceId] = {}

    async def services_by_onu(self) -> Mapping[str, ServiceId]:
        return self.services


class Network:
    """A billing world beside what RADIUS, OLTs and stock of a test show."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.world = BillingWorld(database, directory, [tariff(PLAN, "30.00", included=10 * GB)], berlin(2026, 9, 1, 9))
        self.clock = self.world.clock
        self.catalog = CatalogService(database, self.clock)
        self.inventory = InventoryService(database, self.clock)
        self.onus, self.access, self.series = OnuSightings(database), Access(), FakeTimeSeries()
        self.leakage = Leakage(
            database,
            self.clock,
            BERLIN,
            "EUR",
            billed=BilledLines(database),
            catalog=self.catalog,
            inventory=self.inventory,
            radius=LiveAccess(database),
            onus=self.onus,
            access=self.access,
        )
        self.reconciliation = Reconciliation(
            database,
            self.clock,
            BERLIN,
            recount=Recount(database, self.world.usage, BillingSettings(zone=BERLIN)),
            mediation=self.world.mediation,
            usage=self.world.usage,
            series=self.series,
            access=self.access,
        )

    async def login(self, username: str, service_id: str, *, bps: int = 100_000_000, enabled: bool = True) -> None:
        values: dict[str, Any] = {
            "username": username,
            "service_id": service_id,
            "password": b"sealed",
            "profile_name": "p100",
            "downstream_bps": bps,
            "upstream_bps": bps // 2,
            "enabled": enabled,
            "withdrawn": False,
            "revision": 1,
            "updated_at": self.clock.now(),
        }
        async with self.database.begin() as conn:
            await conn.execute(insert(subscriber).values(values))

    async def session(self, username: str, service_id: str | None, at: datetime, *, live: bool = True) -> None:
        us = to_micros(at)
        values: dict[str, Any] = {
            "session_key": new_id(at),
            "revision": 1,
            "last_event_us": us,
            "last_seen_us": us,
            "upstream_octets": GB,
            "downstream_octets": 9 * GB,
            "recent": b"",
            "state": "live" if live else "ended",
            "started_us": us,
            "start_seen": True,
            "provisional": False,
            "final_unknown": False,
            "counter_fell": False,
            "service_id": service_id,
            "nas_id": "n" * 32,
            "acct_session_id": f"{username}/{us}".encode(),
            "life": 1,
            "username": username,
            "interim_s": 300,
        }
        async with self.database.begin() as conn:
            await conn.execute(insert(sessions).values(values))

    async def sells(self, name: str, fee: str, bps: int) -> None:
        terms = VersionTerms(
            effective_on=self.clock.now().date(),
            currency="EUR",
            tax_percent=Decimal(19),
            plan=plan_of(fee),
            speed=SpeedProfile(f"p-{bps // 10**6}", bps, bps // 2),
        )
        await self.catalog.create_offering(Product(name), terms, actor="user:t")

    async def sees(self, *serials: str) -> None:
        states = [OnuState(s, "v-ani", True, "pon-1", None, None, None, None) for s in serials]
        await self.onus.note("d" * 32, states, self.clock.now())

    async def leaks(self, side: str) -> dict[str, Leak]:
        return {leak.key: leak for leak in await self.leakage.look() if leak.side == side}

    async def live_line(self, username: str) -> Line:
        """A line as it should be: billed, with a login and a session."""
        line = await self.world.activate(PLAN)
        await self.login(username, line.service_id)
        await self.session(username, line.service_id, self.clock.now())
        return line


@asynccontextmanager
async def network_of(database: Database, directory: Path) -> AsyncIterator[Network]:
    made = Network(database, directory)
    await made.world.entity()
    try:
        yield made
    finally:
        await made.world.close()

"""What is live and not billed, and what is billed and not live: RADIUS, OLTs, stock and billing side by side.

Looked at every night, and when somebody asks for a look: everybody's lists are compared, which is too much to do for
every reader of a page. What was found is kept with when that was, and the sums of each day, which metrics tell too.
Changes nothing: what to do about a leak is for people.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from prometheus_client import Gauge

from billing_bridge.checks import leak_rows
from billing_bridge.checks.billed import BilledLines
from billing_bridge.checks.leak_rows import LeakDay, Ranked
from billing_bridge.checks.leakage import (
    LOGIN,
    ONU,
    SESSION,
    SIDES,
    STOCK,
    BilledLine,
    Leak,
    Offer,
    Sight,
    billed_not_live,
    live_not_billed,
)
from collectors.onus import OnuSightings
from controller.domain.clock import Clock, local_date
from controller.domain.identity import ServiceId
from controller.domain.money import Money
from controller.domain.ports import AccessMap
from controller.domain.price import ProductKind
from controller.domain.units import human_octets
from controller.store.courtesy import Courtesy
from controller.store.engine import Database
from controller.store.turns import in_turns
from erp.catalog.errors import NotInForce
from erp.catalog.service import CatalogService
from erp.inventory.model import StockItem, StockState
from erp.inventory.service import InventoryService
from erp.orders.sales import being_built
from radius.live import LiveAccess

log = structlog.get_logger()

_ITEMS = Gauge("headend_leakage_items", "Services that are live and not billed, or billed and not live", ["side"])
_PER_DAY = Gauge("headend_leakage_per_day", "What they are worth a day, in major units", ["side", "currency"])

_RECENT = timedelta(days=2)
"""Sessions and ONUs seen so lately are live."""
_REMEMBERED = timedelta(days=60)
"""How far back a line that fell silent is looked for."""
_PAGE = 500
_WRITTEN = 1_000
"""Rows of a look in one transaction."""
_UNFINISHED = timedelta(hours=1)
"""A look that is older and not the last one is no longer being written."""
_SHARE = 0.02
"""What writing a look may take of a processor that answers all the time."""


class Leakage:
    def __init__(
        self,
        database: Database,
        clock: Clock,
        zone: ZoneInfo,
        currency: str,
        *,
        billed: BilledLines,
        catalog: CatalogService,
        inventory: InventoryService,
        radius: LiveAccess,
        onus: OnuSightings,
        access: AccessMap,
    ) -> None:
        self._database = database
        self._clock = clock
        self._zone = zone
        self._currency = currency
        self._billed = billed
        self._catalog = catalog
        self._inventory = inventory
        self._radius = radius
        self._onus = onus
        self._access = access
        self._looking = asyncio.Lock()

    async def look(self) -> list[Leak]:
        """Both lists, each with its dearest first, as they are now; keeps nothing."""
        now = self._clock.now()
        lines = await self._billed.lines(now, self._zone)
        sights = await self._sights()
        async with self._database.read() as conn:
            ordered = await being_built(conn)
        offers = await self._offers()
        # Seconds of arithmetic, with a hundred thousand services: others of the process go on meanwhile.
        return await asyncio.to_thread(self._compare, sights, lines, offers, ordered, now)

    def _compare(
        self,
        sights: Sequence[Sight],
        lines: Sequence[BilledLine],
        offers: Sequence[Offer],
        ordered: Collection[str],
        now: datetime,
    ) -> list[Leak]:
        recent = [s for s in sights if s.what in (LOGIN, STOCK) or now - s.last <= _RECENT]
        live = live_not_billed(
            recent,
            lines,
            offers,
            ordered=ordered,
            currency=self._currency,
            now=now,
            zone=self._zone,
        )
        return [*live, *billed_not_live(sights, lines, now=now)]

    async def note(self) -> list[Leak]:
        """Look, and keep what is found and the sums of today."""
        async with self._looking:
            return await self._note()

    async def _note(self) -> list[Leak]:
        now, found = self._clock.now(), await self.look()
        look = await asyncio.to_thread(leak_rows.noted, found, self._currency)
        courtesy = Courtesy(_SHARE)
        for first in range(0, len(look.rows), _WRITTEN):
            async with courtesy, self._database.begin() as conn:
                await leak_rows.add(conn, now, look.rows[first : first + _WRITTEN])
        async with self._database.begin() as conn:
            await leak_rows.end(conn, local_date(now, self._zone), look, now)
        await self._forget(now - _UNFINISHED, courtesy)
        for side in SIDES:
            sums = {code: (items, minor) for (of, code), (items, minor) in look.sums.items() if of == side}
            per_day = [Money(minor, code) for code, (_, minor) in sums.items()]
            items = sum(count for count, _ in sums.values())
            _ITEMS.labels(side).set(items)
            for money in per_day:
                _PER_DAY.labels(side, money.currency).set(float(money.amount))
            log.info("leakage.noted", side=side, items=items, per_day=[str(money) for money in per_day])
        return found

    async def _forget(self, before: datetime, courtesy: Courtesy) -> None:
        async with self._database.read() as conn:
            given_up = await leak_rows.given_up(conn, before)
        for looked_at, side, most in given_up:
            for above in range(most - most % _WRITTEN, -1, -_WRITTEN):
                async with courtesy, self._database.begin() as conn:
                    await leak_rows.forget(conn, looked_at, side, above)

    async def page(self, side: str, after: int, limit: int) -> list[Ranked]:
        """What the last look found. Where nobody ever looked, this is the first look: an empty list would be a lie."""
        if await self.looked_at() is None:
            async with self._looking:
                if await self.looked_at() is None:
                    await self._note()
        async with self._database.read() as conn:
            return await leak_rows.page(conn, side, after, limit)

    async def looked_at(self) -> datetime | None:
        async with self._database.read() as conn:
            return await leak_rows.last_look(conn)

    async def days(self, days: int) -> list[LeakDay]:
        since = local_date(self._clock.now(), self._zone) - timedelta(days=days)
        async with self._database.read() as conn:
            return await leak_rows.days(conn, since)

    async def _sights(self) -> list[Sight]:
        now = self._clock.now()
        found = [
            Sight(
                LOGIN,
                login.username,
                login.service_id,
                login.updated_at,
                login.updated_at,
                f"profile {login.profile_name}" + ("" if login.is_open else ", refused or in the walled garden"),
                login.is_open,
                login.downstream_bps,
            )
            async for login in in_turns(await self._radius.logins())
        ]
        found += [
            Sight(
                SESSION,
                carried.username,
                carried.service_id,
                carried.first_at,
                now if carried.is_live else carried.last_at,
                f"{human_octets(carried.octets)}, {'live now' if carried.is_live else 'ended'}",
            )
            async for carried in in_turns(await self._radius.carried(now - _REMEMBERED))
        ]
        stock = await self._stock()
        services: dict[str, ServiceId | str | None] = dict(await self._access.services_by_onu())
        for item in stock:
            services.setdefault(item.serial, item.service_id)
        found += [
            Sight(
                ONU,
                onu.serial,
                str(services[onu.serial]) if services.get(onu.serial) else None,
                onu.first_seen_at,
                onu.last_seen_at,
                f"at {onu.pon_port or 'an OLT'}",
            )
            for onu in await self._onus.since(now - _REMEMBERED)
        ]
        found += [
            Sight(
                STOCK,
                item.serial,
                item.service_id,
                item.moved_at,
                item.moved_at,
                f"{item.model}, {item.state.value}, with {item.holder}",
            )
            for item in stock
        ]
        return found

    async def _stock(self) -> Sequence[StockItem]:
        """What lies at customers."""
        found: list[StockItem] = []
        for state in (StockState.INSTALLED, StockState.AWAITING_RETURN):
            after: str | None = None
            while True:
                page = await self._inventory.items(serial=None, state=state.value, after=after, limit=_PAGE)
                found += page
                if len(page) < _PAGE:
                    break
                after = page[-1].item_id
        return found

    async def _offers(self) -> list[Offer]:
        """What is sold today, as far as it has a fee and a speed, or is a device for rent."""
        today = local_date(self._clock.now(), self._zone)
        found: list[Offer] = []
        after: str | None = None
        while True:
            page = await self._catalog.offerings(after, _PAGE)
            for offering in page:
                try:
                    tariff = await self._catalog.in_force(offering.offering_id, today)
                except NotInForce:
                    continue
                speed = tariff.speed.downstream_bps if tariff.speed else None
                if tariff.currency == self._currency and (speed or tariff.kind is ProductKind.RENTAL):
                    found.append(Offer(tariff.offering_name, speed, Money.exact(tariff.monthly_fee, tariff.currency)))
            if len(page) < _PAGE:
                return found
            after = page[-1].offering_id

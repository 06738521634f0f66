"""What waits in suspense, how much it may be worth, and the decisions of people that end the wait.

    unknown-service    map: whose identifier it is, from an instant on    │ write off
    not-entitled       charge: on the nearest day that had a plan         │ write off
    absurd, clock-jump, second-source   accept: it is true all the same   │ write off
    malformed, negative, conflict, no-price: by a new delivery or plan    │ write off
    altered-record, forgotten-session: what they say cannot be believed   │ write off

Every decision is one transaction with its entry in the audit log. Refuses to decide twice, and to decide about usage
that has changed since it was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import structlog
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from billing_bridge.errors import Decided, NotForThis, UnbilledService, UnknownSuspense
from billing_bridge.mediation.moving import Ahead, read_ahead
from billing_bridge.mediation.repository import Position, lock_position, move_position
from billing_bridge.settings import BillingSettings
from billing_bridge.sources import identifiers
from billing_bridge.sources.identifiers import Mapped
from billing_bridge.sources.ledger import RADIUS, SUSPENSE, UNRATED, Tally
from billing_bridge.sources.model import SECOND_SOURCE
from billing_bridge.sources.moves import Moved
from billing_bridge.sources.release import BELIEVABLE, Release, amount
from billing_bridge.suspense import repository
from billing_bridge.suspense.dispositions import (
    day_items,
    recount,
)
from billing_bridge.suspense.model import (
    ACCEPTED,
    CHARGED,
    MAPPED,
    NO_SERVICE,
    NOT_ENTITLED,
    REASONS,
    WAITING,
    WRITTEN_OFF,
)
from billing_bridge.suspense.moving import move_booked
from billing_bridge.suspense.repository import Item, Wanted
from billing_bridge.suspense.settle import settle
from billing_bridge.suspense.taking import TakingUp, begins
from billing_bridge.suspense.values import Values
from controller.domain.clock import Clock
from controller.domain.money import Money
from controller.domain.ports import AddressHolders
from controller.store import audit
from controller.store.engine import Database

log = structlog.get_logger()

_items = Gauge("headend_billing_bridge_suspense_items", "Items of usage waiting in suspense", ["reason"])
_octets = Gauge("headend_billing_bridge_suspense_octets", "Octets waiting in suspense, both directions", ["reason"])
_oldest = Gauge("headend_billing_bridge_suspense_oldest_seconds", "Age of the oldest waiting item", ["reason"])


@dataclass(frozen=True, slots=True)
class Valued:
    """An item, and the most that it may be worth (`values`); None where no plan says."""

    item: Item
    value: Money | None


@dataclass(frozen=True, slots=True)
class Total:
    """What waits for one reason. `oldest_at` is None when nothing does; `values` holds one amount per currency."""

    reason: str
    items: int
    upstream_octets: int
    downstream_octets: int
    oldest_at: datetime | None
    values: tuple[Money, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """What a decision was about: these items, and their octets."""

    state: str
    items: tuple[Item, ...]
    moved: tuple[Moved, ...] = ()
    """Usage that had been booked to another service."""

    @property
    def octets(self) -> int:
        return sum(item.octets for item in self.items)


class SuspenseService:
    """`holders` tells whose an address was, for usage that waits with nothing but that."""

    def __init__(
        self, database: Database, clock: Clock, settings: BillingSettings, holders: AddressHolders | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._release = Release(settings, holders)
        self._taking = TakingUp(self._release, settings)
        self._values = Values(clock, settings.rounding)

    async def watch(self) -> None:
        """Background task: keep the gauges of `/metrics` at what waits."""
        while True:
            try:
                now = self._clock.now()
                for total in await self.totals():
                    _items.labels(total.reason).set(total.items)
                    _octets.labels(total.reason).set(total.upstream_octets + total.downstream_octets)
                    age = (now - total.oldest_at).total_seconds() if total.oldest_at else 0.0
                    _oldest.labels(total.reason).set(age)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("suspense.not_counted", error=str(error))
            await asyncio.sleep(self._settings.count_every_s)

    async def page(self, wanted: Wanted, after: int, limit: int) -> list[Valued]:
        """In order of entry; `after` is the id of the last one seen."""
        async with self._database.read() as conn:
            return await self._valued(conn, await repository.page(conn, wanted, after, limit))

    async def item(self, suspense_id: int) -> Valued:
        """Raises UnknownSuspense."""
        async with self._database.read() as conn:
            (found,) = await self._valued(conn, [await _get(conn, suspense_id)])
        return found

    async def totals(self) -> list[Total]:
        """What waits, one total for every reason there is."""
        async with self._database.read() as conn:
            sums = await repository.sums(conn)
            values = await self._values.by_reason(conn, sums)
        found = []
        for reason in REASONS:
            own = [s for s in sums if s.reason == reason]
            found.append(
                Total(
                    reason,
                    sum(s.items for s in own),
                    sum(s.upstream_octets for s in own),
                    sum(s.downstream_octets for s in own),
                    min((s.oldest_at for s in own), default=None),
                    values.get(reason, ()),
                )
            )
        return found

    async def map_to_service(
        self, suspense_id: int, *, service_id: str, since: datetime | None, actor: str, reason: str
    ) -> Released:
        """From `since` on (by default, from this item on) its identifier is that of `service_id`; take up its usage.

        Usage of that identifier that comes later, still without a service, is booked to it too. What began before
        `since` is cut there. Raises UnknownSuspense, UnbilledService, NotForThis and Decided.
        """
        now, zone = self._clock.now(), self._settings.zone
        ahead = await self._ahead(suspense_id, since)
        async with self._database.begin() as conn:
            item = await _get(conn, suspense_id)
            if item.reason != NO_SERVICE:
                _refuse(item, "mapped: its service is known")
            if not item.username:
                _refuse(item, "mapped: its records name nobody")
            at = begins(item) if since is None else since
            if at > item.until:
                raise NotForThis(f"this usage ended at {item.until.isoformat()}: map it from then or earlier on")
            after = {"username": item.username, "service_id": service_id, "since": at.isoformat()}
            position = await self._decide(conn, item, "map", now, actor, reason, after)
            if not await repository.is_billed(conn, service_id):
                raise UnbilledService(f"billing knows no service {service_id}: activate it first")
            kind = await self._release.kind(conn, item)
            if await identifiers.put(conn, kind, item.username, at, service_id, now, actor) != service_id:
                raise Decided(f"from {at.isoformat()} on, {item.username!r} was already given another service")
            taken = await self._taking.take_all(conn, kind, item.username, at, position, now, actor, only=service_id)
            if item.suspense_id not in {i.suspense_id for i in taken}:
                raise Decided(f"at {item.until.isoformat()} {item.username!r} was already given another service")
            moved = await move_booked(
                conn, self._release, kind, item.username, at, ahead, zone=zone, now=now, actor=actor, reason=reason
            )
        return Released(MAPPED, taken, moved)

    async def give(
        self,
        kind: str,
        name: str,
        since: datetime,
        service_id: str | None,
        *,
        overrides: bool,
        actor: str,
        reason: str,
    ) -> tuple[Mapped, Released]:
        """From `since` on the identifier is that of `service_id`, or nobody's; what waits under it is taken up.

        What was booked to another service meanwhile is moved: see suspense.moving. Raises UnbilledService and Decided.
        """
        now, zone = self._clock.now(), self._settings.zone
        ahead = await read_ahead(self._database, kind, name, since)
        async with self._database.begin() as conn:
            await audit.record(
                conn,
                now=now,
                actor=actor,
                action="usage-identifier.map",
                subject=f"{kind}:{name}"[:160],
                after={"service_id": service_id, "since": since, "overrides": overrides},
                reason=reason,
            )
            position = await lock_position(conn)
            if service_id is not None and not await repository.is_billed(conn, service_id):
                raise UnbilledService(f"billing knows no service {service_id}: activate it first")
            if (
                await identifiers.put(conn, kind, name, since, service_id, now, actor, overrides=overrides)
                != service_id
            ):
                raise Decided(f"from {since.isoformat()} on, {name!r} was already given another service")
            taken = await self._taking.take_all(conn, kind, name, since, position, now, actor)
            moved = await move_booked(
                conn, self._release, kind, name, since, ahead, zone=zone, now=now, actor=actor, reason=reason
            )
        return Mapped(kind, name, since, service_id, overrides, now, actor), Released(MAPPED, taken, moved)

    async def _ahead(self, suspense_id: int, since: datetime | None) -> Ahead | None:
        """What mapping this item will read of the usage log. Raises UnknownSuspense."""
        async with self._database.read() as conn:
            item = await _get(conn, suspense_id)
            if item.reason != NO_SERVICE or not item.username:
                return None
            kind = await self._release.kind(conn, item)
        return await read_ahead(self._database, kind, item.username, begins(item) if since is None else since)

    async def accept(self, suspense_id: int, *, actor: str, reason: str) -> Released:
        """What a source told is true, however unlikely, or the fact is there now that was missing: take it up.

        Raises UnknownSuspense, NotForThis and Decided.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            item = await _get(conn, suspense_id)
            if item.source is None or item.reason not in (*BELIEVABLE, NO_SERVICE, SECOND_SOURCE):
                _refuse(item, "accepted as it is")
            position = await self._decide(conn, item, "accept", now, actor, reason, {"source": item.source})
            await repository.decide(conn, [item.suspense_id], ACCEPTED, now, actor)
            await move_position(conn, await self._taking.take_up(conn, [item], (), position, now))
        return Released(ACCEPTED, (item,))

    async def charge(self, suspense_id: int, *, actor: str, reason: str) -> Released:
        """Charge a day without a plan on the nearest day that had one, what is still to come of it included.

        Raises UnknownSuspense, NotForThis and Decided.
        """
        now = self._clock.now()
        async with self._database.begin() as conn:
            item = await _get(conn, suspense_id)
            if item.reason != NOT_ENTITLED or item.service_id is None or item.day is None:
                _refuse(item, "charged as it is: map it to a service, or write it off")
            if item.version_id is None:
                _refuse(item, "charged: the service never had a plan to be charged by")
            after = {"service_id": item.service_id, "day": item.day.isoformat(), "octets": item.octets}
            await self._decide(conn, item, "charge", now, actor, reason, after)
            if await repository.any_written_off(conn, item.service_id, item.day):
                _refuse(item, "charged: a part of this day was written off, so must be the rest")
            async with self._restated(conn, item):
                await repository.decide(conn, [item.suspense_id], CHARGED, now, actor)
            await settle(conn, [item.service_id], zone=self._settings.zone, now=now, since=item.day)
            charged = await _get(conn, suspense_id)
        return Released(CHARGED, (charged,))

    async def write_off(self, suspense_id: int, *, actor: str, reason: str) -> Released:
        """Never charge these octets. What a day without a plan still gains waits anew. Raises like `charge`."""
        now = self._clock.now()
        async with self._database.begin() as conn:
            item = await _get(conn, suspense_id)
            await self._decide(conn, item, "write-off", now, actor, reason, {"octets": item.octets})
            async with self._restated(conn, item):
                await repository.decide(conn, [item.suspense_id], WRITTEN_OFF, now, actor)
            await self._count_written_off(conn, item)
        return Released(WRITTEN_OFF, (item,))

    async def _count_written_off(self, conn: AsyncConnection, item: Item) -> None:
        """In the ledger of usage it costs nothing from now on."""
        if item.accepted_at is None:
            return  # a day without a plan: its intervals say
        tally = Tally()
        tally.move(item.source or RADIUS, item.accepted_at, SUSPENSE, UNRATED, amount(item), 0)
        await self._taking.count(conn, [(item, UNRATED)], tally)
        await tally.write(conn)

    @asynccontextmanager
    async def _restated(self, conn: AsyncConnection, item: Item) -> AsyncIterator[None]:
        """What is done within changes what the day of the item counts as in the ledger of usage."""
        if item.service_id is None or item.day is None:
            yield
            return
        key = (str(item.service_id), item.day)
        before = (await day_items(conn, [key[0]], item.day)).get(key, [])
        yield
        after = (await day_items(conn, [key[0]], item.day)).get(key, [])
        await recount(conn, {key: (before, after)})

    async def _decide(
        self,
        conn: AsyncConnection,
        item: Item,
        verb: str,
        now: datetime,
        actor: str,
        reason: str,
        after: dict[str, Any],
    ) -> Position:
        """Write the decision down, and hold mediation and timelines still until it is done."""
        # The audit log first: whoever delivers a parked event holds it while the handler waits for the position.
        await audit.record(
            conn,
            now=now,
            actor=actor,
            action=f"suspense.{verb}",
            subject=f"suspense:{item.suspense_id}",
            before={"reason": item.reason, "state": item.state},
            after=after,
            reason=reason,
        )
        position = await lock_position(conn)
        if item.state != WAITING:
            raise Decided(f"suspense {item.suspense_id} does not wait any more: it is {item.state}")
        if await _get(conn, item.suspense_id) != item:
            raise Decided(f"suspense {item.suspense_id} has just changed; look at it again")
        return position

    async def _valued(self, conn: AsyncConnection, items: Sequence[Item]) -> list[Valued]:
        values = await self._values.of(conn, items)
        return [Valued(item, value) for item, value in zip(items, values, strict=True)]


async def _get(conn: AsyncConnection, suspense_id: int) -> Item:
    found = await repository.get(conn, suspense_id)
    if found is None:
        raise UnknownSuspense(f"no suspense {suspense_id}")
    return found


def _refuse(item: Item, what: str) -> NoReturn:
    raise NotForThis(f"usage held as {item.reason} cannot be {what}")
